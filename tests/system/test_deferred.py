"""Deferred and recurrent requests in the hands of real families: who promotes them, and what outlives whom.

Safety nets are set to an hour where a test says that something happens by itself.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from signal import SIGHUP

from shardq import Queue, Supervisor, Worker
from shardq.drivers import SharedLock, SharedStorage
from shardq.model import Tube
from shardq.settings import StorageSettings
from shardq.supervisor.exits import Exit
from tests.support.drivers import MIB
from tests.support.homes import Home, on_each_home
from tests.support.jobs import Folder, Gated, Record
from tests.support.programs import until
from tests.support.supervised import Start, client, left_in
from tests.support.tasks import LIMIT_S

JOBS = Record.__module__
NO_NET = {"QUEUE_STORAGE_SAFETY_NET": "3600"}
HOUR_S = 3600


def in_seconds(seconds: float) -> datetime:
    """A time to reckon from: what is due at times of its own is so however long it takes to register it."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def deferred_in(queue: Queue) -> int:
    return asyncio.run(queue.storage.backlog()).deferred


def length_of(queue: Queue, handler: type[Record], folder: Folder) -> int:
    [route] = handler.route(*folder.notes([0]))
    return asyncio.run(queue.storage.length(Tube(handler, route).pipe))


@on_each_home
def test_the_supervisor_promotes_while_all_workers_are_busy(start: Start, url: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, environment=NO_NET).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
        folder.until("begin", 0)
        queue.register_sync(Record, *folder.notes([1]), defer=HOUR_S)
        queue.register_sync(Record, *folder.notes([2]), defer=0.05)
        until(lambda: length_of(queue, Record, folder) == 1, "what is due comes into its tube")
        assert deferred_in(queue) == 1
        folder.permit(1)
        folder.until("done", 0, 2)
        assert asyncio.run(queue.cancel(Record, *folder.notes([1]))) == 1
    assert program.stop() == Exit.OK


@on_each_home
def test_deferred_requests_outlive_a_family_in_their_order(start: Start, url: str, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, environment=NO_NET).serving()
    base = in_seconds(5)
    with client(url) as queue:
        for number in (3, 1, 2):
            queue.register_sync(Record, *folder.notes([number]), defer=base + timedelta(seconds=number / 10))
        queue.register_sync(Record, *folder.notes([4, 5]), defer=base + timedelta(seconds=0.3))
        program.kill_family()
        assert (left_in(url), deferred_in(queue)) == (0, 5)

    again = start(JOBS, "--url", url, "--workers", 2, "--drain", "--deferred", environment=NO_NET)
    assert again.end() == Exit.OK
    assert folder.done() == [1, 2, 3, 4, 5]
    assert "5 requests done" in again.printed()
    assert home.left() == []


@on_each_home
def test_a_drain_leaves_deferred_and_recurrent_requests(start: Start, url: str, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", url, environment=NO_NET).serving()
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([0]), defer=HOUR_S)
        queue.register_sync(Record, *folder.notes([1, 2]), recurrent=HOUR_S)
    assert program.stop() == Exit.OK
    program.hear("1 deferred request, 2 recurrent requests stay")

    drained = start(JOBS, "--url", url, "--drain", "--json", environment=NO_NET)
    assert drained.end() == Exit.OK
    assert json.loads(drained.printed())["deferred"] == 1
    with client(url) as queue:
        assert asyncio.run(queue.cancel(Record, *folder.notes([0]))) == 1
        assert asyncio.run(queue.recurrent.cancel(Record, *folder.notes([1, 2]))) == 2
    assert start(JOBS, "--url", url, "--drain").end() == Exit.OK
    assert home.left() == []


@on_each_home
def test_recurrent_requests_come_again_and_again_until_they_are_cancelled(
    start: Start, url: str, home: Home, folder: Folder
) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, environment=NO_NET).serving()
    with client(url) as queue:
        for _ in range(3):
            queue.register_sync(Record, *folder.notes([7]), recurrent=0.05)
        assert len(asyncio.run(queue.recurrent.list())) == 1
        until(lambda: len(folder.done()) >= 4, "it comes again and again")
        assert asyncio.run(queue.recurrent.cancel(Record, *folder.notes([7]))) == 1
        assert asyncio.run(queue.storage.wait_for_quiet(LIMIT_S)), "what had come already is done"
    assert program.stop() == Exit.OK
    assert home.left() == []


@on_each_home
def test_a_reloaded_supervisor_goes_on_with_what_is_deferred(start: Start, url: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, environment=NO_NET).serving()
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([1]), defer=1.5)
        program.signal(SIGHUP)
        program.hear("reloaded")
        folder.until("done", 1)
    assert program.stop() == Exit.OK


async def test_workers_without_a_supervisor_promote_by_themselves(name: str, folder: Folder) -> None:
    storage = SharedStorage.create(name, 8 * MIB, settings=StorageSettings(safety_net=HOUR_S))
    queue = Queue(storage)
    worker = Worker(SharedLock(storage), queue)
    serving = asyncio.create_task(worker.loop(limit=2, handler=Record))
    await asyncio.sleep(0)
    base = in_seconds(3)
    await queue.register(Record, *folder.notes([1]), defer=base + timedelta(seconds=0.15))
    await queue.register(Record, *folder.notes([2]), defer=base)
    async with asyncio.timeout(LIMIT_S):
        await serving
    assert folder.done() == [2, 1]
    storage.destroy()


async def test_an_outside_worker_takes_over_from_a_supervisor_that_died(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, environment=NO_NET).serving()
    storage = SharedStorage.attach(name, settings=StorageSettings(safety_net=HOUR_S))
    queue = Queue(storage)
    worker = Worker(SharedLock(storage), queue)
    serving = asyncio.create_task(worker.loop(limit=1, handler=Record))
    await asyncio.to_thread(until, lambda: storage.store.waiting.asleep() == 2, "both workers sleep")
    await asyncio.to_thread(program.kill_family)
    await queue.register(Record, *folder.notes([1]), defer=0.05)
    async with asyncio.timeout(LIMIT_S):
        await serving
    assert folder.done() == [1]
    storage.destroy()


@on_each_home
async def test_an_embedded_supervisor_drains_what_is_deferred_when_asked(url: str, folder: Folder) -> None:
    async with Supervisor(Record, Gated, workers=1, url=url) as supervisor:
        await supervisor.queue.register(Record, *folder.notes([1]), defer=0.1)
        await supervisor.queue.register(Record, *folder.notes([2]), defer=HOUR_S)
        assert await supervisor.drain(LIMIT_S)
        assert supervisor.stats().deferred >= 1
        assert not await supervisor.drain(0.01, deferred=True)
        assert await supervisor.queue.cancel(Record, *folder.notes([2])) == 1
        assert await supervisor.drain(LIMIT_S, deferred=True)
    assert folder.done() == [1]
