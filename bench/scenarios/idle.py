"""What a family costs that has nothing to do: processor time and wake-ups of a supervisor and 8 workers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.inside import asleep, shared
from bench.load.jobs import JOBS, Nothing, numbered
from bench.load.until import until
from shardq import Supervisor
from shardq.drivers.shared.storage import Overview

WORKERS = 8
#: The rival looks for work as often as the ancestor's workers do.
POLL_S = 0.1
#: Two of the periods in which each worker wakes once to look that all is well: 8 workers do so at nearly the same time.
WATCHED_S = 16.0


def family(size: Size) -> Figures:
    return uvloop.run(_family(size.seconds(WATCHED_S)))


def pollers(size: Size) -> Figures:
    """The rival: as many processes on the same event loop, each of which looks ten times a second."""
    reading, writing = os.pipe()
    children = [child for _ in range(WORKERS) if (child := _fork_poller(writing))]
    try:
        for _ in range(WORKERS):
            os.read(reading, 1)
        before = used(children)
        watched_s = size.seconds(WATCHED_S)
        time.sleep(watched_s)
        return _spent(before, used(children), watched_s)
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)


async def _family(watched_s: float) -> Figures:
    async with Supervisor(JOBS, workers=WORKERS) as supervisor:
        # Once to work and back to sleep: what a worker does only the first time is over.
        await supervisor.queue.register(Nothing, *numbered(0, 1000))
        await supervisor.drain()
        await _all_asleep(supervisor)
        stats = supervisor.stats()
        assert isinstance(stats, Overview)
        assert stats.supervisor_pid is not None
        pids = [stats.supervisor_pid, *(worker.pid for worker in stats.workers)]
        before = used(pids)
        await asyncio.sleep(watched_s)
        return _spent(before, used(pids), watched_s)


async def _all_asleep(supervisor: Supervisor) -> None:
    """Wait until no worker is bound to a thread any more and all of them sleep."""
    storage = shared(supervisor.queue.storage)
    held_s = 0.1 * 16 + 1  # by default a worker stays bound so long to a thread that is empty
    await asyncio.sleep(held_s)
    await until(lambda: asleep(storage) == WORKERS)


def _fork_poller(writing: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        uvloop.run(_poll(writing))
    finally:
        os._exit(1)


async def _poll(writing: int) -> None:
    os.write(writing, b".")
    while True:  # noqa: ASYNC110 - polling is what this one is here for
        await asyncio.sleep(POLL_S)


def used(pids: Sequence[int]) -> tuple[int, int]:
    """Nanoseconds on a processor, and voluntary context switches, of all threads of these processes."""
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    cpu_ns = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)
    return cpu_ns, sum(_switches((thread / "status").read_text()) for thread in threads)


def _switches(status: str) -> int:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))


def _spent(before: tuple[int, int], after: tuple[int, int], watched_s: float) -> Figures:
    return {
        "cpu_us_per_s": (after[0] - before[0]) / 1000 / watched_s,
        "wake_ups_per_s": (after[1] - before[1]) / watched_s,
    }


SCENARIOS = (
    Scenario(
        "idle",
        f"a supervisor and {WORKERS} workers with nothing to do",
        (
            Figure("cpu_us_per_s", "processor time, 1,000 are 0.1 % of a core", "us/s", less_is_better=True),
            Figure("wake_ups_per_s", "voluntary context switches", "1/s", less_is_better=True),
        ),
        (
            Contestant("shardq", f"{__name__}:family"),
            Contestant("polling every 100 ms", f"{__name__}:pollers", kind=Kind.RIVAL),
        ),
        f"Watched for {WATCHED_S:.0f} seconds, after each worker has let go of its thread. The rival is as many "
        "processes on the same event loop, each of which looks for work as often as those of `sharded-queue` do.",
    ),
)
