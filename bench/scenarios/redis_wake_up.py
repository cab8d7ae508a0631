"""From one request to the first line of its handler over a server, where the worker sleeps. Of point 9 of what storages
on a server must show.
"""

from __future__ import annotations

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Kind, Scenario
from bench.harness.size import Size
from bench.load.jobs import NewThread, SameThread
from bench.load.percentiles import DELAYS
from bench.load.server import server
from bench.scenarios.wake_up import woken

_A_SECOND = 50
_PINGS = 100


def bound_thread(size: Size, *, pings: int, pause_s: float) -> Figures:
    """The worker still holds the thread that the request is for."""
    return _woken(SameThread, size.count(pings), pause_s)


def new_thread(size: Size, *, pings: int, pause_s: float) -> Figures:
    """The worker has to bind to the thread that the request is for."""
    return _woken(NewThread, size.count(pings), pause_s)


def _woken(handler: type[SameThread], pings: int, pause_s: float) -> Figures:
    with server() as its:
        return uvloop.run(woken(its.url, handler, pings, pause_s))


_ARGUMENTS = {"pings": _PINGS, "pause_s": 1 / _A_SECOND}
_RIVALS = "bench.rivals"

SCENARIOS = (
    Scenario(
        "redis-wake-up",
        f"one request, {_A_SECOND} times a second, to an idle worker over a server",
        DELAYS,
        (
            Contestant("shardq, new thread", f"{__name__}:new_thread", _ARGUMENTS),
            Contestant("shardq, bound thread", f"{__name__}:bound_thread", _ARGUMENTS),
            Contestant(
                "sharded-queue", f"{_RIVALS}.ancestor_redis:wake_ups", _ARGUMENTS, Kind.RIVAL, needs="sharded_queue"
            ),
            Contestant("bare BLPOP", f"{_RIVALS}.bare_lists:wake_ups", _ARGUMENTS, Kind.FLOOR),
        ),
        "From before `register` (or RPUSH) to the first line of the handler, in one clock that all processes read. The "
        "worker of shardq is told by a message on its channel that there is something, and takes it then: two rounds "
        "where BLPOP has one. A worker of `sharded-queue` looks every 100 ms at a tube that it holds.",
    ),
)
