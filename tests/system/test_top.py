"""`shardq top`, driven by Textual's own pilot, beside real families."""

from __future__ import annotations

import asyncio
import re

import msgspec
import pytest
from textual.widgets import Input

from shardq import connect
from shardq.cli import main
from shardq.cli.parser import new_parser
from shardq.cli.top import command
from shardq.cli.top.app import Top
from shardq.cli.top.dialogs import Question
from shardq.cli.top.pane import Pane
from shardq.cli.top.rows import TABLES
from shardq.cli.top.source import Source
from shardq.drivers import SharedStorage
from shardq.sampling import Sample, Sampler
from tests.support.chance import sample_of_run
from tests.support.drivers import MIB
from tests.support.homes import Home, SegmentHome, on_each_home
from tests.support.hostile import ALL, NAME, Speaks, Text, acting
from tests.support.jobs import Folder, Gated, Tracked
from tests.support.letters import Fulfil, Order, User, let_fail, letters_at
from tests.support.programs import Supervise
from tests.support.supervised import Start, client
from tests.support.top import Screen, shown

JOBS = Tracked.__module__
SIZES = [(80, 24), (200, 50)]


def begun(start: Start, url: str, folder: Folder) -> Supervise:
    """A family with a batch of four, of which two are done, and more work in five threads."""
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    with client(url) as queue:
        queue.register_sync(Tracked, *folder.notes(range(4)))
        queue.register_sync(Gated, *folder.notes(range(100, 105), 5))
    folder.permit(2)
    folder.until("begin", 2)
    return program


@on_each_home
async def test_it_shows_a_family_at_work(start: Start, home: Home, folder: Folder) -> None:
    program = await asyncio.to_thread(begun, start, home.url, folder)
    async with shown(home.url, "--read-only") as screen:
        await screen.until(lambda: any("2/4 50%" in cell for row in screen.rows("workers") for cell in row))
        await screen.until(lambda: {row[0] for row in screen.rows("handlers")} == {f"{JOBS}/Tracked", f"{JOBS}/Gated"})
        assert "served, 1 worker" in screen.text("heading")
        assert "9 queued" in screen.text("heading")
        tubes = {row[0]: row[1] for row in screen.rows("threads")}
        assert tubes == {f"{JOBS}/Tracked/0/0": "4"} | {f"{JOBS}/Gated/{thread}/0": "1" for thread in range(5)}

        await screen.go("workers")
        await screen.press("enter")
        await screen.until(lambda: "progress:" in screen.text("text"))
        assert "2/4 50% number 2 \\x1b[31m" in screen.text("text")
        await screen.press("escape", "q")
    folder.permit(7)
    folder.until("done", 3, *range(100, 105))
    assert program.stop() == 0


@pytest.fixture
def storage(name: str) -> SharedStorage:
    storage = SharedStorage.create(name, 8 * MIB)
    storage.detach()
    return storage


def users_queued(url: str) -> list[int]:
    """The users of the orders that wait in one tube, in its order."""

    async def look() -> list[int]:
        async with await connect(url) as queue:
            [pipe] = await queue.storage.pipes()
            messages = (await queue.storage.range(pipe, 9)).messages
            return [msgspec.msgpack.decode(message, type=Order).user.id for message in messages]

    return asyncio.run(look())


async def fill(url: str, *pipes: tuple[str, int]) -> None:
    """Put so many requests into each of these tubes."""
    async with await connect(url) as queue:
        for pipe, count in pipes:
            assert await queue.storage.append([(pipe, [b"\x01"] * count)])


@pytest.mark.parametrize("size", sample_of_run(SIZES, 1), ids=str)
async def test_every_pane_fits_a_small_and_a_large_terminal_dark_and_light(
    size: tuple[int, int], storage: SharedStorage, url: str
) -> None:
    await fill(url, ("a/B/0/0", 3), ("an.application.with.a.very.long.name.of.a.module/Handler/thread/0", 2))
    async with shown(url, size=size) as screen:
        await screen.until(lambda: len(screen.rows("threads")) == 2)
        for name, table in TABLES.items():
            await screen.go(name)
            for _ in range(2):
                await screen.press("t")
                assert table.columns[0] in screen.seen
                assert "quit" in screen.seen
            assert max(map(len, screen.seen.splitlines())) <= size[0]
        assert {row[0][-9:] for row in screen.rows("threads")} == {"a/B/0/0", "/thread/0"}
        await screen.press("question_mark")
        assert "put the chosen dead letters back" in screen.text("text")


