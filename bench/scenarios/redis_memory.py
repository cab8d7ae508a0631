"""What queued messages, and threads that were drained, cost a server in memory, by its own count. Point 8 of what
storages on a server must show.
"""

from __future__ import annotations

import time

import msgspec
import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.counted import CountedWorker
from bench.load.jobs import CALL, NewThread, Nothing, One, Ping, numbered
from bench.load.server import Server, server
from shardq import connect, drivers
from shardq.settings import WorkerSettings

_MESSAGES = 100_000
_SINGLES = 20_000
_THREADS = 10_000
#: Requests of one call where each has a thread of its own.
_AT_ONCE = 1_000
_HANDLERS = {1: One, 16: Nothing}


def messages(size: Size, *, call: int, threads: int) -> Figures:
    with server() as its:
        return uvloop.run(_messages(its, size.count(_MESSAGES if call > 1 else _SINGLES, call), call, threads))


def drained(size: Size) -> Figures:
    with server() as its:
        return uvloop.run(_drained(its, size.count(_THREADS, 10)))


async def _messages(its: Server, total: int, call: int, threads: int) -> Figures:
    made, encode = numbered(0, total), msgspec.msgpack.Encoder().encode
    async with await connect(its.url) as queue:
        await queue.storage.backlog()  # connects
        before = its.used_bytes()
        for first in range(0, total, call):
            await queue.register(_HANDLERS[threads], *made[first : first + call])
        each_bytes = (its.used_bytes() - before) / total
    payload_bytes = sum(len(encode(request)) for request in made) / total
    return {"bytes_per_message": each_bytes, "beyond_bytes": each_bytes - payload_bytes}


async def _drained(its: Server, threads: int) -> Figures:
    """One request in each of so many threads, all handled."""
    async with await connect(its.url) as queue:
        worker = CountedWorker(drivers.RedisLock(queue.storage), queue, WorkerSettings(empty_limit=0))
        await queue.register(NewThread, Ping(0, 0))
        await worker.loop(1)  # to warm up
        before = its.used_bytes()
        start = time.perf_counter()
        for first in range(0, threads, _AT_ONCE):
            await queue.register(
                NewThread, *(Ping(number, 0) for number in range(first, min(threads, first + _AT_ONCE)))
            )
        full = its.used_bytes()
        await worker.loop(threads)
        seconds = time.perf_counter() - start
        return {
            "requests_per_s": threads / seconds,
            # Less than before, where few threads weigh less than a buffer that the server gave up meanwhile.
            "live_bytes": max(0.0, (full - before) / threads),
            "drained_bytes": max(0.0, (its.used_bytes() - before) / threads),
        }


SCENARIOS = (
    Scenario(
        "redis-messages",
        "memory of queued messages on a server",
        (
            Figure("bytes_per_message", "bytes of the server for each message", "bytes", less_is_better=True),
            Figure("beyond_bytes", "what of these is not the message itself", "bytes", less_is_better=True),
        ),
        (
            *(
                Contestant(name, f"{__name__}:messages", {"call": call, "threads": threads})
                for name, call, threads in (
                    (f"calls of {CALL}, 1 thread", CALL, 1),
                    (f"calls of {CALL}, 16 threads", CALL, 16),
                    ("calls of 1, 1 thread", 1, 1),
                )
            ),
            Contestant(
                f"sharded-queue, calls of {CALL}, 1 tube",
                "bench.rivals.ancestor_redis:held",
                {"call": CALL, "total": _MESSAGES},
                Kind.RIVAL,
                needs="sharded_queue",
            ),
            Contestant(
                "bare list, an element a request",
                "bench.rivals.bare_lists:held",
                {"call": CALL, "total": _MESSAGES},
                Kind.FLOOR,
            ),
        ),
        "The first ratio compares all bytes: `sharded-queue` stores requests as JSON, which is longer.",
    ),
    Scenario(
        "redis-threads",
        f"{_THREADS:,} requests on a server, each in a thread of its own",
        (
            Figure("requests_per_s", "registered and handled, in one process", "requests/s"),
            Figure("live_bytes", "of a thread with one message", "bytes", less_is_better=True),
            Figure("drained_bytes", "of a thread that was drained", "bytes", less_is_better=True),
        ),
        (Contestant("shardq", f"{__name__}:drained"),),
        "A drained thread leaves nothing behind: what is counted are the connections and the free room of the tables.",
    ),
)
