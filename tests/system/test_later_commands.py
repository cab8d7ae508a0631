"""`shardq later ...` on real storages: listed in one order, chosen by filters, cancelled, run, restored."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shardq import Queue, connect
from shardq.cli import FAILED, OK, main
from shardq.cli.deferred import acting, skipping
from shardq.drivers import SharedStorage
from shardq.later.exported import lines
from tests.support import letters
from tests.support.drivers import MIB
from tests.support.homes import Home, on_each_home
from tests.support.letters import Card, Charge, Fulfil, Order, User, name_of
from tests.support.said import Said, Say

FULFIL, CHARGE = name_of(Fulfil), name_of(Charge)
HOUR_S = 3600


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """`said("list")` is `shardq later list` on the test's storage."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Said:
        capsys.readouterr()
        status = main(["later", *map(str, words), "--url", home.url])
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def _there(home: Home) -> None:
    """Five orders an hour apart, a card among them, and a schedule that comes first after half an hour."""
    if home.url.startswith("shm://"):
        SharedStorage.create(home.name, 8 * MIB).detach()

    async def register(queue: Queue) -> None:
        for number in range(1, 6):
            await queue.register(Fulfil, Order(number, User(number % 2, "Ann")), defer=number * HOUR_S)
        await queue.register(Charge, Card(holder="Ann", digits="4111"), defer=1.5 * HOUR_S)
        await queue.register(Fulfil, Order(9, User(9)), recurrent=HOUR_S, defer=HOUR_S / 2)

    asyncio.run(_with(home.url, register))


async def _with(url: str, do: Any) -> Any:
    async with await connect(url) as queue:
        return await do(queue)


def listed(said: Say, *words: object) -> Any:
    found = said("list", "--json", *words)
    assert found.status == OK, found.errors
    return json.loads(found.out)


def numbers(found: Any) -> list[int]:
    return [its["request"]["number"] for its in found if its["handler"] == FULFIL]


def deferred(url: str) -> int:
    async def count(queue: Queue) -> int:
        return (await queue.storage.backlog()).deferred

    return int(asyncio.run(_with(url, count)))


def queued(url: str) -> int:
    async def count(queue: Queue) -> int:
        return (await queue.storage.backlog()).queued

    return int(asyncio.run(_with(url, count)))


@on_each_home
def test_all_that_is_to_come_is_listed_in_one_order(said: Say) -> None:
    found = listed(said, "--app", letters.__name__)

    assert [its["handler"] for its in found] == [FULFIL, FULFIL, CHARGE, *[FULFIL] * 4]
    assert numbers(found) == [9, 1, 2, 3, 4, 5]
    assert [its["schedule"] for its in found] == ["every 3600", *[None] * 6]
    assert len(found[0]["next"]) == 5
    assert found[0]["next"][0] == found[0]["due"] < found[1]["due"] < found[0]["next"][1]
    assert "***" in str(found[2]["request"])
    assert "4111" not in said("list", "--app", letters.__name__).out
    assert "4111" in said("list", "--reveal").out


@on_each_home
def test_pages_follow_each_other(said: Say) -> None:
    every, after, pages = [its["id"] for its in listed(said)], list[object](), list[str]()
    while found := listed(said, "--limit", 2, *after):
        pages += [its["id"] for its in found]
        after = ["--after", found[-1]["id"]]

    assert pages == every
    assert f"--after {every[1]}" in said("list", "--limit", 2).out
    assert [its["id"] for its in listed(said, "--after", every[0])] == every[1:]


def test_a_page_begins_with_what_comes_again(said: Say) -> None:
    assert said("list", "--after", "app.jobs/None/0/0#0").status == FAILED
    assert "no id of a request that waits" in said("list", "--after", "none").errors
    assert "nothing waits for its time that matches" in said("list", "--handler", "none").out


@on_each_home
def test_filters_choose(said: Say) -> None:
    assert numbers(listed(said, "--handler", FULFIL, "--match", "user.id=1")) == [1, 3, 5]
    assert numbers(listed(said, "--match", "within=150m")) == [9, 1, 2]
    assert numbers(listed(said, "--match", "beyond=150m", "--match", "user.name~ANN")) == [3, 4, 5]
    assert "is no filter" in said("list", "--match", "nothing").errors


@on_each_home
def test_cancelled_requests_are_in_a_file_and_can_wait_again(home: Home, said: Say, tmp_path: Path) -> None:
    before = listed(said)
    words = ("cancel", "--handler", FULFIL, "--match", "beyond=210m")
    refused = said(*words)
    assert refused.status == FAILED
    assert "2 requests would be cancelled, and there is no terminal to ask at: add --yes" in refused.errors

    done = json.loads(said(*words, "--yes", "--export", "gone.jsonl", "--json").out)

    assert done == {"cancelled": 2, "gone": 0, "export": str(tmp_path / "gone.jsonl")}
    assert numbers(listed(said)) == [9, 1, 2, 3]
    assert deferred(home.url) == 4
    assert (tmp_path / "gone.jsonl").stat().st_mode & 0o777 == 0o600

    assert json.loads(said("restore", "gone.jsonl", "--yes", "--json").out) == {"restored": 2}

    assert [(its["due"], its["request"]) for its in listed(said)] == [(its["due"], its["request"]) for its in before]