async def test_the_chosen_row_stays_chosen_whatever_comes_and_however_it_is_sorted(
    storage: SharedStorage, url: str
) -> None:
    await fill(url, ("a/B/0/0", 3), ("a/B/1/0", 2), ("a/B/2/0", 1))
    async with shown(url) as screen:
        await screen.go("threads")
        await screen.press("down")
        pane = screen.app.query_one("#threads", Pane)
        assert pane.selected_key == "a/B/1/0"
        await fill(url, ("a/B/3/0", 9), ("a/B/2/0", 5))
        await screen.until(lambda: [row[0] for row in screen.rows("threads")][:2] == ["a/B/3/0", "a/B/2/0"])
        assert (pane.selected_key, pane.cursor_row) == ("a/B/1/0", 3)
        await screen.press("S")
        assert [row[1] for row in screen.rows("threads")] == ["2", "3", "6", "9"]
        assert (pane.selected_key, pane.cursor_row) == ("a/B/1/0", 0)
        await screen.press(*"sssss", "S")
        assert screen.text("state").startswith("by tube, largest first")
        assert [row[0] for row in screen.rows("threads")] == [f"a/B/{thread}/0" for thread in (3, 2, 1, 0)]


async def test_a_filter_shows_only_rows_that_have_its_text(storage: SharedStorage, url: str) -> None:
    await fill(url, ("app/Resize/0/0", 3), ("app/Quiet/1/0", 2))
    async with shown(url) as screen:
        await screen.go("threads")
        await screen.press("slash", *"quiet")
        await screen.until(lambda: len(screen.rows("threads")) == 1)
        assert [screen.rows("threads")[0][0], screen.rows("handlers")[0][0]] == ["app/Quiet/1/0", "app/Quiet"]
        await screen.press("enter")
        assert not screen.app.query_one(Input).display
        assert "only quiet" in screen.text("state")
        await screen.press("escape")
        await screen.until(lambda: len(screen.rows("threads")) == 2)


async def test_what_is_frozen_stays_as_it_was(storage: SharedStorage, url: str) -> None:
    await fill(url, ("a/B/0/0", 3))
    async with shown(url) as screen:
        await screen.press("space")
        await fill(url, ("a/B/1/0", 1))
        seen = screen.app._seen
        await screen.until(lambda: screen.app._seen is not seen and len(screen.app._seen.sample.tubes.longest) == 2)  # type: ignore[union-attr]
        assert len(screen.rows("threads")) == 1
        assert "frozen" in screen.text("state")
        await screen.press("space")
        await screen.until(lambda: len(screen.rows("threads")) == 2)


@on_each_home
async def test_dead_letters_are_read_and_put_back_once_their_number_is_confirmed(home: Home) -> None:
    if isinstance(home, SegmentHome):
        SharedStorage.create(home.name, 8 * MIB).detach()
    orders = [Order(1, User(number), "how") for number in range(3)]
    await asyncio.to_thread(let_fail, home.url, Fulfil, *orders, Order(9, User(1), "key"))
    async with shown(home.url) as screen:
        await screen.go("dead")
        await screen.until(lambda: len(screen.rows("dead")) == 2)
        [handler, count, _, reason, kind, where] = screen.rows("dead")[0]
        assert (handler, count, reason, kind) == (f"{Fulfil.__module__}/Fulfil", "3", "raised", "ValueError")
        assert re.fullmatch(r"letters\.py:\d+ perform", where)

        await screen.press("enter")
        await screen.until(lambda: "ValueError: how" in screen.text("text"))
        first = screen.text("title")
        assert "(1 of 3)" in first
        await screen.press("n")
        await screen.until(lambda: "(2 of 3)" in screen.text("title"))
        await screen.press("escape", "r")
        await screen.until(lambda: isinstance(screen.app.screen, Question))
        assert screen.text("question") == "3 dead letters would be put back. Go on? [y/n]"
        await screen.press("n", "r")
        await screen.until(lambda: isinstance(screen.app.screen, Question))
        assert len(await asyncio.to_thread(letters_at, home.url)) == 4
        await screen.press("y")
        await screen.until(lambda: [row[1] for row in screen.rows("dead")] == ["1"])
        assert "3 queued" in screen.text("heading")
    assert len(await asyncio.to_thread(letters_at, home.url)) == 1
    assert await asyncio.to_thread(users_queued, home.url) == [0, 1, 2]


