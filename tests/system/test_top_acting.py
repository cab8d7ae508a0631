"""What the keys of `shardq top` do to a storage: each asks first, and says what it hits."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, TextArea

from shardq import Queue, connect
from shardq.cli.top.dialogs import Editing, Question, Why
from shardq.cli.top.rows import TABLES
from shardq.drivers import SharedStorage
from shardq.letters.exported import read_letters
from shardq.model import Action
from tests.support.drivers import MIB
from tests.support.homes import Home, on_each_home
from tests.support.letters import Fulfil, Login, Notify, Order, SignIn, User, let_fail, letters_at, name_of
from tests.support.top import Screen, shown

ORDERS = [Order(number, User(1), "how") for number in range(3)]
NOTIFY = name_of(Notify)


@pytest.fixture(autouse=True)
def _there(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if home.url.startswith("shm://"):
        SharedStorage.create(home.name, 8 * MIB).detach()


async def do(url: str, act: Any) -> Any:
    async def acted() -> Any:
        async with await connect(url) as queue:
            return await act(queue)

    return await asyncio.to_thread(lambda: asyncio.run(acted()))


async def last_action(url: str) -> Action:
    async def look(queue: Queue) -> list[Action]:
        return await queue.storage.actions()

    [latest, *_] = await do(url, look)
    assert isinstance(latest, Action)
    return latest


async def until_asked(screen: Screen, kind: type[Any]) -> None:
    await screen.until(lambda: isinstance(screen.app.screen, kind) and screen.app.screen.is_mounted)


@on_each_home
async def test_a_handler_is_paused_with_a_reason_and_resumed(home: Home) -> None:
    await do(home.url, lambda queue: queue.register(Notify, User(1), User(2)))
    async with shown(home.url) as screen:
        await screen.until(lambda: len(screen.rows("handlers")) == 1)
        await screen.press("p")
        await until_asked(screen, Why)
        assert screen.text("question").startswith(f"{NOTIFY}, with 2 queued requests, would be handed out to no worker")
        await screen.press("escape", "p")
        await until_asked(screen, Why)
        await screen.press(*"mailer", "enter")
        await screen.until(lambda: screen.rows("handlers")[0][-1] == "paused")
        assert "1 handler paused" in screen.text("heading")
        action = await last_action(home.url)
        assert (action.what, action.target, action.reason, action.by) == ("pause", NOTIFY, "mailer", "command")
        await screen.until(lambda: screen.rows("threads")[0][-1] == "paused")

        await screen.press("enter")
        await screen.until(lambda: "until it is resumed: mailer" in screen.text("text"))
        await screen.press("escape")
        await screen.go("threads")
        await screen.press("p")
        await until_asked(screen, Question)
        assert screen.text("question") == f"{NOTIFY}, with 2 queued requests, would be handed out again. Go on? [y/n]"
        await screen.press("n")
        assert await do(home.url, lambda queue: queue.storage.pauses())
        await screen.press("p")
        await until_asked(screen, Question)
        await screen.press("y")
        await screen.until(lambda: "paused" not in screen.text("heading"))
    assert not await do(home.url, lambda queue: queue.storage.pauses())


async def test_a_pause_of_what_has_nothing_is_shown(home: Home) -> None:
    await do(home.url, lambda queue: queue.storage.pause("app/Quiet"))
    async with shown(home.url) as screen:
        await screen.until(lambda: [(row[0], row[-1]) for row in screen.rows("handlers")] == [("app/Quiet", "paused")])


@on_each_home
async def test_letters_are_dropped_once_they_are_in_a_file(home: Home, tmp_path: Path) -> None:
    await asyncio.to_thread(let_fail, home.url, Fulfil, *ORDERS, Order(9, User(1), "key"))
    before = [its.id for its in await asyncio.to_thread(letters_at, home.url)]
    async with shown(home.url) as screen:
        await screen.go("dead")
        await screen.until(lambda: [row[1] for row in screen.rows("dead")] == ["3", "1"])
        await screen.press("d")
        await until_asked(screen, Question)
        question = screen.text("question")
        assert question.startswith(f"3 dead letters would be dropped, and written to {tmp_path}/shardq-dropped-")
        await screen.press("n")
        assert dropped_in(tmp_path) == []
        await screen.press("d")
        await until_asked(screen, Question)
        await screen.press("y")
        await screen.until(lambda: [row[1] for row in screen.rows("dead")] == ["1"])
    [file] = dropped_in(tmp_path)
    assert [its.id for its in read_letters(str(file))] == before[:3]
    assert [its.id for its in await asyncio.to_thread(letters_at, home.url)] == before[3:]
    assert (await last_action(home.url)).what == "dead drop"


async def test_what_cannot_be_written_is_not_dropped(home: Home, tmp_path: Path) -> None:
    await asyncio.to_thread(let_fail, home.url, Fulfil, *ORDERS)
    async with shown(home.url) as screen:
        await screen.go("dead")
        await screen.until(lambda: len(screen.rows("dead")) == 1)
        await screen.press("d")
        await until_asked(screen, Question)
        path = screen.text("question").split("written to ")[1].split(" before")[0]
        await asyncio.to_thread(Path(path).mkdir)
        await screen.press("y")
        said = re.compile("^0 dropped: .* exists already: begin in a folder ")
        await screen.until(lambda: any(said.search(its.message) for its in screen.app._notifications))
    assert len(await asyncio.to_thread(letters_at, home.url)) == 3


@on_each_home
async def test_a_letter_is_edited_until_it_can_be_and_put_back(home: Home) -> None:
    await asyncio.to_thread(let_fail, home.url, Fulfil, *ORDERS)
    async with shown(home.url) as screen:
        await screen.go("dead")
        await screen.until(lambda: len(screen.rows("dead")) == 1)

        async def edit(text: str, *keys: str) -> None:
            await until_asked(screen, Editing)
            screen.app.screen.query_one(TextArea).text = text
            await screen.press("ctrl+s")
            await until_asked(screen, Question)
            assert screen.text("question") == "1 dead letter would be put back as edited. Go on? [y/n]"
            await screen.press(*keys)

        await screen.press("e")
        await until_asked(screen, Editing)
        given = screen.app.screen.query_one(TextArea).text
        values = json.loads(given)
        assert values["number"] == 2  # the latest
        await edit("{", "y")
        await screen.until(lambda: "this is no JSON" in _error(screen))
        await edit(json.dumps(values | {"number": "two"}), "y")
        await screen.until(lambda: "was a whole number" in _error(screen))
        await edit(json.dumps(values | {"how": ""}), "n")
        await until_asked(screen, Editing)
        assert len(await asyncio.to_thread(letters_at, home.url)) == 3
        await edit(json.dumps(values | {"how": ""}), "y")
        await screen.until(lambda: [row[1] for row in screen.rows("dead")] == ["2"])

        await screen.press("e")
        await until_asked(screen, Editing)
        await screen.press("escape")
        await screen.until(lambda: screen.app.screen is screen.app.screen_stack[0])
    [queued] = await do(home.url, lambda queue: _queued(queue))
    assert b"how" in queued
    action = await last_action(home.url)
    assert (action.what, action.count) == ("dead edit", 1)


async def test_secrets_stay_hidden_and_as_they_are(home: Home) -> None:
    await asyncio.to_thread(let_fail, home.url, SignIn, Login("ann", "my-password", 4711, {"serial_number": "XK-1"}))
    async with shown(home.url) as screen:
        await screen.go("dead")
        await screen.until(lambda: len(screen.rows("dead")) == 1)
        await screen.press("e")
        await until_asked(screen, Editing)
        area = screen.app.screen.query_one(TextArea)
        assert "my-password" not in area.text
        area.text = area.text.replace("ann", "bob")
        await screen.press("ctrl+s")
        await until_asked(screen, Question)
        await screen.press("y")
        await screen.until(lambda: screen.rows("dead") == [])
    [queued] = await do(home.url, lambda queue: _queued(queue))
    assert b"bob" in queued
    assert b"my-password" in queued


async def test_keys_without_a_row_ask_nothing(home: Home) -> None:
    async with shown(home.url) as screen:
        for name in TABLES:
            await screen.go(name)
            await screen.press(*"prde")
            assert screen.app.screen is screen.app.screen_stack[0]
        assert not screen.app.query_one("#filter", Input).display


def dropped_in(folder: Path) -> list[Path]:
    return list(folder.glob("shardq-dropped-*.jsonl"))


def _error(screen: Screen) -> str:
    return screen.text("error") if isinstance(screen.app.screen, Editing) else ""


async def _queued(queue: Queue) -> list[bytes]:
    [pipe] = await queue.storage.pipes()
    return list((await queue.storage.range(pipe, 9)).messages)
