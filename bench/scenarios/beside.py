"""What it costs a worker that many threads beside are ready whose handler it does not have: rate, and wake-up.

A machine changes its pace from one second to the next by more than these threads cost. So a twin, a segment with a
worker of its own and no such threads, does the same in turns of some hundredths of a second, and what is compared are
the turns beside each other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import NamedTuple

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.jobs import PER_CALL, NewThread, Nothing, Ping, numbered
from bench.load.percentiles import DELAYS, percentiles_us
from bench.load.segment import segment
from bench.load.unserved import Aside
from bench.load.until import until
from bench.load.worker import Peer, serving
from shardq import Queue
from shardq.drivers import SharedStorage

CAPACITY_BYTES = 512 << 20
TURNS = 16
CALLS_A_TURN = 5
PINGS = 200
PAUSE_S = 0.005


class Side(NamedTuple):
    """A segment with its worker."""

    queue: Queue
    worker: Peer
    threads: int
    """So many are ready that the worker does not serve, each with one request."""

    async def all_done(self) -> None:
        storage = self.queue.storage
        assert isinstance(storage, SharedStorage)
        await until(lambda: storage.overview().queued <= self.threads)


class Turn(NamedTuple):
    elapsed_ns: int
    worker_ns: int
    """Processor time of the worker."""


def threads(size: Size, *, count: int) -> Figures:
    return uvloop.run(_measure(size, size.count(count) if count else 0))


async def _measure(size: Size, threads: int) -> Figures:
    turns, pings = size.count(TURNS), size.count(PINGS)
    limit = (turns + 1) * CALLS_A_TURN * PER_CALL + pings
    async with _served(threads, limit) as beside, _served(0, limit) as twin:
        sides = (beside, twin)
        own, its = await _in_turns(sides, turns)
        await _ping(sides, pings)
        delays, its_delays = [percentiles_us((await side.worker.result())["delays_ns"]) for side in sides]
    return {
        "end_to_end_per_s": CALLS_A_TURN * PER_CALL / median(turn.elapsed_ns for turn in own) * 1e9,
        "rate_share": median(other.elapsed_ns / turn.elapsed_ns for turn, other in zip(own, its, strict=True)),
        "processor_share": median(turn.worker_ns / other.worker_ns for turn, other in zip(own, its, strict=True)),
        **delays,
        "p50_share": delays["p50_us"] / its_delays["p50_us"],
    }


async def _in_turns(sides: Sequence[Side], count: int) -> list[list[Turn]]:
    """The turns of each side, after one to warm up."""
    requests = numbered(0, PER_CALL)
    found: list[list[Turn]] = [[] for _ in sides]
    for number in range(count + 1):
        # Which goes first changes: what the first leaves in the caches is to favour neither.
        for place in sorted(range(len(sides)), reverse=number % 2 == 1):
            found[place].append(await _turn(sides[place], requests))
    return [turns[1:] for turns in found]


async def _turn(side: Side, requests: Sequence[object]) -> Turn:
    used_ns, start_ns = side.worker.processor_ns(), time.monotonic_ns()
    for _ in range(CALLS_A_TURN):
        await side.queue.register(Nothing, *requests)
    await side.all_done()
    return Turn(time.monotonic_ns() - start_ns, side.worker.processor_ns() - used_ns)


async def _ping(sides: Sequence[Side], count: int) -> None:
    for number in range(count):
        for side in sides:
            await asyncio.sleep(PAUSE_S)  # the pause is the scenario: the worker falls asleep in it
            await side.queue.register(NewThread, Ping(number, time.monotonic_ns()))
            if number + 1 < count:  # after the last one the worker ends
                await side.all_done()


@asynccontextmanager
async def _served(threads: int, limit: int) -> AsyncIterator[Side]:
    """A segment with so many ready threads that its worker does not serve."""
    with segment(CAPACITY_BYTES) as storage:
        queue = Queue(storage)
        await queue.register(Aside, *numbered(0, threads))
        async with serving(f"shm://{storage.name}", limit) as worker:
            yield Side(queue, worker, threads)


SCENARIOS = (
    Scenario(
        "unserved",
        "beside ready threads whose handler the worker does not have",
        (
            Figure("end_to_end_per_s", f"calls of {PER_CALL:,}, end to end", "requests/s"),
            Figure("rate_share", "the rate, as a share of its twin's", "1"),
            Figure("processor_share", "the worker's processor time, as a share of its twin's", "1", True),
            *DELAYS,
            Figure("p50_share", "the median delay, as a share of its twin's", "1", True),
        ),
        tuple(
            Contestant(f"beside {count:,} threads", f"{__name__}:threads", {"count": count})
            for count in (30_000, 1_000, 0)
        ),
        "One worker process. The delays are those of single requests to an idle worker, each in a new thread. Beside "
        "each contestant a twin without such threads, on a segment of its own, does the same in turns of some "
        "hundredths of a second, in which the machine keeps its pace: the shares are medians over the pairs of turns. "
        "How far they are from 1 beside 0 threads is what the measurement itself cannot tell.",
    ),
)
