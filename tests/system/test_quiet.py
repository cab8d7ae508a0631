"""Idle families sleep, and every event that makes work wakes a worker that does it: with no timer to help."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

import psutil
import pytest

from shardq import Queue, Supervisor
from shardq.drivers import SharedStorage
from shardq.shm import words as at
from tests.support import jobs
from tests.support.drivers import MIB
from tests.support.jobs import Folder, Forward, Gated, Record
from tests.support.programs import until
from tests.support.serving import serving
from tests.support.tasks import LIMIT_S, cancelled

JOBS = jobs.__name__
WORKERS = 8
#: How long an idle family is watched.
WATCHED_S = 1.5
#: Voluntary context switches that an idle family of 9 processes may make in that time: none is needed.
FEW = 5

#: Every safety net an hour wide: what gets done is done because of an event.
NO_NETS = {
    "QUEUE_STORAGE_SAFETY_NET": "3600",
    "QUEUE_WORKER_ACQUIRE_DELAY": "3600",
    "QUEUE_WORKER_EMPTY_PAUSE": "3600",
    "QUEUE_WORKER_DEFERRED_RETRY_DELAY": "3600",
    "QUEUE_WORKER_RECURRENT_CHECK_INTERVAL": "3600",
}


@pytest.fixture(autouse=True)
def no_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, seconds in NO_NETS.items():
        monkeypatch.setenv(variable, seconds)


def asleep(supervisor: Supervisor) -> int:
    """How many workers lie down, and have not been called since."""
    storage = supervisor.queue.storage
    assert isinstance(storage, SharedStorage)
    segment = storage.store.segment
    start = segment.layout.sleep_map
    return segment.bytes[start : start + segment.layout.slots].count(at.ASLEEP)


async def all_asleep(supervisor: Supervisor, count: int) -> None:
    """Wait until so many workers lie down. No event tells of that, and looking wakes none of them."""
    await asyncio.to_thread(until, lambda: asleep(supervisor) == count, f"{count} workers sleep")


# Events alone


@pytest.mark.parametrize("hold", ["0", "16"], ids=["leaving at once", "staying bound"])
async def test_single_requests_are_done_one_after_the_other(
    hold: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To threads that are bound, and to threads that are not; each is awaited before the next."""
    monkeypatch.setenv("QUEUE_WORKER_EMPTY_LIMIT", hold)
    random = Random(7)
    async with Supervisor(JOBS, workers=WORKERS) as supervisor:
        await all_asleep(supervisor, WORKERS)
        for number in range(300):
            await supervisor.queue.register(Record, *folder.notes([number], threads=random.randint(1, 20)))
            folder.until("done", number)


async def test_bursts_are_done_to_the_last_request(folder: Folder) -> None:
    random = Random(11)
    first = 0
    async with Supervisor(JOBS, workers=WORKERS) as supervisor:
        for _ in range(60):
            numbers = range(first, first := first + random.randint(1, 60))
            threads = random.randint(1, 30)
            for number in numbers:
                await supervisor.queue.register(Record, *folder.notes([number], threads))
            folder.until("done", *numbers)


async def test_follow_ups_wake_who_does_them(folder: Folder) -> None:
    async with Supervisor(JOBS, workers=WORKERS) as supervisor:
        await all_asleep(supervisor, WORKERS)
        for number in range(100):
            await supervisor.queue.register(Forward, *folder.notes([number], threads=1 + number % 9))
            folder.until("done", number)
        assert await supervisor.drain()


async def test_quiet_is_an_event_too(folder: Folder) -> None:
    async with Supervisor(JOBS, workers=2) as supervisor:
        for first in range(0, 300, 3):
            await supervisor.queue.register(Record, *folder.notes(range(first, first + 3), threads=3))
            async with asyncio.timeout(LIMIT_S):
                assert await supervisor.drain()
        assert sorted(folder.done()) == list(range(300))


# Workers that do not all serve the same


def in_groups(name: str, groups: Sequence[str]) -> ExitStack:
    """Worker processes over one segment, each of which serves one handler alone."""
    stack = ExitStack()
    for handler in groups:
        stack.enter_context(serving(name, f"{JOBS}:{handler}"))
    return stack


@pytest.mark.parametrize(
    "groups",
    [
        ["Forward", "Record"],
        ["Record", "Forward"],
        ["Forward", "Forward", "Forward", "Record", "Record"],
        ["Record", "Forward", "Forward", "Record", "Forward"],
    ],
    ids="-".join,
)
def test_a_call_reaches_a_worker_that_serves_the_handler(groups: list[str], name: str, folder: Folder) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    queue = Queue(storage)
    with in_groups(name, groups):
        until(lambda: storage.store.waiting.asleep() == len(groups), "all of them sleep")
        random = Random(13)
        for number in range(0, 200, 2):
            threads = random.randint(1, 5)
            queue.register_sync(Record, *folder.notes([number], threads))
            queue.register_sync(Forward, *folder.notes([number + 1], threads))
            if random.random() < 0.5:
                folder.until("done", number, number + 1)
        folder.until("done", *range(200))
    storage.destroy()


