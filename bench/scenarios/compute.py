"""Requests that take processor time: how much of what the workers could do gets done."""

from __future__ import annotations

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.family import seconds_for
from bench.load.jobs import CALL, Compute, Work
from shardq import Supervisor


def family(size: Size, *, tasks: int, seconds: float, workers: int) -> Figures:
    return uvloop.run(_family(size.count(tasks, workers), seconds, workers))


async def _family(count: int, seconds: float, workers: int) -> Figures:
    requests = [Work(number, seconds) for number in range(count)]
    calls = [requests[first : first + CALL] for first in range(0, count, CALL)]
    async with Supervisor(Compute, workers=workers) as served:
        await seconds_for(served, Compute, [[Work(number, seconds) for number in range(workers)]])  # to warm up
        return {"of_ideal": count * seconds / workers / await seconds_for(served, Compute, calls)}


def _scenario(name: str, title: str, tasks: int, seconds: float) -> Scenario:
    arguments = {"tasks": tasks, "seconds": seconds, "workers": 2}
    return Scenario(
        name,
        f"{title} of processor time for each request, 2 workers",
        (Figure("of_ideal", "share of what two workers without a queue would do", "1"),),
        (
            Contestant("shardq", f"{__name__}:family", arguments),
            Contestant("multiprocessing.Queue, single", "bench.rivals.process_queue:computing", arguments, Kind.RIVAL),
            Contestant("ProcessPoolExecutor.map", "bench.rivals.executor:computing", arguments, Kind.RIVAL),
            Contestant("multiprocessing.Pool.imap", "bench.rivals.pool:computing", arguments, Kind.RIVAL),
            Contestant("joblib", "bench.rivals.joblib:computing", arguments, Kind.RIVAL, needs="joblib"),
        ),
        "shardq is sent calls of 128 over 16 threads and hands out batches of 16; the queue is given each task by "
        "itself; executor, pool and joblib have chunks of one task where it takes 2 ms, and of 16 else. With two "
        "workers on two cores the producer has no core of its own, so 1 cannot be reached.",
    )


SCENARIOS = (
    _scenario("compute-2ms", "2 ms", 800, 2e-3),
    _scenario("compute-50us", "50 us", 16_000, 50e-6),
)