async def test_read_only_puts_nothing_back(storage: SharedStorage, url: str) -> None:
    await asyncio.to_thread(let_fail, url, Fulfil, Order(1, User(1), "how"))
    async with shown(url, "--read-only") as screen:
        await screen.go("dead")
        await screen.until(lambda: len(screen.rows("dead")) == 1)
        await screen.press(*"rde")
        assert screen.app.screen is screen.app.screen_stack[0]
        await screen.go("handlers")
        await screen.press("p")
        assert screen.app.screen is screen.app.screen_stack[0]
        assert not re.search("requeue|drop|edit|pause", screen.seen)
        await screen.press("question_mark")
        assert not re.search("^[pre] ", screen.text("text"), re.MULTILINE)


async def test_hostile_texts_do_nothing(storage: SharedStorage, url: str) -> None:
    await asyncio.to_thread(let_fail, url, Speaks, Text(f"{ALL} [red]no markup[/] [@click=app.quit]x[/]"))
    await fill(url, (f"app.{NAME}[bold]/Resize/[@click=app.quit]3/0", 1))
    async with shown(url, size=(200, 50)) as screen:
        for name in TABLES:
            await screen.go(name)
            await screen.until(lambda: len(screen.rows("threads")) == 1)
            assert acting(screen.seen) == []
        assert "[@click=app.quit]" in screen.rows("threads")[0][0]
        await screen.go("dead")
        await screen.until(lambda: len(screen.rows("dead")) == 1)
        await screen.press("enter")
        await screen.until(lambda: "[red]no markup[/]" in screen.text("text"))
        assert acting(screen.text("text")) == []


async def test_a_storage_that_goes_may_come_again(storage: SharedStorage, name: str, url: str) -> None:
    await fill(url, ("a/B/0/0", 3))
    async with shown(url) as screen:
        await screen.until(lambda: len(screen.rows("threads")) == 1)
        again = SharedStorage.attach(name)
        again.destroy()
        await again.close()
        await screen.until(lambda: ": gone" in screen.text("heading"))
        SharedStorage.create(name, 8 * MIB).detach()
        await screen.until(lambda: "0 queued" in screen.text("heading"))


async def test_a_storage_that_goes_as_its_letters_are_read_may_come_again(storage: SharedStorage, url: str) -> None:
    class Outliving(Sampler):
        async def look(self) -> Sample:
            sample = await super().look()
            if sample.overview:
                main(["destroy", "--url", url])
            return sample

    source = Source(new_parser().parse_args(["top", "--url", url]), Outliving)

    assert (await source.look(letters=True)).groups == ()
    assert (await source.look(letters=True)).sample.state == "gone"
    await source.close()


async def test_a_letter_that_is_opened_after_the_storage_went_says_so(home: Home) -> None:
    SharedStorage.create(home.name, 8 * MIB).detach()
    await asyncio.to_thread(let_fail, home.url, Speaks, Text("hello"))
    async with shown(home.url) as screen:
        await screen.go("dead")
        await screen.until(lambda: len(screen.rows("dead")) == 1)
        await screen.press("space")
        again = SharedStorage.attach(home.name)
        again.destroy()
        await again.close()
        await screen.press("enter")
        await screen.until(lambda: home.name in screen.text("text"))


async def test_what_can_never_be_shown_ends_it(url: str) -> None:
    app = Top(Source(new_parser().parse_args(["top", "--url", "memory://"])), read_only=False)
    async with app.run_test() as pilot:
        await Screen(pilot, app).until(lambda: app.failure is not None)
    assert "memory://" in str(app.failure)


def test_without_a_terminal_it_names_what_needs_none(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--url", url]) == 1
    assert "needs a terminal that knows escape codes; `shardq status --watch` shows" in capsys.readouterr().err


def test_without_its_package_it_says_what_to_install(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["top", "--url", url]) == 1
    assert "pip install 'shardq[top]'; `shardq status --watch` shows" in capsys.readouterr().err