def test_who_comes_last_serves_what_the_others_do_not(name: str, folder: Folder) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    queue = Queue(storage)
    with in_groups(name, ["Forward", "Forward"]):
        until(lambda: storage.store.waiting.asleep() == 2, "both sleep")
        queue.register_sync(Forward, *folder.notes(range(10), threads=5))
        queue.register_sync(Record, *folder.notes(range(10, 20), threads=5))
        with serving(name, f"{JOBS}:Record"):
            folder.until("done", *range(20))
    storage.destroy()


def test_who_wakes_with_other_work_passes_the_call_on(name: str, folder: Folder) -> None:
    """The lowest sleeper is called for what it does not serve, and gets work of its own before it comes round."""
    storage = SharedStorage.create(name, 8 * MIB)
    queue = Queue(storage)
    with serving(name, f"{JOBS}:Gated") as low, serving(name, f"{JOBS}:Record"):
        queue.register_sync(Gated, *folder.notes([0]))
        folder.permit(1)
        folder.until("done", 0)
        until(lambda: storage.store.waiting.asleep() == 2, "both sleep, the lower one bound to the thread it emptied")
        process = psutil.Process(low)
        with storage.store._section:  # it says that it sleeps before it leaves the guard, where it must not be stopped
            process.suspend()
            until(lambda: process.status() == psutil.STATUS_STOPPED, "it stands still")
        queue.register_sync(Record, *folder.notes([1]))
        queue.register_sync(Gated, *folder.notes([2]))
        process.resume()
        folder.until("begin", 2)
        folder.until("done", 1)
        folder.permit(1)
        folder.until("done", 2)
    storage.destroy()


async def test_a_process_in_which_several_wait_passes_the_call_on(name: str, folder: Folder) -> None:
    """This process sleeps lowest, with waiters that serve nothing of what comes."""
    storage = SharedStorage.create(name, 8 * MIB)
    queue = Queue(storage)
    waiting = [asyncio.create_task(storage.wait(frozenset())) for _ in range(3)]
    with serving(name, f"{JOBS}:Record"):
        await asyncio.to_thread(until, lambda: storage.store.waiting.asleep() == 2, "both processes sleep")
        for number in range(50):
            await queue.register(Record, *folder.notes([number], threads=number + 1))
            await asyncio.to_thread(folder.until, "done", number)
    for task in waiting:
        await cancelled(task)
    storage.destroy()


# Rest


def switches(processes: Sequence[psutil.Process]) -> int:
    """Voluntary context switches so far: each is a process that went to sleep again, after something woke it."""
    return sum(thread_switches(process) for process in processes)


def thread_switches(process: psutil.Process) -> int:
    return sum(int(status["voluntary_ctxt_switches"]) for status in threads(process))


def threads(process: psutil.Process) -> list[dict[str, str]]:
    """What the kernel says about each of its threads."""
    texts = [status.read_text() for status in Path(f"/proc/{process.pid}/task").glob("*/status")]
    return [dict(line.split(":\t", 1) for line in text.splitlines()) for text in texts]


async def at_rest(supervisor: Supervisor, processes: Sequence[psutil.Process]) -> None:
    """Wait until all of them sleep, and none is on its way to do so: also the one called last, or by a timer."""

    def resting() -> bool:
        before = switches(processes)
        states = {status["State"][0] for process in processes for status in threads(process)}
        # A worker that was awake in between and has called another one went to sleep again itself.
        return states == {"S"} and asleep(supervisor) == WORKERS and switches(processes) == before

    await asyncio.to_thread(until, resting, "the family is at rest")


@pytest.mark.parametrize("later", [{}, {"defer": 3600}, {"recurrent": 3600}], ids=["nothing", "deferred", "recurrent"])
async def test_an_idle_family_sleeps(folder: Folder, monkeypatch: pytest.MonkeyPatch, later: dict[str, int]) -> None:
    monkeypatch.setenv("QUEUE_WORKER_EMPTY_LIMIT", "0")
    async with Supervisor(JOBS, workers=WORKERS) as supervisor:
        await all_asleep(supervisor, WORKERS)
        await supervisor.queue.register(Record, *folder.notes(range(100), threads=20))
        folder.until("done", *range(100))
        if later:
            await supervisor.queue.register(Record, *folder.notes(range(200, 300), threads=20), **later)
            await supervisor.queue.register(Record, *folder.notes([300]), defer=0.05)
            folder.until("done", 300)  # so the supervisor has seen all of it
        supervisor_pid = supervisor.stats().supervisor_pid
        assert supervisor_pid is not None
        family = [psutil.Process(pid) for pid in (supervisor_pid, *(w.pid for w in supervisor.stats().workers))]
        assert len(family) == WORKERS + 1
        await at_rest(supervisor, family)

        before = switches(family)
        await asyncio.sleep(WATCHED_S)  # the application does nothing either: this is what is measured
        assert switches(family) - before <= FEW

        await supervisor.queue.register(Record, *folder.notes([100]))
        folder.until("done", 100)
