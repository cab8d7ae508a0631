"""Over a server: the rate by the length of the backlog, and `if_not_exists` by how many requests are queued. Point 7 of
what storages on a server must show.
"""

from __future__ import annotations

import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.counted import CountedWorker
from bench.load.jobs import CALL
from bench.load.server import CPU, Server, server
from bench.scenarios.absent import FIGURES, rates
from bench.scenarios.backlog import TURN, laid_up, through
from shardq import connect, drivers

_TOTAL = 60_000
_CALLS = 60
_QUEUED = (1_000_000, 1_000)
_ABSENT_QUEUED = 100_000


def backlog(size: Size, *, queued: int) -> Figures:
    with server() as its:
        return uvloop.run(_backlog(its, size.count(queued, 100), size.count(_TOTAL, TURN)))


def among(size: Size, *, queued: int, if_not_exists: bool) -> Figures:
    with server() as its:
        return uvloop.run(_among(its, size.count(queued, CALL * 2), size.count(_CALLS), if_not_exists))


async def _backlog(its: Server, queued: int, total: int) -> Figures:
    async with await connect(its.url) as queue:
        worker = CountedWorker(drivers.RedisLock(queue.storage), queue)
        await laid_up(queue, queued)
        await through(queue, worker, TURN)  # to warm up
        with its.measured(total) as spent:
            start = time.perf_counter()
            await through(queue, worker, total)
            seconds = time.perf_counter() - start
        return {"requests_per_s": total / seconds, **spent}


async def _among(its: Server, queued: int, calls: int, if_not_exists: bool) -> Figures:
    async with await connect(its.url) as queue:
        return await rates(queue, drivers.RedisLock(queue.storage), queued, calls, if_not_exists)


def _among_so_many(name: str, queued: int, kind: Kind = Kind.SHARDQ, *, if_not_exists: bool = True) -> Contestant:
    arguments = {"queued": queued, "if_not_exists": if_not_exists}
    return Contestant(name, f"{__name__}:among", arguments, kind)


SCENARIOS = (
    Scenario(
        "redis-backlog",
        f"calls of {CALL} over 16 threads beside a standing backlog on a server",
        (Figure("requests_per_s", "registered and handled in turn, in one process", "requests/s"), *CPU),
        tuple(
            Contestant(f"{queued:,} queued", f"{__name__}:backlog", {"queued": queued})
            for queued in (1_000_000, 10_000, 1_000)
        ),
        "The ratios in the last rows are the flatness: 1 is flat. A thousand requests are 64 for each thread: batches "
        "are half as large there.",
    ),
    Scenario(
        "redis-absent",
        f"if_not_exists beside {_ABSENT_QUEUED:,} queued requests on a server, calls of {CALL}",
        FIGURES,
        (
            _among_so_many("shardq", _ABSENT_QUEUED),
            Contestant(
                "sharded-queue",
                "bench.rivals.ancestor_redis:absent",
                {"backlog": _ABSENT_QUEUED},
                Kind.RIVAL,
                needs="sharded_queue",
            ),
            _among_so_many("without if_not_exists", _ABSENT_QUEUED, Kind.FLOOR, if_not_exists=False),
        ),
        "The backlog stays as long as it is: what is new takes the place of the oldest, outside of the clock. "
        "`sharded-queue` looks at its whole backlog for each request, and sends 5 calls only.",
    ),
    Scenario(
        "redis-absent-growth",
        "if_not_exists by the number of requests that are queued on a server",
        FIGURES,
        tuple(_among_so_many(f"{queued:,} queued", queued) for queued in _QUEUED),
        "The ratio in the last row is the flatness: 1 is flat. That a tube keeps count of equal messages begins with "
        "the first call with `if_not_exists`, which is before the clock starts.",
    ),
)
