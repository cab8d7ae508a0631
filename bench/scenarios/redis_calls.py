"""Calls end to end over a server: one producer, and one or more workers, over 16 threads. Point 6 of what storages on a
server must show.
"""

from __future__ import annotations

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.family import seconds_for
from bench.load.jobs import CALL, TOTALS, Nothing, calls_of
from bench.load.server import CPU, Server, server
from shardq import Supervisor

_WORKERS = (1, 2, 4)
_CALLS = (1, CALL, 10_000)
#: Functions of `bench.rivals.bare_lists`, and what is an element.
_LISTS = (
    ("routed", "bare lists, one a thread, an element a request"),
    ("singles", "bare list, an element a request"),
    ("blobs", "bare list, an element a call"),
)

_CAVEATS = """
The server, Redis or Valkey, is started for each contestant, on loopback and without persistence; it, the producer and
each worker are processes of their own on one machine, and share its cores: a second worker takes from a core that the
server or the producer uses. What the server takes of a processor for a request, times the rate, is its share of a core.
shardq keeps the order of each of 16 threads, and loses nothing when a process is killed. So does `sharded-queue`, whose
worker has here settings that let it look for work every millisecond, and which is sent a quarter of the requests. The
bare lists lose what a killed consumer had in hand: as 16 lists, one for each thread, or as one list in place of 16
threads, which needs no route, with an element a request, taken 128 at a time, or an element a call."""


def family(size: Size, *, workers: int, call: int, sync: bool = False) -> Figures:
    with server() as its:
        return uvloop.run(_family(its, size.count(TOTALS[call], call), workers, call, sync))


async def _family(its: Server, total: int, workers: int, call: int, sync: bool) -> Figures:
    async with Supervisor(Nothing, workers=workers, url=its.url) as served:
        await seconds_for(served, Nothing, calls_of(call, total // 10), sync=sync)  # to warm up
        with its.measured(total) as spent:
            seconds = await seconds_for(served, Nothing, calls_of(call, total), sync=sync)
        return {"end_to_end_per_s": total / seconds, **spent}


def _scenario(call: int) -> Scenario:
    own = [
        Contestant(
            f"shardq, {workers} worker{'s' * (workers > 1)}",
            f"{__name__}:family",
            {"workers": workers, "call": call},
        )
        for workers in _WORKERS
    ]
    if call == 1:
        arguments = {"workers": 1, "call": call, "sync": True}
        own.append(Contestant("shardq, register_sync, 1 worker", f"{__name__}:family", arguments))
    rival = Contestant(
        "sharded-queue, 1 worker",
        "bench.rivals.ancestor_redis:calls",
        {"call": call},
        Kind.RIVAL,
        None,
        "sharded_queue",
    )
    floors = [Contestant(what, f"bench.rivals.bare_lists:{name}", {"call": call}, Kind.FLOOR) for name, what in _LISTS]
    title = "single requests" if call == 1 else f"calls of {call:,} requests over 16 threads"
    return Scenario(
        f"redis-calls-{call}",
        f"{title}, end to end over a server",
        (Figure("end_to_end_per_s", "end to end", "requests/s"), *CPU),
        (*own, rival, *floors),
        _CAVEATS,
    )


SCENARIOS = tuple(map(_scenario, _CALLS))
