"""A million requests that wait for their time: what it costs to add them, to have them, and to move them.

They are registered with `defer` for one time, half a minute from the beginning, for a handler that no worker serves.
So they come into their tubes and stay there. `BENCH_PENDING` says how many, by default a million; one by one a fifth.
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta

import uvloop

from bench.idle import used
from bench.jobs import CALL, numbered
from bench.unserved import Kept
from bench.until import until
from shardq import Queue, Supervisor
from shardq.drivers import SharedStorage

REQUESTS = int(os.environ.get("BENCH_PENDING", "1000000")) // CALL * CALL
WORKERS = 2
CAPACITY_BYTES = 1 << 30
WATCHED_S = 10.0
#: All are due so long after the first is registered: when all are and the family was watched.
DUE_S = 30.0


def deferred_by_128() -> dict[str, float]:
    return uvloop.run(_deferred(REQUESTS, CALL))


def deferred_one_by_one() -> dict[str, float]:
    return uvloop.run(_deferred(REQUESTS // 5, 1))


def plain_by_128() -> dict[str, float]:
    """The floor: the same requests, registered at once. Moving them costs at least what that does."""
    return uvloop.run(_plain(REQUESTS, CALL))


def plain_one_by_one() -> dict[str, float]:
    return uvloop.run(_plain(REQUESTS // 5, 1))


async def _deferred(count: int, per_call: int) -> dict[str, float]:
    async with Supervisor("bench.jobs", workers=WORKERS, capacity_bytes=CAPACITY_BYTES) as supervisor:
        due = datetime.now(UTC) + timedelta(seconds=DUE_S)
        figures = await _added(supervisor, count, per_call, due)
        if (left_s := _seconds_until(due)) <= 0:
            raise RuntimeError(f"{count} requests took longer to add than {DUE_S - WATCHED_S} seconds")
        await asyncio.sleep(left_s)
        storage = _storage(supervisor)
        await until(lambda: not storage.store.counts().deferred)
        return {**figures, "moved_per_s": count / -_seconds_until(due)}


async def _plain(count: int, per_call: int) -> dict[str, float]:
    async with Supervisor("bench.jobs", workers=WORKERS, capacity_bytes=CAPACITY_BYTES) as supervisor:
        figures = await _added(supervisor, count, per_call, None)
        return {**figures, "moved_per_s": figures["added_per_s"]}


async def _added(supervisor: Supervisor, count: int, per_call: int, due: datetime | None) -> dict[str, float]:
    storage = _storage(supervisor)
    before = storage.store.segment.used_bytes
    added_s = await _register(supervisor.queue, count, per_call, due)
    held_bytes = storage.store.segment.used_bytes - before
    return {
        "added_per_s": count / added_s,
        "bytes_each": held_bytes / count,
        "waiting_cpu_us_per_s": await _waiting_cpu_us(supervisor) / WATCHED_S,
    }


def _storage(supervisor: Supervisor) -> SharedStorage:
    storage = supervisor.queue.storage
    assert isinstance(storage, SharedStorage)
    return storage


async def _register(queue: Queue, count: int, per_call: int, due: datetime | None) -> float:
    """The seconds it takes."""
    requests = numbered(0, count)
    start = time.perf_counter()
    for first in range(0, count, per_call):
        await queue.register(Kept, *requests[first : first + per_call], defer=due)
    return time.perf_counter() - start


def _seconds_until(due: datetime) -> float:
    return (due - datetime.now(UTC)).total_seconds()


async def _waiting_cpu_us(supervisor: Supervisor) -> float:
    """What the family takes of a processor while nothing happens."""
    stats = supervisor.stats()
    assert stats.supervisor_pid is not None
    family = [stats.supervisor_pid, *(worker.pid for worker in stats.workers)]
    before, _ = used(family)
    await asyncio.sleep(WATCHED_S)
    after, _ = used(family)
    return (after - before) / 1000
