"""What a family costs that has nothing to do: processor time and wake-ups of a supervisor and 8 workers.

`BENCH_IDLE_S` says for how many seconds they are watched, by default 60.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.jobs import Job
from bench.jobs import Nothing as NothingToDo
from bench.until import until
from shardq import Supervisor
from shardq.drivers import SharedStorage

WORKERS = 8
#: The rival looks for work as often as the ancestor's workers do.
POLL_S = 0.1
WATCHED_S = float(os.environ.get("BENCH_IDLE_S", "60"))


def family() -> dict[str, float]:
    return uvloop.run(_family())


def pollers() -> dict[str, float]:
    """The rival: as many processes on the same event loop, each of which looks ten times a second."""
    reading, writing = os.pipe()
    children = [child for _ in range(WORKERS) if (child := _fork_poller(writing))]
    try:
        for _ in range(WORKERS):
            os.read(reading, 1)
        before = used(children)
        time.sleep(WATCHED_S)
        return _spent(before, used(children))
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)


async def _family() -> dict[str, float]:
    async with Supervisor("bench.jobs", workers=WORKERS) as supervisor:
        # Once to work and back to sleep: what a worker does only the first time is over.
        await supervisor.queue.register(NothingToDo, *(Job(number, "warm-up", 0.0) for number in range(1000)))
        await supervisor.drain()
        await _all_asleep(supervisor)
        stats = supervisor.stats()
        assert stats.supervisor_pid is not None
        pids = [stats.supervisor_pid, *(worker.pid for worker in stats.workers)]
        before = used(pids)
        await asyncio.sleep(WATCHED_S)
        return _spent(before, used(pids))


async def _all_asleep(supervisor: Supervisor) -> None:
    """Wait until no worker is bound to a thread any more and all of them sleep."""
    storage = supervisor.queue.storage
    assert isinstance(storage, SharedStorage)
    held_s = 0.1 * 16 + 1  # by default a worker stays bound so long to a thread that is empty
    await asyncio.sleep(held_s)
    await until(lambda: storage.store.waiting.asleep() == WORKERS)


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


def _spent(before: tuple[int, int], after: tuple[int, int]) -> dict[str, float]:
    return {
        "cpu_us_per_s": (after[0] - before[0]) / 1000 / WATCHED_S,
        "wake_ups_per_s": (after[1] - before[1]) / WATCHED_S,
    }
