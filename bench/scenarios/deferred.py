"""How late deferred requests come into their tube, while both workers of a family compute.

1,500 requests are registered one by one, each with a time of its own, spread over 2 seconds that begin when all are
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

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Kind, Scenario
from bench.harness.size import Size
from bench.load.inside import accepted, asleep, shared
from bench.load.jobs import JOBS, Burn, Ping
from bench.load.percentiles import DELAYS, percentiles_us
from bench.load.unserved import Due, Later
from bench.load.until import until
from shardq import Queue, Route, Supervisor, Tube
from shardq.drivers import SharedStorage

REQUESTS = 1_500
SPREAD_S = 2.0
#: For registering them.
LEAD_S = 1.0
WORKERS = 2
#: Requests of 50 to 100 milliseconds: more than two workers do meanwhile.
BURNS = 1_000
_EPOCH = datetime.fromtimestamp(0, UTC)


def family(size: Size) -> Figures:
    return uvloop.run(_family(size.count(REQUESTS), size.seconds(SPREAD_S)))


def timer(size: Size) -> Figures:
    """The floor: a process beside the same load that sleeps until each of these times."""
    return uvloop.run(_timer(size.count(REQUESTS), size.seconds(SPREAD_S)))


async def _family(count: int, spread_s: float) -> Figures:
    async with _busy_family() as queue:
        storage = shared(queue.storage)
        first = datetime.now(UTC) + timedelta(seconds=LEAD_S)
        for delay_s in _delays_s(count, spread_s):
            due = first + timedelta(seconds=delay_s)
            await queue.register(Later, Due((due - _EPOCH) // timedelta(microseconds=1)), defer=due)
        if datetime.now(UTC) > first:
            raise RuntimeError(f"{count} requests took longer to register than {LEAD_S} seconds")
        await asyncio.sleep(LEAD_S + spread_s)
        await until(lambda: not storage.overview().deferred)
        return percentiles_us([1000 * (came_us - due_us) for due_us, came_us in _came(storage)])


async def _timer(count: int, spread_s: float) -> Figures:
    async with _busy_family():
        start = time.time()
        late_ns = []
        for due in sorted(start + delay_s for delay_s in _delays_s(count, spread_s)):
            while (left_s := due - time.time()) > 0:
                select.select((), (), (), left_s)
            late_ns.append(int((time.time() - due) * 1e9))
        return percentiles_us(late_ns)


def _delays_s(count: int, spread_s: float) -> list[float]:
    random = Random(7)
    return [random.uniform(0, spread_s) for _ in range(count)]


@asynccontextmanager
async def _busy_family() -> AsyncIterator[Queue]:
    """A family whose workers compute from the beginning to the end, and leave the rest undone."""
    async with Supervisor(JOBS, workers=WORKERS) as supervisor:
        storage = shared(supervisor.queue.storage)
        await supervisor.queue.register(Burn, *(Ping(number, 0) for number in range(BURNS)))
        await until(lambda: not asleep(storage))
        yield supervisor.queue


def _came(storage: SharedStorage) -> list[tuple[int, int]]:
    """When each request was due, and when it came into its tube, in Unix microseconds."""
    decode = msgspec.msgpack.Decoder(Due).decode
    return [(decode(message).due_us, came_us) for message, came_us in accepted(storage, Tube(Later, Route()).pipe)]


SCENARIOS = (
    Scenario(
        "deferred",
        "from a deferred request's time to its place in the tube, beside busy workers",
        DELAYS,
        (
            Contestant("shardq", f"{__name__}:family"),
            Contestant("a timer beside them", f"{__name__}:timer", kind=Kind.FLOOR),
        ),
        "Two workers compute in batches of 50 to 100 ms meanwhile. The floor is a process beside the same load that "
        "sleeps in `select` until each of these times: how late the kernel wakes a process that waits for a timer.",
    ),
)
