"""Threads that get a request now and then, beside threads that are never empty.

99 threads get one request each second, spread over it; two workers of a family serve them, and the floods.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.jobs import JOBS, Asked, Fair
from bench.load.percentiles import DELAYS, percentiles_us
from shardq import Queue, Route, Supervisor, Tube

OTHERS = 99
WORKERS = 2
#: All delays have to fit the journal's pipe, so no more than 80.
WATCHED_S = 2.0
#: A flooded thread is filled up to so many requests, as often as this.
FLOOD = 20_000
FILL_S = 0.02
_DELAY_BYTES = 8


def beside(size: Size, *, floods: int) -> Figures:
    return uvloop.run(_beside(floods, size.count(round(OTHERS * WATCHED_S))))


async def _beside(floods: int, count: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        os.mkfifo(path, 0o600)
        journal = os.open(path, os.O_RDWR)
        async with Supervisor(JOBS, workers=WORKERS) as supervisor:
            async with _flooding(supervisor.queue, range(OTHERS, OTHERS + floods)):
                handled, start = (await supervisor.queue.storage.backlog()).handled, time.monotonic()
                asked = await _ask(supervisor.queue, str(path), count)
                done = (await supervisor.queue.storage.backlog()).handled - handled - asked
                seconds = time.monotonic() - start
            await supervisor.drain()
        delays = os.read(journal, 1 << 20)
        os.close(journal)
    delays_ns = [
        int.from_bytes(delays[start : start + _DELAY_BYTES], "little") for start in range(0, len(delays), _DELAY_BYTES)
    ]
    assert len(delays_ns) == asked
    return {**percentiles_us(delays_ns), "max_us": max(delays_ns) / 1000, "flood_per_s": max(0, done) / seconds}


async def _ask(queue: Queue, journal: str, count: int) -> int:
    """Register one request after the other, each to the next thread. Returns how many."""
    start = time.monotonic()
    for number in range(count):
        await asyncio.sleep(start + number / OTHERS - time.monotonic())
        await queue.register(Fair, Asked(number % OTHERS, time.monotonic_ns(), journal))
    return count


@asynccontextmanager
async def _flooding(queue: Queue, threads: range) -> AsyncIterator[None]:
    """Keep these threads from running empty."""
    filling = asyncio.create_task(_flood(queue, threads))
    try:
        yield
    finally:
        filling.cancel()


async def _flood(queue: Queue, threads: range) -> None:
    pipes = {thread: Tube(Fair, Route(thread)).pipe for thread in threads}
    while True:
        for thread, pipe in pipes.items():
            missing = FLOOD - await queue.storage.length(pipe)
            if missing > FLOOD // 4:
                await queue.register(Fair, *([Asked(thread, 0, "")] * missing))
        await asyncio.sleep(FILL_S)


SCENARIOS = (
    Scenario(
        "fairness",
        f"{OTHERS} threads with one request a second each, beside threads that are never empty",
        (
            *DELAYS,
            Figure("max_us", "longest delay", "us", less_is_better=True),
            Figure("flood_per_s", "what is done of the flood meanwhile", "requests/s"),
        ),
        (
            Contestant("two floods", f"{__name__}:beside", {"floods": WORKERS}),
            Contestant("one flood", f"{__name__}:beside", {"floods": 1}),
            Contestant("no flood", f"{__name__}:beside", {"floods": 0}, Kind.FLOOR),
        ),
        "Two workers. With two floods the others are served only because a worker leaves a thread that has more "
        "after `QUEUE_WORKER_QUANTUM` (0.25 s): half of it at the median and one at the most is a matter of the "
        "setting, not of speed. The producer has no core of its own.",
    ),
)