@on_each_home
def test_what_a_cancel_wrote_and_left_waits_once(home: Home, said: Say, tmp_path: Path) -> None:
    async def write(queue: Queue) -> None:
        found = [its async for its in queue.later.each(FULFIL)]
        (tmp_path / "gone.jsonl").write_bytes(lines(found))

    asyncio.run(_with(home.url, write))  # it is cut off
    one, *_ = listed(said, "--handler", FULFIL, "--match", "beyond=210m")
    assert said("cancel", one["id"]).status == OK

    assert json.loads(said("restore", "gone.jsonl", "--yes", "--json").out) == {"restored": 1}

    assert deferred(home.url) == 6


@on_each_home
def test_one_is_named_by_its_id(home: Home, said: Say) -> None:
    ids = {its["request"]["number"]: its["id"] for its in listed(said, "--handler", FULFIL)}

    ran = said("run", ids[4], ids[1])

    assert (ran.status, ran.out) == (OK, "2 came now\n")
    assert (deferred(home.url), queued(home.url)) == (4, 2)
    again = said("run", ids[4])
    assert again.status == FAILED
    assert "does not wait any more" in again.errors
    assert "does not wait any more" in said("cancel", ids[2], ids[4]).errors
    assert deferred(home.url) == 4
    assert "1 cancelled, and written to" in said("cancel", ids[2]).out
    assert "comes again and again: `later skip` leaves out its next time" in said("cancel", ids[9]).errors


@on_each_home
def test_a_recurrent_one_leaves_out_its_next_time(said: Say) -> None:
    [before, *_] = listed(said)

    assert json.loads(said("skip", before["id"], "--json").out) == {"skipped": 1, "gone": 0}

    [after] = [its for its in listed(said) if its["id"] == before["id"]]
    assert after["next"][:4] == before["next"][1:]
    assert said("skip", "--handler", FULFIL, "--yes").out == "1 skipped\n"
    assert said("skip", "--handler", FULFIL, "--match", "beyond=140m", "--yes").out == "1 skipped\n"
    assert said("skip", "--handler", FULFIL, "--match", "within=140m", "--yes").out == "0 skipped\n"
    assert "there is no recurrent request app.jobs/None/0/0#0" in said("skip", "app.jobs/None/0/0#0").errors


def test_what_was_skipped_meanwhile_is_said(home: Home, said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one skips it while the operator is asked."""

    async def skip(queue: Queue) -> bool:
        [recurring] = await queue.recurrent.list()
        return await queue.later.skip(recurring)

    monkeypatch.setattr(skipping, "confirm", lambda *_: asyncio.run(_with(home.url, skip)))

    assert "0 skipped; 1 had come meanwhile" in said("skip", "--all").out


def test_what_is_meant_has_to_be_said(said: Say) -> None:
    assert "which recurrent requests?" in said("skip").errors
    for words in (("cancel",), ("run",), ("cancel", "1-1-1", "--all")):
        assert "which requests?" in said(*words).errors
    assert json.loads(said("cancel", "--match", "number=77", "--json").out) == {
        "cancelled": 0,
        "gone": 0,
        "export": None,
    }
    assert "6 came now" in said("run", "--all", "--yes").out


def test_what_comes_meanwhile_is_said(home: Home, said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one has a request come while the operator is asked."""

    async def run(queue: Queue) -> bool:
        [first] = await queue.later.list(Fulfil, limit=1)
        return await queue.later.run(first)

    for verb, words in (("cancel", "2 cancelled, and written to"), ("run", "1 came now")):
        monkeypatch.setattr(acting, "confirm", lambda *_: asyncio.run(_with(home.url, run)))
        done = said(verb, "--handler", FULFIL, "--match", "within=210m" if verb == "cancel" else "beyond=0s")
        assert words in done.out
        assert "; 1 had come meanwhile, or were cancelled by others" in done.out


def test_large_requests_are_not_decoded(home: Home, said: Say) -> None:
    async def register(queue: Queue) -> None:
        await queue.register(Fulfil, Order(10, User(1, "x" * 5000)), defer=9 * HOUR_S)

    asyncio.run(_with(home.url, register))

    [*_, large] = listed(said)
    assert list(large["request"]) == ["bytes"]
    assert large["request"]["bytes"] > 5000
    assert "xxxx" not in said("list").out
