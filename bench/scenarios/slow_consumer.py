"""What a map holds in memory whose results are consumed far slower than its workers make them."""

from __future__ import annotations

import asyncio
import time

import psutil
import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.inside import shared, used_bytes
from bench.load.jobs import CALL, CAPACITY_BYTES, JOBS, Answer, tasks
from shardq import Supervisor

TOTAL = 1_000_000
#: So many requests say how fast the workers are.
WARM_UP = 20_000
#: How many times as long as the workers need the consumer takes for a result, and for how many results in a row.
SLOWER, STRETCH = 100, 2_000
_MIB = 1 << 20
PLACES = ("begin", "middle", "end")


def family(size: Size, *, ordered: bool) -> Figures:
    return uvloop.run(_family(size.count(TOTAL, CALL), ordered))


def floor(size: Size) -> Figures:
    """A caller that maps nothing, and the segment of its idle family."""
    return uvloop.run(_floor())


async def _family(total: int, ordered: bool) -> Figures:
    async with Supervisor(JOBS, workers=2, capacity_bytes=CAPACITY_BYTES) as served:
        start = time.perf_counter()
        async with served.queue.map(Answer, tasks(WARM_UP, 0.0), ordered=ordered) as results:
            async for _ in results:
                pass
        pause_s = SLOWER * (time.perf_counter() - start) / WARM_UP
        stretch = min(STRETCH, total // 10)
        ends = {stretch: "begin", (total + stretch) // 2: "middle", total: "end"}
        figures, taken = Figures(), 0
        async with served.queue.map(Answer, tasks(total, 0.0), ordered=ordered) as results:
            async for _ in results:
                taken += 1
                if any(end - stretch < taken <= end for end in ends):
                    await asyncio.sleep(pause_s)
                if taken in ends and taken < total:
                    figures |= _measured(served, ends[taken])
                elif taken == total - CALL:
                    figures |= _measured(served, "end")  # before the input ran dry
        return figures


async def _floor() -> Figures:
    async with Supervisor(JOBS, workers=2, capacity_bytes=CAPACITY_BYTES) as served:
        return {name: figure for place in PLACES for name, figure in _measured(served, place).items()}


def _measured(served: Supervisor, place: str) -> Figures:
    return {
        f"rss_{place}_mib": psutil.Process().memory_info().rss / _MIB,
        f"used_{place}_mib": used_bytes(shared(served.queue.storage)) / _MIB,
    }


SCENARIOS = (
    Scenario(
        "map-slow-consumer",
        f"memory of a map of {TOTAL:,} requests whose consumer is {SLOWER} times slower than its workers",
        (
            *(Figure(f"rss_{its}_mib", f"of the caller, {its}", "MiB", less_is_better=True) for its in PLACES),
            *(Figure(f"used_{its}_mib", f"of the segment, {its}", "MiB", less_is_better=True) for its in PLACES),
        ),
        (
            Contestant("shardq", f"{__name__}:family", {"ordered": True}),
            Contestant("shardq, as they come", f"{__name__}:family", {"ordered": False}),
            Contestant("an idle family", f"{__name__}:floor", kind=Kind.FLOOR),
        ),
        f"The consumer is so slow for {STRETCH:,} results in a row at the begin, in the middle and at the end, and is "
        "measured while it is: a million results would take it a quarter of an hour. Between these it takes results as "
        "fast as they come. The window is the one that `map` chooses.",
    ),
)
