"""Threads that get a request now and then, beside threads that are never empty.

99 threads get one request each second, spread over it; two workers of a family serve them, and the floods.
`BENCH_FAIR_S` says for how many seconds, by default 10 and at most 80: all delays have to fit the journal's pipe.
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

from bench.jobs import Asked, Fair
from bench.percentiles import percentiles_us
from shardq import Queue, Route, Supervisor, Tube

OTHERS = 99
WORKERS = 2
WATCHED_S = float(os.environ.get("BENCH_FAIR_S", "10"))
#: A flooded thread is filled up to so many requests, as often as this.
FLOOD = 20_000
FILL_S = 0.02
_DELAY_BYTES = 8


def one_flooded() -> dict[str, float]:
    return uvloop.run(_beside(floods=1))


def all_flooded() -> dict[str, float]:
    """As many floods as workers: the others are served only because a worker leaves a thread that has more."""
    return uvloop.run(_beside(floods=WORKERS))


def quiet() -> dict[str, float]:
    """The floor: the same without any flood."""
    return uvloop.run(_beside(floods=0))


async def _beside(floods: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        os.mkfifo(path, 0o600)
        journal = os.open(path, os.O_RDWR)
        async with Supervisor("bench.jobs", workers=WORKERS) as supervisor:
            async with _flooding(supervisor.queue, range(OTHERS, OTHERS + floods)):
                handled, start = (await supervisor.queue.storage.backlog()).handled, time.monotonic()
                asked = await _ask(supervisor.queue, str(path))
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


async def _ask(queue: Queue, journal: str) -> int:
    """Register one request after the other, each to the next thread. Returns how many."""
    count = int(OTHERS * WATCHED_S)
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
