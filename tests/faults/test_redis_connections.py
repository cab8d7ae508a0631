"""What the way to a server may do to calls: points 10 to 13 and 18 of what storages on a server must show.

A run takes a sample; `SHARDQ_FAULTS=all` takes the number that each test names.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from shardq.drivers.redis.storage import RedisStorage
from shardq.model import Hand
from tests.faults.kit.servers import (
    KEYS,
    PIPES,
    SERVED,
    TERMS,
    handed_out,
    started,
    storage_at,
    through_a_proxy,
)
from tests.support.redis_proxy import Proxy, proxied
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import LIMIT_S, eventually

Tried = Callable[[str, int], None]


# 10: wake-ups


STORAGES = 25
#: Seconds in which one sleeper looks although no bell rings.
NET_S = 1.0


class Family:
    """Workers that sleep, all of one storage."""

    def __init__(self, storage: RedisStorage, proxy: Proxy, number: int) -> None:
        self._storage, self._proxy = storage, proxy
        self._resting = {self._rest() for _ in range(number)}

    async def woken(self, *, cut: bool) -> float:
        """Seconds until one of them starts on a message whose wake-up was lost. In the time of a safety net each looks
        once at most.
        """
        asleep = (await self._storage.server.layout()).key(0, "SLEEPS")

        async def all_sleep() -> bool:
            return bool(await self._storage.server.ask(b"HLEN", asleep) == len(self._resting))

        await eventually(all_sleep, "all sleep")
        if cut:
            self._proxy.cut_subscribers()
        else:
            self._proxy.drop_wake_ups = 1
        sent, scripts = time.monotonic(), self._proxy.scripts
        assert await self._storage.append([(PIPES[0], [b"x"])]) == 1
        [done], self._resting = await asyncio.wait(self._resting, return_when=asyncio.FIRST_COMPLETED)
        took_s, hand = time.monotonic() - sent, done.result()
        # Beside the call: they say once in ten seconds that they are there.
        looks = (1 + int(took_s / NET_S)) * (len(self._resting) + 1)
        assert self._proxy.scripts - scripts <= 1 + looks + 1
        assert hand is not None
        assert hand.batch.messages == [b"x"]
        self._proxy.drop_wake_ups = 0
        await self._storage.pop(hand, 1)
        await self._storage.unclaim(hand.key, hand.token)
        self._resting.add(self._rest())
        return took_s

    async def leave(self) -> None:
        for task in self._resting:
            task.cancel()
        await asyncio.wait(self._resting)

    def _rest(self) -> asyncio.Task[Hand | None]:
        return asyncio.create_task(self._storage.rest(None, SERVED, TERMS))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("how", ["dropped", "cut"])
@pytest.mark.timeout(900)
async def test_10_a_message_starts_though_its_wake_up_is_lost_1000_times(
    how: str, workers: int, tmp_path: Path, everything: bool, tried: Tried
) -> None:
    times = 1000 // STORAGES if everything else 1

    async def one(number: int) -> list[float]:
        folder = tmp_path / f"{number}"
        folder.mkdir()
        async with through_a_proxy(folder) as (storage, proxy):
            family = Family(storage, proxy, workers)
            took = [await family.woken(cut=how == "cut") for _ in range(times)]
            await family.leave()
            return took

    took = sorted(itertools.chain(*await asyncio.gather(*(one(number) for number in range(STORAGES)))))
    its = f"whose wake-up was {how}, {workers} asleep"
    tried(f"messages {its}", len(took))
    tried(f"ms until one started {its}, at p50", round(took[len(took) // 2] * 1000))
    tried(f"ms until one started {its}, at most", round(took[-1] * 1000))


# 11: answers


@pytest.mark.timeout(900)
async def test_11_of_10000_registers_whose_answers_are_cut_none_is_lost_or_doubled(
    tmp_path: Path, random: Random, everything: bool, tried: Tried
) -> None:
    calls = 10_000 if everything else 150
    async with through_a_proxy(tmp_path) as (storage, proxy):
        given: dict[str, list[bytes]] = {key: [] for key in KEYS}
        number = itertools.count()
        cut = 0

        async def produce(key: str) -> None:
            nonlocal cut
            for n in number:
                if n >= calls:
                    return
                if random.random() < 0.5:
                    proxy.drop_answers, cut = 1, cut + 1
                messages = [b"%d:%d" % (n, place) for place in range(random.randint(1, 3))]
                assert await storage.append([(f"{key}/0", messages)]) == len(messages)
                given[key] += messages

        await asyncio.gather(*map(produce, KEYS))
        proxy.drop_answers = 0
        assert await handed_out(storage) == given
        tried("registers whose answer was cut", cut)


# 12: cancellations


@pytest.mark.timeout(900)
async def test_12_after_10000_cancellations_no_answer_is_another_ones(
    tmp_path: Path, random: Random, everything: bool, tried: Tried
) -> None:
    times = 10_000 if everything else 400
    async with through_a_proxy(tmp_path) as (storage, proxy):
        for length, pipe in enumerate(PIPES, 1):
            await storage.append([(pipe, [b"x"] * length)])
        proxy.delays_s, proxy.random = (0.0, 0.004), random
        cancelled = 0

        async def ask(place: int) -> None:
            assert await storage.length(PIPES[place]) == place + 1

        async def sleep() -> None:
            await storage.wait(frozenset(("another",)))

        while cancelled < times:
            asking = [asyncio.create_task(ask(random.randrange(len(PIPES)))) for _ in range(8)]
            resting = [asyncio.create_task(sleep()) for _ in range(4)]
            await asyncio.sleep(random.uniform(0, 0.01))
            for task in (*resting, *random.sample(asking, 4)):
                cancelled += task.cancel()
            done = await asyncio.gather(*asking, *resting, return_exceptions=True)
            assert not [answer for answer in done if isinstance(answer, Exception)]
        # One for calls, one for wake-ups, and those whose making was cancelled, until their end is heard.
        assert proxy.most_at_once <= 4
        tried("cancellations", cancelled)


# 13: scripts that are forgotten


async def test_13_scripts_that_are_flushed_under_load_are_told_again(everything: bool, tried: Tried) -> None:
    storage = storage_at(running_server().socket)
    ends = time.monotonic() + (30 if everything else 2)
    flushes = 0

    async def flush() -> None:
        nonlocal flushes
        while time.monotonic() < ends:
            await storage.server.ask(b"SCRIPT", b"FLUSH")
            flushes += 1
            await asyncio.sleep(0.1)

    async def produce(pipe: str) -> int:
        count = 0
        while time.monotonic() < ends:
            count += await storage.append([(pipe, [b"%d" % count])]) or 0
        return count

    async def work() -> int:
        hand, count = None, 0
        while time.monotonic() < ends:
            hand = await storage.turn(hand, SERVED, TERMS)
            count += hand.batch.count if hand else 0
        if hand:
            await storage.unclaim(hand.key, hand.token)
            count -= hand.batch.count
        return count

    flushing = asyncio.create_task(flush())
    *made, done = await asyncio.gather(*map(produce, PIPES), work())
    await flushing
    assert (await storage.backlog()).accepted == sum(made)
    assert sum(map(len, (await handed_out(storage)).values())) + done == sum(made)
    await removed_when_right(storage)
    tried("flushes of scripts", flushes)
    tried("calls under them", sum(made))


# 18: many clients after a restart

CLIENTS = 100


@pytest.mark.timeout(300)
async def test_18_after_a_restart_100_clients_come_back_over_some_time(tmp_path: Path, tried: Tried) -> None:
    async with started() as server, proxied(tmp_path, server.socket) as proxy:
        storages = [storage_at(proxy.socket) for _ in range(CLIENTS)]
        resting = [asyncio.create_task(storage.rest(None, SERVED, TERMS)) for storage in storages]
        await eventually(lambda: proxy.connections >= 2 * CLIENTS, "all clients are connected")
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1)  # so that their pauses have grown
        await asyncio.to_thread(server.start)
        up, before = time.monotonic(), proxy.connections

        registering = [
            asyncio.create_task(storage.append([(PIPES[0], [b"%d" % number])]))
            for number, storage in enumerate(storages)
        ]
        await asyncio.sleep(up + 1 - time.monotonic())
        in_first_second = proxy.connections - before
        assert await asyncio.wait_for(asyncio.gather(*registering), LIMIT_S) == [1] * CLIENTS
        hands = await asyncio.wait_for(asyncio.gather(*resting), LIMIT_S)
        took_s = time.monotonic() - up
        assert [hand and hand.batch.messages for hand in hands] == [[b"%d" % number] for number in range(CLIENTS)]
        assert in_first_second <= 2 * CLIENTS
        for storage in storages:
            await storage.close()
        tried("connections of 100 clients in the first second after a restart", in_first_second)
        tried("ms until all of them served", round(took_s * 1000))
