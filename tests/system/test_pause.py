"""`shardq pause` and `shardq resume`: a family that leaves a handler alone until it is told otherwise."""

from __future__ import annotations

import asyncio

import pytest

from shardq import Queue, connect, observe
from shardq.cli import FAILED, main
from shardq.drivers import SharedStorage
from shardq.drivers.shared.supervised import SupervisedSegment
from shardq.model import Terms
from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.answering import Ask, Twice
from tests.support.drivers import MIB
from tests.support.homes import Home, on_each_home
from tests.support.jobs import Folder, Gated, Record
from tests.support.programs import until
from tests.support.said import Said, Say
from tests.support.supervised import Start, client, left_in
from tests.support.tasks import LIMIT_S, eventually

JOBS = jobs.__name__
RECORD, GATED = f"{JOBS}/Record", f"{JOBS}/Gated"


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command prints of the test's storage."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        status = main([*map(str, words), "--url", home.url])
        return Said(status, *capsys.readouterr())

    return run


@on_each_home
def test_a_family_leaves_a_paused_handler_alone_until_it_is_resumed(
    home: Home, start: Start, said: Say, folder: Folder
) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2).serving()
    assert said("pause", RECORD).lines == [f"{RECORD} is paused"]
    with client(home.url) as queue:
        queue.register_sync(Record, *folder.notes([0, 1]))
        queue.register_sync(Gated, *folder.notes([2]))
        folder.permit(1)
        until(lambda: folder.done() == [2], "the handler that is not paused is served")
        until(lambda: left_in(home.url) == 2, "its request is acknowledged")

        [tube] = said("tubes", "--json").value
        assert (tube["pipe"], tube["queued"], tube["paused"]) == (f"{RECORD}/0/0", 2, True)
        assert "paused" in said("tubes").lines[1]
        why = said("why", f"{RECORD}/0/0", "--json").value["reasons"]
        assert [its["code"] for its in why] == ["paused"]
        assert folder.done() == [2]

        assert said("resume", RECORD).lines == [f"{RECORD} goes on"]
        until(lambda: sorted(folder.done()) == [0, 1, 2], "the requests that waited are handled")
    assert said("resume", RECORD).lines == [f"{RECORD} was not paused"]
    assert program.stop() == Exit.OK


@on_each_home
def test_a_batch_in_hand_is_finished_and_the_next_one_stays(
    home: Home, start: Start, said: Say, folder: Folder
) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
        folder.until("begin", 0)
        queue.register_sync(Gated, *folder.notes([1]))
        assert said("pause", GATED).status == 0
        folder.permit(2)
        until(lambda: folder.done() == [0], "the batch in hand is finished")
        until(lambda: not any(its.requests for its in home.at_work(queue)), "nothing is in hand")
        until(lambda: left_in(home.url) == 1, "the other one stays")

        assert said("resume", GATED, "--json").value == {"handler": GATED, "resumed": True}
        until(lambda: folder.done() == [0, 1], "the rest is handled")
    assert program.stop() == Exit.OK


