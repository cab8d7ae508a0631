"""How long the server is busy with one script, where there is much of everything: point 4 of what storages on a server
must show.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.counted import CountedWorker
from bench.load.inside import movable
from bench.load.jobs import CALL, PER_CALL, NewThread, One, Ping, calls_of
from bench.load.server import Server, server
from shardq import Queue, connect, drivers
from shardq.model import Chunk, Hand, Place, Terms, dead_pipe, handler_name
from shardq.settings import StorageSettings, WorkerSettings

#: Scripts that take less are not looked at one by one.
_NOTED_US = 250
_TURNS = 200_000
#: Requests of a call, each of which is for a thread of its own.
_AT_ONCE = 500
#: Letters of a step of a move, and of a page.
_BROUGHT, _PAGE = 32, 64
_LETTER = bytes(100)
_MOVE = 1


def tube(size: Size, *, messages: int) -> Figures:
    """All in one tube; some come and go."""
    return _of_scripts(_tube, size.count(messages, PER_CALL), size.count(_TURNS, CALL))


def threads(size: Size, *, count: int) -> Figures:
    """One message in each; some are handled, and come again."""
    return _of_scripts(_threads, size.count(count, 10), size.count(_TURNS // 100, 10))


def grave(size: Size, *, letters: int) -> Figures:
    """Half of the letters are dropped by their numbers, the others to make room for one, since fewer may be there."""
    return _of_scripts(_grave, size.count(letters, _PAGE * 2), 0)


def _of_scripts(work: Callable[[Server, int, int], AsyncIterator[None]], full: int, turns: int) -> Figures:
    with server() as its:
        its.come_first()
        its.client.config_set("slowlog-log-slower-than", _NOTED_US)
        its.client.config_set("slowlog-max-len", 1_000_000)
        return uvloop.run(_figures(its, work(its, full, turns)))


async def _figures(its: Server, steps: AsyncIterator[None]) -> Figures:
    await anext(steps)
    filled, before = _last_noted(its), its.calls("evalsha", "eval")
    await anext(steps, None)
    thousandth = (its.calls("evalsha", "eval") - before) // 1000
    noted = _noted_us(its)
    times_us = sorted((took for number, took in noted if number > filled), reverse=True)
    return {
        "p999_ms": (times_us[thousandth] if thousandth < len(times_us) else _NOTED_US) / 1000,
        "longest_ms": max([_NOTED_US, *(took for _, took in noted)]) / 1000,
    }


def _last_noted(its: Server) -> int:
    """The number of the last entry in the log. The log is read once, in the end: a server that wrote out and dropped
    tens of thousands of entries before takes its time for that in the next script (33 ms were seen).
    """
    last: Any = its.client.slowlog_get(1)
    return max((entry["id"] for entry in last), default=-1)


def _noted_us(its: Server) -> list[tuple[int, int]]:
    """The number of each script that took long enough to be noted, and how long it took."""
    slow: Any = its.client.slowlog_get(1_000_000)
    return [(entry["id"], entry["duration"]) for entry in slow if entry["command"].startswith(b"EVAL")]


async def _tube(its: Server, messages: int, turns: int) -> AsyncIterator[None]:
    async with await connect(its.url) as queue:
        worker = CountedWorker(drivers.RedisLock(queue.storage), queue)
        for requests in calls_of(PER_CALL, messages):
            await queue.register(One, *requests)
        yield
        for requests in calls_of(CALL, turns):
            await queue.register(One, *requests)
            await worker.loop(CALL)


async def _threads(its: Server, count: int, turns: int) -> AsyncIterator[None]:
    async with await connect(its.url) as queue:
        worker = CountedWorker(drivers.RedisLock(queue.storage), queue, WorkerSettings(empty_limit=0))
        for first in range(0, count, _AT_ONCE):
            await _register(queue, first, min(_AT_ONCE, count - first))
        yield
        for first in range(0, turns, 10):
            await worker.loop(10)
            await _register(queue, count + first, 10)


async def _register(queue: Queue, first: int, count: int) -> None:
    await queue.register(NewThread, *(Ping(number, 0) for number in range(first, first + count)))


async def _grave(its: Server, letters: int, _: int) -> AsyncIterator[None]:
    name = handler_name(One)
    key, pipe, buried = f"{name}/0", f"{name}/0/0", dead_pipe(name)
    async with await connect(its.url) as queue:
        storage: Any = queue.storage
        moved = movable(storage)
        await moved.arrive(_MOVE, "")
        for first in range(0, letters, _BROUGHT):
            await moved.store(_MOVE, Chunk(first, Place.GRAVE, pipe, [_LETTER] * _BROUGHT, buried))
        await moved.open(_MOVE)
        yield
        for _first in range(0, letters // 2, _PAGE):
            some = await storage.range(buried, _PAGE)
            await storage.drop(buried, *some.sequences)
    async with await connect(its.url, StorageSettings(dead_letters=1)) as queue:
        fewer: Any = queue.storage
        await fewer.append([(pipe, [_LETTER])])
        token = await fewer.claim(key, lease_s=3600)
        hand = Hand(key, token, await fewer.take(key, token, Terms((0,), 1)))
        await fewer.bury(hand, hand.batch.sequence, buried, _LETTER)


SCENARIOS = (
    Scenario(
        "redis-scripts",
        "how long a script keeps a server busy",
        (
            Figure("p999_ms", "99.9th percentile, once all is there", "ms", less_is_better=True),
            Figure("longest_ms", "the longest, filling included", "ms", less_is_better=True),
        ),
        (
            Contestant("a million messages in a tube", f"{__name__}:tube", {"messages": 1_000_000}),
            Contestant("50,000 threads", f"{__name__}:threads", {"count": 50_000}),
            Contestant("a million dead letters, dropped", f"{__name__}:grave", {"letters": 1_000_000}),
        ),
        f"By the server's own log of what took {_NOTED_US} us or more, which is what is shown where nothing did. It "
        "counts the time of day, so the server has real-time priority where the user may give it that: elsewhere other "
        "work on the machine makes it more. Filled is in calls of "
        f"{PER_CALL:,} for the tube, of {_AT_ONCE} for the threads, and of {_BROUGHT} letters as by a move.",
    ),
)
