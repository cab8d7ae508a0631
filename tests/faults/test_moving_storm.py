"""The second half of point 20 of what the Redis drivers must show: a storage moves from shared memory to a server, and
back, and each process that moves it is killed on the way. Nothing is lost, nothing is doubled, the order is kept. The
same between a server with several partitions and a cluster with more of them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import cycle
from random import Random
from typing import Any

import pytest

from shardq.connect import open_storage
from shardq.errors import StorageMoved
from shardq.model import Hand, Terms
from shardq.moving import mover
from shardq.moving.ends import ends
from tests.support.chance import EVERYTHING
from tests.support.drivers import MIB, Backend, driver_named
from tests.support.forked import Forked
from tests.support.moving import dumped, fill
from tests.support.tasks import LIMIT_S

#: How many of those that move are killed.
KILLS = int(os.environ.get("SHARDQ_FAULTS_MOVES", "100" if EVERYTHING else "25"))
#: How much there is to move, and seconds a process lives at most before it is killed, and at first.
STEPS, LONGEST_S, FIRST_S = 400, 2.0, 0.05
HANDLER = "app.jobs/Resize"


@pytest.fixture(params=[("shared", "redis"), ("redis, partitions", "redis, cluster")], ids=" to ".join)
async def backends(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Backend, Backend]]:
    first, second = (driver_named(name).make(8 * MIB if name == "shared" else None) for name in request.param)
    yield first, second
    for backend in (first, second):
        await backend.discard()


@pytest.fixture
def movers() -> Iterator[list[Forked]]:
    """Processes that move; those that still live in the end are killed."""
    started = list[Forked]()
    yield started
    for process in started:
        process.kill()


async def test_20_a_move_is_killed_again_and_again(
    backends: tuple[Backend, Backend], movers: list[Forked], random: Random, tried: Callable[[str, int], None]
) -> None:
    both = cycle((backends, backends[::-1]))
    source, target = next(both)
    await fill(source.storage, random, STEPS)
    before = await _dumped(source)
    killed, moves, longest_s = 0, 0, FIRST_S
    while killed < KILLS or not moves % 2:
        process = Forked(_move, (source.url, target.url))
        movers.append(process)
        assert await process.line_soon() == "begins\n"
        if killed < KILLS:
            await asyncio.sleep(random.uniform(0, longest_s))
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        code = process.wait()
        movers.remove(process)
        if code == -signal.SIGKILL:
            killed, longest_s = killed + 1, min(LONGEST_S, 1.4 * longest_s)  # so that some get on
            continue
        assert code == 0
        moves, longest_s = moves + 1, FIRST_S
        assert await _dumped(target) == before, f"move {moves}, after {killed} were killed"
        source, target = next(both)

    tried("movers killed", killed)
    tried("moves done", moves)


async def test_20_producers_and_workers_are_told_while_it_moves(
    backends: tuple[Backend, Backend], movers: list[Forked], random: Random
) -> None:
    """Both are at work when the move begins. Each goes on in the new storage, and no message is lost or comes twice."""
    source, target = backends
    producers = [Forked(_produce, (source.url, str(number))) for number in range(2)]
    workers = [Forked(_serve, (source.url,)) for _ in range(2)]
    movers += [*producers, *workers]
    for process in (*producers, *workers):
        assert await process.line_soon() == "begins\n"
    await asyncio.sleep(random.uniform(0.05, 0.3))

    killed = 0
    while True:
        process = Forked(_move, (source.url, target.url))
        movers.append(process)
        assert await process.line_soon() == "begins\n"
        if killed < 5:
            await asyncio.sleep(random.uniform(0, 0.1))
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        if process.wait() == 0:
            break
        killed += 1

    done = [await _said(process) for process in (*producers, *workers)]
    for process in (*producers, *workers):
        assert process.wait() == 0
    movers.clear()
    handled = [line.split() for lines in done[len(producers) :] for line in lines]
    for number, lines in enumerate(done[: len(producers)]):
        for thread in _threads(number):
            came = sorted(int(message) for its, message in handled if int(its) == thread)
            left = (await target.storage.range(_pipe(thread), 1_000_000)).messages
            assert came + [int(message) for message in left] == list(range(len(lines)))
    assert not (await source.storage.backlog()).queued


def _pipe(number: int) -> str:
    return f"{HANDLER}/{number}/0"


def _threads(producer: int) -> list[int]:
    """The threads that a producer sends to: in each call one message to each of them."""
    return [10 * producer + place for place in range(4)]


async def _said(process: Forked) -> list[str]:
    """All the lines that it prints until it ends."""
    text = ""
    while more := await process.line_soon():
        text += more
    return text.splitlines()


def _produce() -> None:
    """Print a line for each message that was stored in each of its threads: a number, and one more each time. Go on for
    a while in the storage that this one moves to, first with what of a call was not stored.
    """
    url, number = sys.argv[1:]
    pipes = [_pipe(thread) for thread in _threads(int(number))]

    async def produce() -> None:
        storage, left, sent, to = await open_storage(url), -1, 0, pipes
        print("begins", flush=True)
        while left:
            try:
                assert await storage.append_when_room([(pipe, [b"%d" % sent]) for pipe in to], LIMIT_S)
            except StorageMoved as moved:
                await storage.close()
                storage, left = await open_storage(moved.to), 50
                to = [pipe for pipe in to if pipe not in moved.stored]
                continue
            sent, left, to = sent + 1, left - 1, pipes
        await storage.close()
        print("\n".join(map(str, range(sent))), flush=True)

    asyncio.run(produce())


def _serve() -> None:
    """Print a line for each message that was handled: its thread and its number."""
    [url] = sys.argv[1:]
    terms = {HANDLER: Terms((0,), 3)}

    async def serve() -> None:
        storage, left, handled = await open_storage(url), -1, list[str]()
        hand: Hand | None = None
        print("begins", flush=True)
        while left:
            try:
                former, hand = hand, await storage.turn(hand, None, terms)
                handled += _lines(former)
                if hand is None or not hand.batch.count:
                    hand = await storage.rest(hand, None, terms, LIMIT_S)
            except StorageMoved as moved:
                if hand:
                    await storage.unclaim(hand.key, hand.token)
                await storage.close()
                storage, hand, left = await open_storage(moved.to), None, 10
                continue
            left -= 1
        if hand:
            await storage.unclaim(hand.key, hand.token)
        await storage.close()
        print("\n".join(handled), flush=True)

    asyncio.run(serve())


def _lines(hand: Hand | None) -> list[str]:
    if hand is None:
        return []
    thread = hand.key.rpartition("/")[2]
    return [f"{thread} {message.decode()}" for message in hand.batch.messages]


def _move() -> None:
    source, target = sys.argv[1:]

    async def move() -> None:
        async with ends(source, target) as both:
            print("begins", flush=True)
            await mover.move(both, 30.0)

    asyncio.run(move())


async def _dumped(backend: Backend) -> dict[str, Any]:
    assert backend.movable
    return await dumped(backend.movable)
