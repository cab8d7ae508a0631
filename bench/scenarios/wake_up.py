"""From one request to the first line of its handler, where the worker sleeps; and the same at half of saturation."""

from __future__ import annotations

import asyncio
import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.family import seconds_for
from bench.load.jobs import CALL, CAPACITY_BYTES, NewThread, Ping, SameThread, Spread, stamped
from bench.load.pace import paced
from bench.load.percentiles import DELAYS, percentiles_us, warm_percentiles_us
from bench.load.segment import segment
from bench.load.until import until
from bench.load.worker import serving
from shardq import Queue, Supervisor, connect

_PINGS = 60
_CALLS = 1_000


def bound_thread(size: Size, *, pings: int, pause_s: float) -> Figures:
    """The worker still holds the thread that the request is for."""
    return uvloop.run(_wake_ups(SameThread, size.count(pings), pause_s))


def new_thread(size: Size, *, pings: int, pause_s: float) -> Figures:
    """The worker has to bind to the thread that the request is for."""
    return uvloop.run(_wake_ups(NewThread, size.count(pings), pause_s))


def half_load(size: Size, *, call: int, calls: int) -> Figures:
    return uvloop.run(_half_load(size.count(calls), call))


async def _wake_ups(handler: type[SameThread], pings: int, pause_s: float) -> Figures:
    with segment(CAPACITY_BYTES) as storage:
        return await woken(f"shm://{storage.name}", handler, pings, pause_s)


async def woken(url: str, handler: type[SameThread], pings: int, pause_s: float) -> Figures:
    """One request after each pause, to the one worker of a storage."""
    async with serving(url, pings) as worker, await connect(url) as queue:
        for number in range(pings):
            await asyncio.sleep(pause_s)  # the pause is the scenario: the worker falls asleep in it
            await queue.register(handler, Ping(number, time.monotonic_ns()))
        return warm_percentiles_us((await worker.result())["delays_ns"])


async def _half_load(count: int, call: int) -> Figures:
    made = [stamped(number, call, sent_ns=0) for number in range(count)]
    warming_up = made[: count // 10 or 1]
    async with Supervisor(Spread, workers=1, capacity_bytes=CAPACITY_BYTES) as family:
        await seconds_for(family, Spread, warming_up)
        per_s = count / await seconds_for(family, Spread, made) / 2
    with segment(CAPACITY_BYTES) as storage:
        async with serving(f"shm://{storage.name}", (len(warming_up) + count) * call) as worker:
            register = Queue(storage).register_sync
            for requests in warming_up:
                register(Spread, *requests)
            await until(lambda: storage.overview().queued == 0)
            paced(lambda number: register(Spread, *stamped(number, call, time.monotonic_ns())), count, per_s)
            delays_ns = (await worker.result())["delays_ns"]
    return {**percentiles_us(delays_ns), "offered_per_s": per_s * call}


def _scenario(name: str, a_second: int) -> Scenario:
    arguments = {"pings": _PINGS * a_second // 50, "pause_s": 1 / a_second}
    return Scenario(
        name,
        f"one request, {a_second} times a second, to an idle worker",
        DELAYS,
        (
            Contestant("shardq, bound thread", f"{__name__}:bound_thread", arguments),
            Contestant("shardq, new thread", f"{__name__}:new_thread", arguments),
            Contestant("multiprocessing.Queue", "bench.rivals.process_queue:wake_ups", arguments, Kind.RIVAL),
            Contestant("named FIFO", "bench.rivals.fifo:wake_ups", arguments, Kind.FLOOR),
        ),
        "From before `register` (or `put`) to the first line of the handler, in one clock that all processes read. "
        "With a new thread the worker has to let go, bind and create a handler first. The FIFO is what waking an "
        "event loop costs by itself. Most of a wake-up is the machine's: while everything sleeps, caches go cold and "
        "cores go idle.",
    )


SCENARIOS = (
    _scenario("wake-up", 50),
    _scenario("wake-up-20", 20),
    Scenario(
        "half-load",
        f"calls of {CALL} at half of saturation, one worker",
        (*DELAYS, Figure("offered_per_s", "half of what the contestant could do just before", "requests/s")),
        (
            Contestant("shardq", f"{__name__}:half_load", {"call": CALL, "calls": _CALLS}),
            Contestant(
                "multiprocessing.Queue, lists",
                "bench.rivals.process_queue:half_load",
                {"call": CALL, "calls": _CALLS},
                Kind.RIVAL,
            ),
        ),
        "The producer sends at its own rate and waits for nothing. Each contestant has half of its own saturation: "
        "the one that is faster has more to do.",
    ),
)
