"""How late deferred requests come into their tube, while both workers of a family compute.

3,000 requests are registered one by one, each with a time of its own, spread over 5 seconds that begin when all are
registered, since the registering process needs a core as well. No worker serves them: they stay in their tube, where
the record of each says when it came.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
import uvloop

from bench.jobs import Burn, Ping
from bench.percentiles import percentiles_us
from bench.unserved import Due, Later
from bench.until import until
from shardq import Queue, Route, Supervisor, Tube
from shardq.drivers import SharedStorage
from shardq.shm.memory import record

REQUESTS = 3_000
SPREAD_S = 5.0
#: For registering them.
LEAD_S = 1.0
WORKERS = 2
#: Requests of 50 to 100 milliseconds: more than two workers do meanwhile.
BURNS = 1_000
_EPOCH = datetime.fromtimestamp(0, UTC)


def family() -> dict[str, float]:
    return uvloop.run(_family())


def timer() -> dict[str, float]:
    """The floor: a process beside the same load that sleeps until each of these times."""
    return uvloop.run(_timer())


async def _family() -> dict[str, float]:
    async with _busy_family() as queue:
        storage = queue.storage
        assert isinstance(storage, SharedStorage)
        first = datetime.now(UTC) + timedelta(seconds=LEAD_S)
        for delay_s in _delays_s():
            due = first + timedelta(seconds=delay_s)
            await queue.register(Later, Due((due - _EPOCH) // timedelta(microseconds=1)), defer=due)
        if datetime.now(UTC) > first:
            raise RuntimeError(f"{REQUESTS} requests took longer to register than {LEAD_S} seconds")
        await asyncio.sleep(LEAD_S + SPREAD_S)
        if left := (await storage.backlog()).deferred:
            raise RuntimeError(f"{left} requests were not moved to their tube")
        return percentiles_us([1000 * (came_us - due_us) for due_us, came_us in _came(storage)])


async def _timer() -> dict[str, float]:
    async with _busy_family():
        start = time.time()
        late_ns = []
        for due in sorted(start + delay_s for delay_s in _delays_s()):
            while (left_s := due - time.time()) > 0:
                select.select((), (), (), left_s)
            late_ns.append(int((time.time() - due) * 1e9))
        return percentiles_us(late_ns)


def _delays_s() -> list[float]:
    random = Random(7)
    return [random.uniform(0, SPREAD_S) for _ in range(REQUESTS)]


@asynccontextmanager
async def _busy_family() -> AsyncIterator[Queue]:
    """A family whose workers compute from the beginning to the end, and leave the rest undone."""
    async with Supervisor("bench.jobs", workers=WORKERS) as supervisor:
        storage = supervisor.queue.storage
        assert isinstance(storage, SharedStorage)
        await supervisor.queue.register(Burn, *(Ping(number, 0) for number in range(BURNS)))
        await until(lambda: not storage.store.waiting.asleep())
        yield supervisor.queue


def _came(storage: SharedStorage) -> list[tuple[int, int]]:
    """When each request was due, and when it came into its tube, in Unix microseconds."""
    decode, store = msgspec.msgpack.Decoder(Due).decode, storage.store
    with store._section:
        _, tube = store._directory.tube(Tube(Later, Route()).pipe)
        found = [
            (record.cut(store.segment, its, 0, its.count), its.accepted_us) for its in store._tubes.chains.records(tube)
        ]
    return [(decode(message).due_us, came_us) for batch, came_us in found for message in batch.messages]
