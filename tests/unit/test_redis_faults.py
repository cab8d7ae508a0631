"""What a storage on a server does when its connection breaks, or the server forgets, or is full."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.lock import RedisLock
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.tallies import handlers_of
from shardq.drivers.redis.verbs.hands import decoded, leaving
from shardq.drivers.redis.verbs.outputs import sending
from shardq.errors import FencedError
from shardq.model import Counts, Hand, Terms, When, dead_pipe
from shardq.outputs import Output
from shardq.settings import LockSettings, StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_proxy import Proxy, proxied
from tests.support.redis_server import Server, program, removed_when_right, running_server
from tests.support.tasks import LIMIT_S, busy, finished, suspended

KEY, PIPE = "app.jobs/Resize/7", "app.jobs/Resize/7/0"
OTHER_KEY, OTHER = "app.jobs/Resize/8", "app.jobs/Resize/8/0"
TERMS = {"app.jobs/Resize": Terms((0,), 10)}


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    async with proxied(tmp_path, running_server().socket) as proxy:
        yield proxy


@pytest.fixture
async def storage(proxy: Proxy) -> AsyncIterator[RedisStorage]:
    """Reaches the server through the proxy."""
    storage = RedisStorage(Address(path=str(proxy.socket)), StorageSettings(prefix=f"{segment_name()}_"))
    busy.append(lambda: storage.server.busy)
    yield storage
    busy.clear()
    await removed_when_right(storage)


async def contents(storage: RedisStorage, pipe: str = PIPE) -> list[bytes]:
    return (await storage.range(pipe, 1000)).messages


async def test_a_call_whose_answer_was_lost_is_stored_once(storage: RedisStorage, proxy: Proxy) -> None:
    expected = []
    for number in range(20):
        proxy.drop_answers = number % 3 != 0
        assert await storage.append([(PIPE, [b"%d" % number])]) == 1
        expected.append(b"%d" % number)

    assert await contents(storage) == expected
    assert proxy.connections > 10


async def test_several_calls_at_once_whose_answers_were_lost_are_stored_once(
    storage: RedisStorage, proxy: Proxy
) -> None:
    await storage.append([(PIPE, [b"first"])])
    for _ in range(5):
        calls = [storage.append([(PIPE, [b"x"])], absent=number == 3) for number in range(40)]
        sending = asyncio.gather(*calls)
        await asyncio.sleep(0)
        proxy.drop_answers = 1
        assert sum(await sending) == 39

    assert len(await contents(storage)) == 1 + 5 * 39


async def test_the_claim_of_a_turn_whose_answer_was_lost_is_not(storage: RedisStorage, proxy: Proxy) -> None:
    await storage.append([(PIPE, [b"a"]), (OTHER, [b"b"])])
    proxy.drop_answers = 1
    first = await storage.turn(None, None, TERMS)
    assert first is not None
    proxy.drop_answers = 1
    second = await storage.turn(first, None, TERMS)

    assert second is not None
    assert {first.key, second.key} == {KEY, OTHER_KEY}
    assert {*first.batch.messages, *second.batch.messages} == {b"a", b"b"}
    await storage.pop(second, 1)
    assert await storage.backlog() == Counts(2, 2)


async def test_what_is_counted_with_a_turn_whose_answer_was_lost_counts_once(
    storage: RedisStorage, proxy: Proxy
) -> None:
    await storage.append([(PIPE, [b"a", b"b"])])
    one = {"app.jobs/Resize": Terms((0,), 1)}
    hand = await storage.turn(None, None, one)
    storage.turning.tallying._say_at = 0.0  # it is time to say it
    proxy.drop_answers = 1
    hand = await storage.turn(hand, None, one)

    assert hand
    assert hand.batch.messages == [b"b"]
    assert [view.done for view in await handlers_of(storage.server)] == [1]
    await storage.unclaim(KEY, hand.token)


async def test_of_verbs_whose_answer_was_lost_the_first_answer_counts(storage: RedisStorage, proxy: Proxy) -> None:
    grave = dead_pipe("app.jobs/Resize")
    await storage.append([(PIPE, [b"a", b"x"])])

    proxy.drop_answers = 1
    token = await storage.claim(KEY)
    assert token
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))
    proxy.drop_answers = 1
    assert (await storage.fail(hand)).attempts == 1
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))
    proxy.drop_answers = 1
    assert await storage.bury(hand, hand.batch.sequence, grave, b"letter")
    [number] = (await storage.range(grave, 9)).numbers
    proxy.drop_answers = 1
    assert await storage.requeue(grave, number, PIPE, b"a") is True
    proxy.drop_answers = 1
    removing = {"key": KEY, "name": "0"}
    assert (await storage.server.run_on(KEY, "remove", removing, b"x", once=True))[0] == 1
    assert await contents(storage) == [b"a"]
    proxy.drop_answers = 1
    assert await storage.unclaim(KEY, token)
    assert not await storage.unclaim(KEY, token)


async def test_outputs_whose_answer_was_lost_are_stored_once(storage: RedisStorage, proxy: Proxy) -> None:
    await storage.append([(PIPE, [b"%d" % number for number in range(4)])])
    one = {"app.jobs/Resize": Terms((0,), 1)}
    hand = await storage.turn(None, None, one)
    for number in range(4):
        assert hand
        output = Output(OTHER, [b"%d" % number], When(1) if number == 3 else None)
        proxy.drop_answers = 1
        if number % 2:
            assert await storage.pop(hand, 1, [output])
            hand = Hand(KEY, hand.token, await storage.take(KEY, hand.token, one["app.jobs/Resize"]))
        else:
            hand = await storage.turn(hand, None, one, outputs=[output])

    assert await contents(storage, OTHER) == [b"0", b"1", b"2", b"3"]
    assert await storage.backlog() == Counts(8, 4)


async def test_outputs_that_came_are_not_refused_when_the_claim_has_ended_since(storage: RedisStorage) -> None:
    await storage.append([(PIPE, [b"a", b"b"])])
    token = await storage.claim(KEY)
    batch = await storage.take(KEY, token, Terms((0,), 1))
    its = await sending(storage.server, storage.settings, KEY, [Output(OTHER, [b"sent"])], 1)
    call = {"producer": "a connection that broke", "call": 1, "open": [1, 1]}
    arguments = {"key": KEY, "token": token} | leaving(batch, 1) | its.told | call

    assert await storage.server.run_on(KEY, "pop with outputs", arguments, *its.bodies) == 1
    assert await storage.unclaim(KEY, token)
    assert await storage.server.run_on(KEY, "pop with outputs", arguments, *its.bodies) == 1

    assert await contents(storage, OTHER) == [b"sent"]


async def test_a_long_tube_is_counted_in_several_calls_before_outputs_come(storage: RedisStorage) -> None:
    for start in range(0, 10_000, 2_000):
        await storage.append([(OTHER, [b"%d" % number for number in range(start, start + 2_000)])])
    await storage.append([(PIPE, [b"a", b"b"])])
    token = await storage.claim(KEY)
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))

    assert await storage.pop(hand, 1, [Output(OTHER, [b"9999", b"new"], absent=True)])
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))
    there = [Output(OTHER, [b"new"], absent=True), Output(OTHER_KEY + "/1", [b"plain"])]
    assert await storage.turn(
        hand, None, TERMS, outputs=[*there, Output(OTHER_KEY + "/1", [b"plain", b"x"], absent=True)]
    )

    assert await storage.length(OTHER) == 10_001
    assert await contents(storage, OTHER_KEY + "/1") == [b"plain", b"x"]


async def test_a_server_that_forgot_the_scripts_is_told_them_again(storage: RedisStorage) -> None:
    for number in range(5):
        await storage.server.ask(b"SCRIPT", b"FLUSH")
        assert await storage.append([(PIPE, [b"%d" % number])]) == 1
    assert len(await contents(storage)) == 5


async def test_cancelled_calls_leave_others_their_answers(storage: RedisStorage, proxy: Proxy) -> None:
    await storage.append([(PIPE, [b"here"]), (OTHER, [b"there", b"there"])])
    before = proxy.connections
    for rounds in range(60):
        asking = [asyncio.create_task(storage.length(PIPE if number % 2 else OTHER)) for number in range(6)]
        for _ in range(rounds % 4):
            await asyncio.sleep(0)
        for task in asking[::3]:
            task.cancel()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        for number, answer in enumerate(answers):
            assert answer == (1 if number % 2 else 2) or isinstance(answer, asyncio.CancelledError)

    assert proxy.connections == before


async def test_a_cancelled_claim_is_released(storage: RedisStorage) -> None:
    await storage.append([(PIPE, [b"a"])])
    for verb in (storage.claim(KEY), storage.turn(None, None, TERMS)):
        task = asyncio.create_task(verb)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert await storage.wait(None, 30) == KEY
        assert not await storage.claimed(KEY)


async def test_a_claim_whose_answer_came_just_before_the_cancellation_is_released(storage: RedisStorage) -> None:
    assert await storage.turn(None, None, TERMS) is None  # from now on the server has the script
    await storage.append([(PIPE, [b"a"])])
    wire = (await storage.server.here()).link._ready(0)
    assert wire
    task = asyncio.create_task(storage.turn(None, None, TERMS))
    receive = wire.data_received

    def received(data: bytes) -> None:
        receive(data)
        if not wire.busy:
            task.cancel()

    wire.data_received = received  # type: ignore[method-assign]
    await asyncio.wait({task})
    wire.data_received = receive  # type: ignore[method-assign]

    assert task.cancelled()
    assert await storage.wait(None, 30) == KEY
    assert not await storage.claimed(KEY)


async def test_sleepers_are_woken_after_their_subscription_broke(storage: RedisStorage, proxy: Proxy) -> None:
    for number in range(10):
        waiting = await suspended(storage.wait(None))
        proxy.cut()
        await storage.append([(PIPE, [b"%d" % number])])
        assert await finished(waiting) == KEY
        assert await storage.remove(PIPE, b"%d" % number) == 1


async def test_sleepers_take_turns_to_look_for_what_no_wake_up_told_them(storage: RedisStorage) -> None:
    async def looks_in_s(number: int) -> float:
        name = f"{storage.server.prefix}bell:none#{number}"
        served = random.sample(["app.jobs/Crop", "app.jobs/Resize", "app.jobs/Turn"], 3)
        asked = {"served": served, "sleeper": name, "woken": name, "net_us": 1_000_000}
        return float(decoded(await storage.server.run("look", 0, asked))["looks_in_us"]) / 1e6

    begun = time.monotonic()
    for _ in range(2):  # at first they do not know of each other
        spans = [await looks_in_s(number) for number in range(5)]
    took_s = time.monotonic() - begun
    spans.sort()
    assert 0 < spans[0] <= 1 + took_s
    assert all(abs(later - before - 1) <= took_s for before, later in itertools.pairwise(spans))


async def test_a_worker_that_serves_nothing_sleeps(storage: RedisStorage) -> None:
    assert await storage.wait(frozenset(), 0.01) is None


async def test_a_sleeper_that_is_cancelled_passes_its_wake_up_on(storage: RedisStorage) -> None:
    for number in range(20):
        first = await suspended(storage.wait(None))
        second = await suspended(storage.wait(None))
        appending = asyncio.create_task(storage.append([(PIPE, [b"%d" % number])]))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        if first.cancelled():
            assert await finished(second) == KEY
        else:
            second.cancel()  # it may have looked by itself meanwhile, and found the message
            await asyncio.wait({second})
        await appending
        assert await storage.remove(PIPE, b"%d" % number) == 1


async def test_a_lease_that_ran_out_while_the_holder_was_away_fences_it(storage: RedisStorage) -> None:
    lock = RedisLock(storage)
    await storage.append([(PIPE, [b"a"])])
    token = await lock.acquire(KEY)
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))
    assert await lock.ttl(KEY, 0.05)
    assert await storage.wait(None, 30) == KEY

    for late in (storage.pop(hand, 1), storage.fail(hand), storage.bury(hand, hand.batch.sequence, "g", b"l")):
        with pytest.raises(FencedError):
            await late
    assert await contents(storage) == [b"a"]


# A server of its own


@pytest.fixture
async def small() -> AsyncIterator[tuple[Server, RedisStorage]]:
    server = Server(program(), "--maxmemory-policy", "noeviction")
    server.start()
    storage = RedisStorage(Address(path=str(server.socket)), StorageSettings(prefix="small_"))
    busy.append(lambda: storage.server.busy)
    yield server, storage
    busy.clear()
    await storage.close()
    server.end()


async def limit(storage: RedisStorage, *, more: int = 1 << 20) -> None:
    """Let the server have so many bytes more than now."""
    said = await storage.server.ask(b"INFO", b"memory")
    used = next(int(line[12:]) for line in said.decode().splitlines() if line.startswith("used_memory:"))
    await storage.server.ask(b"CONFIG", b"SET", b"maxmemory", b"%d" % (used + more))


async def test_a_full_server_takes_nothing_and_lets_all_of_it_go(small: Any) -> None:
    _, storage = small
    chunk, grave = bytes(16 * 1024), dead_pipe("app.jobs/Resize")
    await storage.append([(PIPE, [b"first"])])
    await limit(storage)
    taken = 0
    while await storage.append([(PIPE, [chunk])]):
        taken += 1
    assert 0 < taken < 1000
    await limit(storage, more=-(256 << 10))  # also once the server has given back what it read with
    before = await storage.backlog()
    assert await storage.append([(OTHER, [chunk])]) is None
    assert await storage.backlog() == before
    waiting = await suspended(storage.append_when_room([(OTHER, [chunk])]))

    hand = await storage.turn(None, None, {"app.jobs/Resize": Terms((0,), 1)})
    assert hand is not None
    assert (await storage.fail(hand)).attempts == 1
    hand = Hand(KEY, hand.token, await storage.take(KEY, hand.token, Terms((0,), 1)))
    assert await storage.bury(hand, hand.batch.sequence, grave, b"letter")
    batch = await storage.take(KEY, hand.token, Terms((0,), 1000))
    await storage.pop(Hand(KEY, hand.token, batch), batch.count)
    assert await finished(waiting) == 1
    assert await storage.length(PIPE) == 0
    assert await wrongs(storage.server) == []


async def test_a_full_server_takes_no_outputs_and_says_so(small: Any) -> None:
    _, storage = small
    await storage.append([(PIPE, [b"a", b"b"])])
    await storage.append([(OTHER, [b"there"])])
    hand = await storage.turn(None, frozenset(TERMS), {"app.jobs/Resize": Terms((0,), 1)})
    assert hand
    outputs = [Output(OTHER, [b"sent"]), Output(OTHER, [b"later"], When(after_us=10**9))]
    await limit(storage, more=-1)
    before = await storage.backlog()

    assert not await storage.pop(hand, 1, outputs)
    assert await storage.turn(hand, None, TERMS, outputs=outputs) is hand
    assert await storage.backlog() == before
    assert await storage.pop(hand, 1)
    assert await storage.pop(hand, 1, outputs)  # what left before has none
    await limit(storage)
    hand = Hand(hand.key, hand.token, await storage.take(hand.key, hand.token, Terms((0,), 1)))
    assert await storage.pop(hand, 1, outputs)

    assert await storage.backlog() == Counts(4, 2, deferred=1)
    assert await wrongs(storage.server) == []


async def test_a_server_that_comes_back_is_found_again(small: Any) -> None:
    server, storage = small
    waiting = await suspended(storage.wait(None))
    server.kill()
    appending = asyncio.create_task(storage.append([(PIPE, [b"after"])]))
    await asyncio.sleep(0)
    server.start()

    assert await finished(appending) == 1
    assert await finished(waiting) == KEY


async def test_a_worker_that_does_not_reach_its_server_is_told_that_its_lease_is_over(
    storage: RedisStorage, proxy: Proxy
) -> None:
    """Its supervisor renews its claims, and may have done so: it asks as long as the lease lives."""
    lock = RedisLock(storage, LockSettings(timeout=0.4))
    lock.renewed_for_it = True
    assert await lock.acquire(KEY)
    lost = lock.lost(KEY)
    proxy.is_silent = True

    async with asyncio.timeout(LIMIT_S):
        await lost
    proxy.is_silent = False
    proxy.cut()
    await lock.release(KEY)
