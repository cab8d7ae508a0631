"""What it costs a family that monitoring looks at its storage each second: rates of `register` and of all of it."""

from __future__ import annotations

import time
from statistics import median
from typing import NamedTuple

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.jobs import CALL, JOBS, Nothing, calls_of
from bench.load.watchers import NEEDS, WATCHERS, Watcher
from shardq import Supervisor

WORKERS = 1
#: Of a turn: long enough for some looks.
REQUESTS = 600_000
PAIRS = 4


class Turn(NamedTuple):
    registered_s: float
    all_s: float
    """Until all is handled."""


def watched(size: Size, *, by: str) -> Figures:
    return uvloop.run(_measure(size.count(REQUESTS, CALL), size.count(PAIRS), by))


async def _measure(requests: int, pairs: int, by: str) -> Figures:
    async with Supervisor(JOBS, workers=WORKERS) as family:
        with Watcher(by, family.url) as watcher:
            await _turn(family, max(CALL, requests // 10))
            seen, unseen = list[Turn](), list[Turn]()
            for number in range(2 * pairs):
                # Which goes first changes: what the first leaves is to favour neither.
                looks = number % 4 in (0, 3)
                (watcher.awake.set if looks else watcher.awake.clear)()
                (seen if looks else unseen).append(await _turn(family, requests))
    return {
        "end_to_end_per_s": requests / median(turn.all_s for turn in seen),
        "register_per_s": requests / median(turn.registered_s for turn in seen),
        "rate_share": median(other.all_s / turn.all_s for turn, other in zip(seen, unseen, strict=True)),
        "register_share": median(
            other.registered_s / turn.registered_s for turn, other in zip(seen, unseen, strict=True)
        ),
    }


async def _turn(family: Supervisor, requests: int) -> Turn:
    start = time.perf_counter()
    for call in calls_of(CALL, requests):
        await family.queue.register(Nothing, *call)
    registered = time.perf_counter()
    await family.drain()
    return Turn(registered - start, time.perf_counter() - start)


SCENARIOS = (
    Scenario(
        "watching",
        "while monitoring looks at the storage each second",
        (
            Figure("end_to_end_per_s", f"calls of {CALL}, end to end, watched", "requests/s"),
            Figure("register_per_s", "`register` alone, watched", "requests/s"),
            Figure("rate_share", "the rate end to end, as a share of that without looks", "1"),
            Figure("register_share", "the rate of `register`, as a share of that without looks", "1"),
        ),
        tuple(
            Contestant(f"watched by {name}", f"{__name__}:watched", {"by": name}, needs=NEEDS.get(name))
            for name in WATCHERS
        ),
        "One worker, and a process that looks. It looks in every other turn only, and a share is the median over the "
        "pairs of turns: the machine changes its pace from one second to the next by more than a look costs. How far "
        "the shares of `watched by nothing` are from 1 is what the measurement itself cannot tell.",
    ),
)
