"""A process that is stopped while it attaches keeps others from attaching and removing, and that comes to an end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from unittest.mock import ANY

import pytest

from shardq import Queue, Supervisor, connect
from shardq.cli import FAILED, OK
from shardq.drivers import SharedStorage
from shardq.errors import SegmentBusy
from shardq.model import Terms
from shardq.shm.registry import create_store
from shardq.supervisor.exits import Exit
from tests.faults.kit.points import Child, Gate
from tests.support.drivers import MIB
from tests.support.holder import Holder, holder
from tests.support.jobs import Folder, Record
from tests.support.programs import run_together
from tests.support.supervised import Start, attached
from tests.support.tasks import finished

WHY = "cannot be entered, left or removed now"


@pytest.fixture
def storage(name: str) -> Iterator[SharedStorage]:
    storage = SharedStorage.create(name, 8 * MIB)
    yield storage
    storage.detach()


def stopped(other: Holder) -> None:
    other.hear()
    other.stop()


def free_again(other: Holder) -> None:
    other.go_on()
    other.let_go()


def test_a_family_ends_when_it_is_told_and_its_segment_is_of_use(
    name: str, url: str, start: Start, folder: Folder
) -> None:
    program = start("tests.support.jobs", "--url", url, "--workers", 1).serving()
    attached(program, name, 1)
    with holder(name, "enter") as other:
        stopped(other)
        assert program.stop(signal.SIGTERM) == Exit.OK
        assert f"process {other.pid} is doing so" in program.heard
        free_again(other)
    queue = asyncio.run(connect(url))
    assert queue.register_sync(Record, *folder.notes([1])) == 1
    asyncio.run(queue.close())


def test_what_cannot_be_removed_takes_requests_as_before(name: str) -> None:
    store = create_store(name, MIB)
    with holder(name, "enter") as other:
        stopped(other)
        storage = SharedStorage(store)
        assert store.supervision.close_if_unused()
        with pytest.raises(SegmentBusy, match=f"process {other.pid} is doing so"):
            storage.destroy()
        free_again(other)
    storage = SharedStorage.attach(name)
    assert storage.store.appending.append([("m/H/0/0", [b"x"])])
    storage.destroy()


def test_a_worker_that_cannot_attach_ends_and_the_next_one_serves(
    name: str, url: str, start: Start, folder: Folder
) -> None:
    program = start("tests.support.jobs", "--url", url, "--workers", 1).serving()
    [first] = attached(program, name, 1)
    queue = Queue(SharedStorage.attach(name))
    with holder(name, "enter") as other:
        stopped(other)
        program.signal(signal.SIGTTIN)
        program.hear(WHY)
        program.hear("worker ended")
        free_again(other)
    assert first in program.workers(2)
    queue.register_sync(Record, *folder.notes(range(4), threads=2))
    folder.until("done", *range(4))
    asyncio.run(queue.close())


def test_a_supervisor_that_starts_says_why_it_cannot(name: str, url: str, start: Start, storage: SharedStorage) -> None:
    with holder(name, "enter") as other:
        stopped(other)
        program = start("tests.support.jobs", "--url", url, "--workers", 1)
        assert program.end() == Exit.SEGMENT
        assert f"process {other.pid} is doing so" in program.heard
        free_again(other)


def test_an_application_ends_its_family(folder: Folder) -> None:
    async def serve() -> None:
        supervisor = Supervisor("tests.support.jobs", workers=1)
        await supervisor.start()
        with holder(supervisor.url.removeprefix("shm://"), "enter") as other:
            stopped(other)
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0.01)

            counting = asyncio.create_task(count())
            await supervisor.stop()
            counting.cancel()
            assert turns > 50
            free_again(other)
        # What stays is what the next application that embeds one finds abandoned.
        storage = SharedStorage.attach(supervisor.url.removeprefix("shm://"))
        storage.destroy()

    asyncio.run(serve())


async def test_a_client_connects_as_soon_as_it_can_and_its_loop_goes_on(
    name: str, url: str, storage: SharedStorage
) -> None:
    storage.detach()  # this process must attach anew
    with holder(name, "enter") as other:
        stopped(other)
        connecting, cancelled = asyncio.create_task(connect(url)), asyncio.create_task(connect(url))
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not connecting.done()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        free_again(other)
    await (await finished(connecting)).close()


async def test_a_client_that_cannot_connect_is_told(name: str, url: str, storage: SharedStorage) -> None:
    storage.detach()
    with holder(name, "enter") as other:
        stopped(other)
        with pytest.raises(SegmentBusy, match=f"process {other.pid} is doing so"):
            await connect(url)
        free_again(other)


PIPE, TERMS = "m/H/0/0", {"m/H": Terms((0,), 1)}
#: What a forked child may begin with, and what that returns.
FIRST_CALLS: dict[str, tuple[Callable[[SharedStorage], Coroutine[Any, Any, Any]], Any]] = {
    "append": (lambda storage: storage.append([(PIPE, [b"x"])]), 1),
    "append_when_room": (lambda storage: storage.append_when_room([(PIPE, [b"x"])]), 1),
    "backlog": (lambda storage: storage.backlog(), [1, 0, 0, 0, 0, 0, 0, 0, 0]),
    "claim": (lambda storage: storage.claim("m/H/0"), ANY),
    "claimed": (lambda storage: storage.claimed("m/H/0"), False),
    "contains": (lambda storage: storage.contains(PIPE, b"first"), True),
    "drop": (lambda storage: storage.drop("m/H/dead/0", 1), 0),
    "graves": (lambda storage: storage.graves(), []),
    "length": (lambda storage: storage.length(PIPE), 1),
    "pipes": (lambda storage: storage.pipes(), [PIPE]),
    "promote": (lambda storage: storage.promote(), None),
    "range": (lambda storage: _length_of_range(storage), 1),
    "remove": (lambda storage: storage.remove(PIPE, b"first"), 1),
    "scheduled": (lambda storage: storage.scheduled(), []),
    "unschedule": (lambda storage: storage.unschedule(PIPE, b"first"), 0),
    "wait": (lambda storage: storage.wait(frozenset(["m/H"])), "m/H/0"),
    "wait_for_quiet": (lambda storage: _quiet_once_removed(storage), True),
}


async def _length_of_range(storage: SharedStorage) -> int:
    return len((await storage.range(PIPE, 9)).messages)


async def _quiet_once_removed(storage: SharedStorage) -> bool:
    quiet = asyncio.create_task(storage.wait_for_quiet())
    await asyncio.sleep(0)
    await storage.remove(PIPE, b"first")
    return await quiet


@pytest.mark.parametrize("verb", FIRST_CALLS)
def test_a_forked_child_lets_its_loop_go_on_until_it_can_attach(name: str, storage: SharedStorage, verb: str) -> None:
    async def call() -> Any:
        calling = asyncio.create_task(function(storage))
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not calling.done()
        gate.wait()
        return await calling

    function, result = FIRST_CALLS[verb]
    assert storage.store.appending.append([(PIPE, [b"first"])])
    gate = Gate()
    with holder(name, "enter") as other:
        stopped(other)
        child = Child(lambda: asyncio.run(call()))
        gate.reached()
        other.kill()  # the child has the way to tell it to go as well
        gate.open()
        assert child.result() == result


def test_a_forked_child_that_looks_for_work_finds_none_until_it_can_attach(name: str, storage: SharedStorage) -> None:
    async def look() -> list[bool]:
        looks = [await storage.turn(None, frozenset(["m/H"]), TERMS) is None]
        looks.append(await storage.wait(frozenset(["m/H"]), 0.1) is None)
        looks.append(await storage.append_when_room([(PIPE, [b"x"])], 0.1) is None)
        looks.append(not await storage.wait_for_quiet(0.1))
        gate.wait()
        looks.append(await storage.turn(None, frozenset(["m/H"]), TERMS) is not None)
        return looks

    assert storage.store.appending.append([(PIPE, [b"first"])])
    gate = Gate()
    with holder(name, "enter") as other:
        stopped(other)
        child = Child(lambda: asyncio.run(look()))
        gate.reached()
        other.kill()
        gate.open()
        assert child.result() == [True] * 5


def test_commands_that_change_say_why_they_cannot_and_others_look(name: str, url: str, storage: SharedStorage) -> None:
    change, look = [["check"], ["destroy"]], [["tubes"], ["dead", "list"], ["recurrent", "list"]]
    with holder(name, "enter") as other:
        stopped(other)
        for verb, done in zip(change, run_together(change, url), strict=True):
            assert (done.returncode, done.stdout) == (FAILED, ""), verb
            assert f"process {other.pid} is doing so" in done.stderr, verb
        for verb, done in zip(look, run_together(look, url), strict=True):
            assert (done.returncode, done.stderr) == (OK, ""), verb
        free_again(other)
