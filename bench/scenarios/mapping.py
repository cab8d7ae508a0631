"""Requests whose results are wanted: `Queue.map` beside what people use for that, and the round trip of one `call`."""

from __future__ import annotations

import time
from typing import Any

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.jobs import CALL, CAPACITY_BYTES, JOBS, Answer, Task, tasks
from bench.load.mapped import mapped
from bench.load.percentiles import DELAYS, percentiles_us
from shardq import Supervisor

_CALLS = 2_000


def family(size: Size, *, total: int, seconds: float, workers: int, **options: Any) -> Figures:
    return uvloop.run(_family(size.count(total, CALL), seconds, workers, options))


async def _family(count: int, seconds: float, workers: int, options: dict[str, Any]) -> Figures:
    async with Supervisor(JOBS, workers=workers, capacity_bytes=CAPACITY_BYTES) as served:
        await _exhaust(served, 2 * CALL, 0.0, options)  # to warm up
        start = time.perf_counter()
        await _exhaust(served, count, seconds, options)
        return mapped(count, seconds, workers, time.perf_counter() - start)


async def _exhaust(served: Supervisor, count: int, seconds: float, options: dict[str, Any]) -> None:
    async with served.queue.map(Answer, tasks(count, seconds), **options) as results:
        async for _ in results:
            pass


def calls(size: Size, *, total: int) -> Figures:
    return uvloop.run(_calls(size.count(total)))


async def _calls(count: int) -> Figures:
    async with Supervisor(JOBS, workers=1, capacity_bytes=CAPACITY_BYTES) as served:
        delays_ns = []
        await served.queue.call(Answer, Task(0, "task", 0.0))  # to warm up
        for number in range(count):
            start = time.monotonic_ns()
            await served.queue.call(Answer, Task(number % CALL, "task", 0.0))
            delays_ns.append(time.monotonic_ns() - start)
        return percentiles_us(delays_ns)


def _scenario(name: str, title: str, total: int, seconds: float, figure: Figure) -> Scenario:
    arguments = {"total": total, "seconds": seconds, "workers": 2}
    return Scenario(
        name,
        f"{title}, chunks of {CALL}, 2 workers, results in the order of the requests",
        (figure,),
        (
            Contestant("shardq", f"{__name__}:family", arguments),
            Contestant("shardq, as they come", f"{__name__}:family", {**arguments, "ordered": False}),
            Contestant("ProcessPoolExecutor.map", "bench.rivals.executor:mapping", arguments, Kind.RIVAL),
            Contestant("multiprocessing.Pool.imap", "bench.rivals.pool:mapping", arguments, Kind.RIVAL),
            Contestant("joblib", "bench.rivals.joblib:mapping", arguments, Kind.RIVAL, needs="joblib"),
        ),
        "shardq holds a window of requests and results, and reads its input as results are consumed. The others read "
        "all of it at once, and keep what is not consumed. They pickle, and lose all where a worker dies.",
    )


_RESULTS = Figure("results_per_s", "until all results are consumed", "results/s")
_SHARE = Figure("of_ideal", "share of what two workers without a queue would do", "1")

SCENARIOS = (
    _scenario("map", "requests that take no time", 250_000, 0.0, _RESULTS),
    _scenario("map-50us", "50 us of processor time for each request", 64_000, 50e-6, _SHARE),
    _scenario("map-2ms", "2 ms of processor time for each request", 4_096, 2e-3, _SHARE),
    Scenario(
        "call",
        "one request at a time, and its result, one worker",
        DELAYS,
        (
            Contestant("shardq", f"{__name__}:calls", {"total": _CALLS}),
            Contestant("two-way pipe", "bench.rivals.two_way:calls", {"total": _CALLS}, Kind.FLOOR),
        ),
        "The pipe carries a byte between two event loops and back: two wake-ups of a process, and nothing else.",
    ),
)
