"""Many requests that wait for their time: what it costs to add them, to have them, and to move them.

They are registered with `defer` for one time, some seconds from the beginning, for a handler that no worker serves. So
they come into their tubes and stay there.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.inside import deferred as deferred_now
from bench.load.inside import shared, used_bytes
from bench.load.jobs import CALL, JOBS, numbered
from bench.load.unserved import Kept
from bench.load.until import until
from bench.scenarios.idle import used
from shardq import Queue, Supervisor
from shardq.drivers.shared.storage import Overview

#: By the requests of one call: how many wait.
TOTALS = {CALL: 100_000, 1: 20_000}
WORKERS = 2
CAPACITY_BYTES = 1 << 30
WATCHED_S = 1.0
#: All are due when all are registered and the family was watched: it may take so long to register them.
ADDING_S = 1.0
#: And so much more, however few they are: the machine may have other things to do.
LEAD_S = 2.0


def deferred(size: Size, *, call: int) -> Figures:
    due_s = LEAD_S + size.seconds(WATCHED_S + ADDING_S)
    return uvloop.run(_deferred(size.count(TOTALS[call], call), call, size.seconds(WATCHED_S), due_s))


def plain(size: Size, *, call: int) -> Figures:
    """The floor: the same requests, registered at once. Moving them costs at least what that does."""
    return uvloop.run(_plain(size.count(TOTALS[call], call), call, size.seconds(WATCHED_S)))


async def _deferred(count: int, per_call: int, watched_s: float, due_s: float) -> Figures:
    async with Supervisor(JOBS, workers=WORKERS, capacity_bytes=CAPACITY_BYTES) as supervisor:
        due = datetime.now(UTC) + timedelta(seconds=due_s)
        figures = await _added(supervisor, count, per_call, due, watched_s)
        if (left_s := _seconds_until(due)) <= 0:
            raise RuntimeError(f"{count} requests took longer to add than {due_s - watched_s} seconds")
        await asyncio.sleep(left_s)
        storage = shared(supervisor.queue.storage)
        await until(lambda: not deferred_now(storage))
        return {**figures, "moved_per_s": count / -_seconds_until(due)}


async def _plain(count: int, per_call: int, watched_s: float) -> Figures:
    async with Supervisor(JOBS, workers=WORKERS, capacity_bytes=CAPACITY_BYTES) as supervisor:
        figures = await _added(supervisor, count, per_call, None, watched_s)
        return {**figures, "moved_per_s": figures["added_per_s"]}


async def _added(supervisor: Supervisor, count: int, per_call: int, due: datetime | None, watched_s: float) -> Figures:
    storage = shared(supervisor.queue.storage)
    before = used_bytes(storage)
    added_s = await _register(supervisor.queue, count, per_call, due)
    held_bytes = used_bytes(storage) - before
    return {
        "added_per_s": count / added_s,
        "bytes_each": held_bytes / count,
        "waiting_cpu_us_per_s": await _waiting_cpu_us(supervisor, watched_s) / watched_s,
    }


async def _register(queue: Queue, count: int, per_call: int, due: datetime | None) -> float:
    """The seconds it takes."""
    requests = numbered(0, count)
    start = time.perf_counter()
    for first in range(0, count, per_call):
        await queue.register(Kept, *requests[first : first + per_call], defer=due)
    return time.perf_counter() - start


def _seconds_until(due: datetime) -> float:
    return (due - datetime.now(UTC)).total_seconds()


async def _waiting_cpu_us(supervisor: Supervisor, watched_s: float) -> float:
    """What the family takes of a processor while nothing happens."""
    stats = supervisor.stats()
    assert isinstance(stats, Overview)
    assert stats.supervisor_pid is not None
    family = [stats.supervisor_pid, *(worker.pid for worker in stats.workers)]
    before, _ = used(family)
    await asyncio.sleep(watched_s)
    after, _ = used(family)
    return (after - before) / 1000


SCENARIOS = (
    Scenario(
        "pending",
        f"{TOTALS[CALL]:,} deferred requests, all due at one time",
        (
            Figure("added_per_s", "registered", "requests/s"),
            Figure("moved_per_s", "moved to their tubes, once all are due", "requests/s"),
            Figure("bytes_each", "of the segment, for each request", "bytes", less_is_better=True),
            Figure("waiting_cpu_us_per_s", "processor time of the family while all wait", "us/s", less_is_better=True),
        ),
        (
            Contestant(f"calls of {CALL}", f"{__name__}:deferred", {"call": CALL}),
            Contestant(f"calls of {CALL}, at once", f"{__name__}:plain", {"call": CALL}, Kind.FLOOR),
            Contestant("one by one", f"{__name__}:deferred", {"call": 1}),
            Contestant("one by one, at once", f"{__name__}:plain", {"call": 1}, Kind.FLOOR, against="one by one"),
        ),
        "For a handler that no worker serves, beside a supervisor and two workers that have nothing else to do. Each "
        f"call of {CALL} goes to one of 16 threads. One by one a fifth of them. Registered at once they need not be "
        "moved: the floor of moving is their rate of registering.",
    ),
)
