"""Storages with something of everything in them, and what they have, for tests that move them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from random import Random
from typing import Any

from msgspec.msgpack import encode

from shardq.deadletters import DeadLetter
from shardq.encoding.replies import kept_result
from shardq.model import KEPT_PIPE, Batch, Hand, Terms, When, dead_pipe, key_of, priority_of
from shardq.moving.mover import Ends
from shardq.outputs import Output
from shardq.pages import each
from shardq.protocols import Movable, Storage
from tests.support.drivers import ONE_OF_EACH, Backend, Driver, driver_named

_ONE_OF_EACH = [driver for driver in ONE_OF_EACH if "moves" in driver.capabilities]
#: Drivers whose content can move: one of each technology, and those of several partitions.
MOVING = [*_ONE_OF_EACH, driver_named("redis, partitions"), driver_named("redis, cluster")]
#: From where to where.
PAIRS = [
    *product(_ONE_OF_EACH, _ONE_OF_EACH),
    (driver_named("shared"), driver_named("redis, partitions")),
    (driver_named("redis, partitions"), driver_named("redis, cluster")),
    (driver_named("redis, cluster"), driver_named("redis")),
    (driver_named("redis, cluster"), driver_named("shared")),
]
#: Opens a storage of a driver, `opened(driver, capacity_bytes)`.
Open = Callable[..., Backend]
HANDLERS = ("app.jobs/Resize", "app.jobs/Crop", "other.jobs/Name.With.Dots")
PIPES = [f"{handler}/{thread}/{priority}" for handler in HANDLERS for thread in range(4) for priority in (0, 7)]
HOUR_US = 3600 * 1_000_000
SCHEDULES = ("every 3600", "every 86400", "CRON_TZ=Europe/Berlin 0 6 * * MON-FRI")
#: Seconds of a rest that surely outlasts the test.
REST_S = 3600.0


def pair_name(pair: tuple[Driver, Driver]) -> str:
    """That of a source and a target."""
    return f"{pair[0].name} to {pair[1].name}"


def now_us() -> int:
    """Unix microseconds of this host, which all storages of a test go by."""
    return time.time_ns() // 1000


def ends_of(source: Backend, target: Backend) -> Ends:
    assert source.movable
    assert target.movable
    return Ends(source.movable, target.movable, source.url, target.url)


async def fill(storage: Storage, random: Random, steps: int) -> None:
    """Do so many things with the storage. In the end no worker has a thread."""
    for _ in range(steps):
        step = random.choice((_append, _append, _append, _defer, _schedule, _fail, _bury, _keep, _put_in_front))
        await step(storage, random, random.choice(PIPES))


async def dumped(movable: Movable) -> dict[str, Any]:
    """All that moves, so that what two storages have can be compared. Nothing may be in hand."""
    storage, tubes, graves = movable.storage, dict[str, Any](), dict[str, list[bytes]]()
    async for tube in each(movable.tubes):
        state = tube.state
        rests = state.rests_until_us > now_us()
        messages = (await movable.read(tube, 1_000_000)).messages
        tubes[f"{tube.pipe} {tube.place.value}"] = (messages, state.failed, state.at_most, state.isolated, rests)
    waiting = defaultdict[str, list[Any]](list)
    async for its in each(movable.waiting):
        waiting[its.pipe] += [(its.due_us, its.schedule, message) for message in its.messages]
    once = {pipe: [entry for entry in entries if not entry[1]] for pipe, entries in waiting.items()}
    again = {pipe: sorted(entry for entry in entries if entry[1]) for pipe, entries in waiting.items()}
    async for grave in each(storage.graves):
        graves[grave] = (await storage.range(grave, 1_000_000)).messages
    kept = sorted((await storage.range(KEPT_PIPE, 1_000_000)).messages)
    counts = await storage.backlog()
    figures = counts.queued, counts.deferred, counts.recurrent, counts.dead, counts.buried, counts.evicted
    return {"tubes": tubes, "once": once, "again": again, "graves": graves, "kept": kept, "figures": figures}


def letter(pipe: str, message: bytes) -> bytes:
    return DeadLetter(pipe, 0, message, "raised", "boom", 1, 1, 2, "traceback").encoded()


def _messages(random: Random) -> list[bytes]:
    return [random.randbytes(random.choice((3, 20, 200))) for _ in range(random.choice((1, 2, 30)))]


async def _append(storage: Storage, random: Random, pipe: str) -> None:
    await storage.append([(pipe, _messages(random))])


async def _defer(storage: Storage, random: Random, pipe: str) -> None:
    due_us = now_us() // HOUR_US * HOUR_US + random.choice((2, 2, 3)) * HOUR_US
    await storage.append([(pipe, _messages(random))], when=When(due_us))


async def _schedule(storage: Storage, random: Random, pipe: str) -> None:
    await storage.append([(pipe, [random.randbytes(9)])], when=When(now_us() + HOUR_US, random.choice(SCHEDULES)))


async def _taken(storage: Storage, pipe: str, limit: int) -> Hand | None:
    """A hand with messages of the thread of this pipe. None: it has none, and is released."""
    key = key_of(pipe)
    token = await storage.claim(key)
    batch: Batch = await storage.take(key, token, Terms((7, priority_of(pipe), 0), limit))
    if batch.count:
        return Hand(key, token, batch)
    await storage.unclaim(key, token)
    return None


async def _fail(storage: Storage, random: Random, pipe: str) -> None:
    """A message alone fails, or several do."""
    hand = await _taken(storage, pipe, random.choice((1, 1, 5)))
    if hand:
        await storage.fail(hand)
        await storage.unclaim(hand.key, hand.token, random.choice((0.0, REST_S)))


async def _bury(storage: Storage, random: Random, pipe: str) -> None:
    hand = await _taken(storage, pipe, 1)
    if hand:
        grave = dead_pipe(hand.key.rpartition("/")[0])
        [message] = hand.batch.messages
        await storage.bury(hand, hand.batch.sequence, grave, letter(hand.batch.pipe, message))
        await storage.unclaim(hand.key, hand.token)


async def _keep(storage: Storage, random: Random, pipe: str) -> None:
    """A request leaves, and its result is kept."""
    hand = await _taken(storage, pipe, 1)
    if hand:
        result = kept_result(random.randbytes(16), "app.jobs/Resize", 1, encode([random.randbytes(20)]))
        await storage.pop(hand, 1, [Output(KEPT_PIPE, [result])])
        await storage.unclaim(hand.key, hand.token)


async def _put_in_front(storage: Storage, random: Random, pipe: str) -> None:
    grave = dead_pipe(key_of(pipe).rpartition("/")[0])
    letters = await storage.range(grave, 1)
    if letters.count:
        await storage.requeue(grave, letters.sequence, pipe, random.randbytes(20), front=True)