@on_each_home
def test_a_pause_for_a_time_ends_while_the_family_sleeps(home: Home, start: Start, said: Say, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2).serving()
    made = said("pause", RECORD, "--for", 0.5, "--reason", "a moment", "--json").value
    assert (made["handler"], made["reason"]) == (RECORD, "a moment")
    assert made["since_us"] < made["until_us"]
    with client(home.url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
    until(lambda: folder.done() == [0], "the pause is over, and the request is handled")
    assert said("status", "--sample", 0, "--json").value["paused"] == []
    assert program.stop() == Exit.OK


@on_each_home
def test_the_status_tells_of_pauses(home: Home, said: Say, folder: Folder) -> None:
    home.leave(Record, folder.notes([0]))
    said("pause", RECORD, "--reason", "the \x1b[31mdisk is full")
    said("pause", GATED, "--for", 3600)

    [gated, record] = said("status", "--sample", 0, "--json").value["paused"]
    assert (gated["handler"], gated["reason"]) == (GATED, "")
    assert gated["until_us"] - gated["since_us"] == 3_600_000_000
    assert (record["handler"], record["until_us"], record["reason"]) == (RECORD, None, "the \x1b[31mdisk is full")
    lines = said("status", "--sample", 0).lines
    [shown] = [line for line in lines if line.startswith(f"paused:   {RECORD} ")]
    assert shown.endswith("until it is resumed: the \\x1b[31mdisk is full")
    assert any(line.startswith(f"paused:   {GATED} ") and line.endswith(" more") for line in lines)
    observer = observe(home.url)
    assert [its.handler for its in asyncio.run(observer.pauses())] == [GATED, RECORD]
    observer.close()


@on_each_home
def test_a_pause_outlives_the_family(home: Home, start: Start, said: Say, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    said("pause", RECORD)
    assert program.stop() == Exit.OK

    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    with client(home.url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
        queue.register_sync(Gated, *folder.notes([1]))
        folder.permit(1)
        until(lambda: folder.done() == [1], "the handler that is not paused is served")
        until(lambda: left_in(home.url) == 1, "its request is acknowledged")
        said("resume", RECORD)
        until(lambda: folder.done() == [1, 0], "it goes on")
    assert program.stop() == Exit.OK


@on_each_home
def test_a_drain_ends_where_what_is_left_is_paused(home: Home, start: Start, said: Say, folder: Folder) -> None:
    home.leave(Record, folder.notes([0, 1]))
    said("pause", RECORD)
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes([2]))
    folder.permit(1)

    program = start(JOBS, "--url", home.url, "--workers", 1, "--drain")

    assert program.end() == Exit.UNSERVED
    program.hear(rf"no handler for what is left, or it is paused tubes={RECORD}/0/0")
    assert folder.done() == [2]
    assert left_in(home.url) == 2


def test_a_drain_does_not_end_while_requests_of_a_paused_handler_are_in_hand(home: Home, folder: Folder) -> None:
    home.leave(Record, folder.notes([0]))
    with client(home.url) as queue:
        storage = queue.storage
        assert isinstance(storage, SharedStorage)
        asyncio.run(_take_and_pause(storage))
        family = SupervisedSegment(storage, {RECORD})
        storage.store.membership.join(1)
        assert family.only_unserved() == []


async def _take_and_pause(storage: SharedStorage) -> None:
    token = await storage.claim(f"{RECORD}/0")
    assert (await storage.take(f"{RECORD}/0", token, Terms((0,), 1))).count == 1
    await storage.pause(RECORD)


def test_a_caller_waits_for_a_paused_handler(home: Home, start: Start, said: Say) -> None:
    program = start(Twice.__module__, "--url", home.url, "--workers", 1).serving()
    said("pause", f"{Twice.__module__}/Twice")

    async def call() -> int:
        async with await connect(home.url) as queue:
            asked = asyncio.create_task(queue.call(Twice, Ask(2), timeout_s=LIMIT_S))
            await eventually(lambda: _is_queued(queue), "it is asked")
            assert not asked.done()
            await queue.storage.resume(f"{Twice.__module__}/Twice")
            return await asked

    assert asyncio.run(call()) == 4
    assert program.stop() == Exit.OK


async def _is_queued(queue: Queue) -> bool:
    return (await queue.storage.backlog()).queued == 1


def test_a_name_that_no_worker_serves_is_asked_about(home: Home, said: Say) -> None:
    SharedStorage.create(home.name, MIB).detach()
    made = said("pause", "app.jobs/Rezise")
    assert made.out == "app.jobs/Rezise is paused\n"
    assert "no worker looks for requests of app.jobs/Rezise: is that its name?" in made.errors


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("Resize",), "'Resize' is no handler: name it as module/Handler"),
        (("shardq.results.inbox/Inbox",), "pause the handlers that they wait for"),
        (("app/Job", "--reason", "x" * 200), "at most 128 bytes"),
    ],
)
def test_what_cannot_be_paused_is_named(home: Home, said: Say, words: tuple[str, ...], error: str) -> None:
    SharedStorage.create(home.name, MIB).detach()
    refused = said("pause", *words)
    assert (refused.status, refused.out) == (FAILED, "")
    assert error in refused.errors
