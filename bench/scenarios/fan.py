"""More producers than cores, and more workers than cores."""

from __future__ import annotations

import secrets
import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.jobs import CALL, CAPACITY_BYTES, Nothing
from bench.load.producers import Producers
from shardq import Supervisor

_TOTAL = 100_000


def family(size: Size, *, producers: int, consumers: int, call: int, total: int) -> Figures:
    each = size.count(total // producers, call)
    url = f"shm://bench-{secrets.token_hex(6)}"
    # They are forked before the supervisor is started: a process without threads may fork.
    with Producers(producers, url, call, each) as children:
        seconds = uvloop.run(_seconds(url, consumers, children))
    return {"end_to_end_per_s": each * producers / seconds}


async def _seconds(url: str, workers: int, children: Producers) -> float:
    async with Supervisor(Nothing, workers=workers, url=url, capacity_bytes=CAPACITY_BYTES) as served:
        children.connect()
        start = time.perf_counter()
        children.produce()
        await served.drain()
        return time.perf_counter() - start


def _scenario(name: str, producers: int, consumers: int) -> Scenario:
    arguments = {"producers": producers, "consumers": consumers, "call": CALL, "total": _TOTAL}
    return Scenario(
        name,
        f"{producers} producers, {consumers} workers, calls of {CALL}",
        (Figure("end_to_end_per_s", "end to end", "requests/s"),),
        (
            Contestant("shardq", f"{__name__}:family", arguments),
            Contestant("multiprocessing.Queue, lists", "bench.rivals.process_queue:fan", arguments, Kind.RIVAL),
        ),
        "All processes are there before the clock starts, and the end of the producers is in the figure.",
    )


SCENARIOS = (_scenario("fan-in", 20, 3), _scenario("fan-out", 3, 20))
