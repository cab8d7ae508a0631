"""Outputs for other partitions: on their way in an outbox, there once and in their order, whichever process dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from shardq import Handler, Queue, Route, Tube
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.moving import MovableServer
from shardq.drivers.redis.servers.layout import Layout
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.hands import leaving
from shardq.drivers.redis.verbs.outputs import sending
from shardq.errors import QueueFull, StorageUnavailable
from shardq.model import Counts, Hand, Terms, When
from shardq.outputs import Output
from shardq.settings import StorageSettings
from tests.faults.kit.pipeline import THREADS, Drop, First, Last, Second
from tests.support.drivers import MIB, Backend, driver_named
from tests.support.leaks import segment_name
from tests.support.programs import Supervise
from tests.support.redis_cluster import running_cluster
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import LIMIT_S, cancelled, finished, suspended
from tests.support.workers import Padded, diary, letters, new_worker, working

HANDLER = "app.jobs/Resize"
TERMS = {HANDLER: Terms((0,), 10)}
TERMS_OF_ONE = {HANDLER: Terms((0,), 1)}
STAGE_THREADS = 12
#: Three threads, each in another partition.
KEY, SECOND, THIRD = (
    next(key for n in range(99) if Layout("", 8).partition_of(key := f"{HANDLER}/{n}") == place) for place in range(3)
)


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    storage = storage_of(f"{running_server().url}?partitions=8", StorageSettings(prefix=f"{segment_name()}_"))
    yield storage
    await removed_when_right(storage)


async def acknowledged_by_one_that_died(storage: RedisStorage, *outputs: Output) -> None:
    """Acknowledge a batch with outputs, and do nothing more: they are on their way."""
    await storage.append([(f"{KEY}/0", [b"x"])])
    token = await storage.claim(KEY)
    batch = await storage.take(KEY, token, Terms((0,), 10))
    its = await sending(storage.server, storage.settings, KEY, outputs, 1)
    told = {"key": KEY, "token": token} | leaving(batch, 1) | its.told
    assert await storage.server.run_on(KEY, "pop with outputs", told, *its.bodies, once=True) == 1
    await storage.unclaim(KEY, token)


async def contents(storage: RedisStorage, key: str) -> list[bytes]:
    return (await storage.range(f"{key}/0", 1000)).messages


async def test_what_is_on_its_way_counts_as_queued(storage: RedisStorage) -> None:
    await acknowledged_by_one_that_died(storage, Output(f"{SECOND}/0", [b"a", b"b"]), Output(f"{THIRD}/0", [b"c"]))

    assert await contents(storage, SECOND) == []
    assert await storage.backlog() == Counts(4, 1)
    assert not await storage.is_quiet()
    waiting = await suspended(storage.wait_for_quiet())
    assert await wrongs(storage.server) == []

    await storage.promote()
    assert (await contents(storage, SECOND), await contents(storage, THIRD)) == ([b"a", b"b"], [b"c"])
    assert await storage.backlog() == Counts(4, 1)
    await storage.remove(f"{SECOND}/0", b"a", b"b")
    assert not waiting.done()
    await storage.remove(f"{THIRD}/0", b"c")
    assert await finished(waiting)


async def test_a_worker_that_looks_brings_on_what_a_dead_one_wrote(storage: RedisStorage) -> None:
    await acknowledged_by_one_that_died(storage, Output(f"{SECOND}/0", [b"a"]))

    hand = await storage.rest(None, None, TERMS, LIMIT_S)

    assert hand
    assert (hand.key, hand.batch.messages) == (SECOND, [b"a"])


OWN_KEY = next(key for n in range(99) if Layout("", 8).partition_of(key := f"{HANDLER}/own {n}") == 0)
OWN_PIPE = f"{OWN_KEY}/0"
UNIQUE = [b"%d" % number for number in range(1200)]


async def with_many_for_its_own_partition(storage: RedisStorage) -> None:
    """More than a short script can look at: they are put away, and then the worker dies."""
    await acknowledged_by_one_that_died(storage, Output(OWN_PIPE, UNIQUE, absent=True))
    assert await contents(storage, OWN_KEY) == []
    assert (await storage.backlog()).queued == len(UNIQUE)
    assert await wrongs(storage.server) == []


async def test_many_outputs_for_the_own_partition_come_whoever_looks(storage: RedisStorage) -> None:
    await with_many_for_its_own_partition(storage)

    hand = await storage.rest(None, None, TERMS, LIMIT_S)

    assert hand
    assert (hand.key, hand.batch.messages) == (OWN_KEY, UNIQUE[:10])


async def test_a_busy_worker_brings_on_what_a_dead_one_put_away(storage: RedisStorage) -> None:
    await with_many_for_its_own_partition(storage)
    await storage.append([(f"{KEY}/0", [b"y", b"z"])])
    token = await storage.claim(KEY)
    hand = Hand(KEY, token, await storage.take(KEY, token, TERMS_OF_ONE[HANDLER]))
    storage.turning.tallying._say_at = 0.0  # a second is over

    assert await storage.turn(hand, frozenset(), TERMS_OF_ONE)

    assert (await storage.range(OWN_PIPE, 9999)).messages == UNIQUE


async def test_outputs_do_not_pass_those_that_are_put_away(storage: RedisStorage) -> None:
    await with_many_for_its_own_partition(storage)

    await acknowledged_by_one_that_died(storage, Output(OWN_PIPE, [b"behind"]))
    assert await contents(storage, OWN_KEY) == []
    await storage.promote()

    assert (await storage.range(OWN_PIPE, 9999)).messages == [*UNIQUE, b"behind"]


async def test_a_move_brings_on_what_is_put_away(storage: RedisStorage) -> None:
    await with_many_for_its_own_partition(storage)
    source = MovableServer(storage)
    await source.leave(1, "redis://elsewhere")

    assert await source.in_hand() == []
    assert len((await storage.range(OWN_PIPE, 9999)).messages) == len(UNIQUE)
    assert await source.stay(1)


async def test_several_that_bring_on_the_same_do_so_once_and_in_order(storage: RedisStorage) -> None:
    for number in range(5):
        await acknowledged_by_one_that_died(storage, Output(f"{SECOND}/0", [b"%d" % number]))
    server, layout = storage.server, await storage.server.layout()
    source, target = layout.partition_of(KEY), layout.partition_of(SECOND)
    _, *reply = await server.run("outgoing", source, {"after": None})
    assert int(reply[0]) == target
    numbers, entries = [int(number) for number in reply[1::2]], reply[2::2]
    told = {"source": source, "most": None}

    assert await server.run("incoming", target, told | {"numbers": numbers[:2]}, *entries[:2]) == [numbers[1], 0, 0]
    assert await server.run("incoming", target, told | {"numbers": numbers}, *entries) == [numbers[4], 0, 0]
    await server.run("arrived", source, {"target": target, "through": numbers[1]})
    await storage.promote()  # one that brings on what is left
    assert await server.run("incoming", target, told | {"numbers": numbers[:1]}, *entries[:1]) == [numbers[4], 0, 0]

    assert await contents(storage, SECOND) == [b"0", b"1", b"2", b"3", b"4"]
    assert await server.run("outgoing", source, {"after": None}) == [[]]


async def test_unique_and_later_outputs_and_those_of_a_turn(storage: RedisStorage) -> None:
    await storage.append([(f"{KEY}/0", [b"x", b"y"]), (f"{SECOND}/0", [b"there"])])
    hand = await storage.turn(None, None, {HANDLER: Terms((0,), 1)})
    while hand and hand.key != KEY:
        await storage.unclaim(hand.key, hand.token, 60)
        hand = await storage.turn(None, None, {HANDLER: Terms((0,), 1)})
    assert hand
    outputs = [
        Output(f"{SECOND}/0", [b"there", b"new", b"new"], absent=True),
        Output(f"{THIRD}/0", [b"later"], When(after_us=10**12)),
        Output(f"{KEY}/0", [b"own"]),
    ]

    assert await storage.turn(hand, None, TERMS, outputs=outputs)

    assert await contents(storage, SECOND) == [b"there", b"new"]
    assert await contents(storage, KEY) == [b"y", b"own"]
    assert (await storage.backlog()).deferred == 1


async def test_what_comes_to_a_full_partition_keeps_its_room_where_it_comes_from(storage: RedisStorage) -> None:
    """So a partition that is full holds up those that register for its sources."""
    storage.settings.capacity_bytes = 8 * 64 * 1024
    await storage.append([(f"{SECOND}/0", [bytes(60_000)])])
    big = Output(f"{SECOND}/0", [bytes(10_000)])
    await acknowledged_by_one_that_died(storage, big, Output(f"{THIRD}/0", [b"c"]))

    await storage.promote()
    assert await contents(storage, THIRD) == [b"c"]
    assert await storage.length(f"{SECOND}/0") == 2
    assert await storage.append([(f"{KEY}/0", [bytes(55_000)])]) is None
    assert await wrongs(storage.server) == []
    waiting = await suspended(storage.append_when_room([(f"{KEY}/0", [bytes(55_000)])]))
    await storage.remove(f"{SECOND}/0", bytes(60_000))
    worker = asyncio.create_task(storage.wait(frozenset({"app.jobs/Other"}), LIMIT_S))

    assert await finished(waiting) == 1  # a worker that looks takes the room back
    await cancelled(worker)


async def test_a_server_without_an_answer_leaves_others_their_way(storage: RedisStorage) -> None:
    away = Output(f"{SECOND}/0", [b"b"])
    await acknowledged_by_one_that_died(storage, away, Output(f"{THIRD}/0", [b"c"]))
    run, cut = storage.server.run, (await storage.server.layout()).partition_of(SECOND)

    async def without(name: str, partition: int, *its: Any, **more: Any) -> Any:
        if name == "incoming" and partition == cut:
            raise StorageUnavailable("no answer")
        return await run(name, partition, *its, **more)

    vars(storage.server)["run"] = without
    await storage.promote()
    assert (await contents(storage, SECOND), await contents(storage, THIRD)) == ([], [b"c"])
    vars(storage.server).pop("run")
    await storage.promote()

    assert await contents(storage, SECOND) == [b"b"]


async def test_a_letter_comes_back_into_another_partition_once(storage: RedisStorage) -> None:
    grave = f"{HANDLER}/dead/0"
    await storage.append([(f"{KEY}/0", [b"x"])])
    token = await storage.claim(KEY)
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))
    assert await storage.bury(hand, hand.batch.sequence, grave, b"letter")
    [number] = (await storage.range(grave, 9)).numbers

    assert await storage.requeue(grave, number, f"{SECOND}/0", b"x")
    assert await storage.requeue(grave, number, f"{SECOND}/0", b"x") is None

    assert await contents(storage, SECOND) == [b"x"]


#: How often a worker is killed, between so many requests.
KILLS, FED = 12, 200


class End(Handler[Padded]):
    """The last of three stages, each in many threads."""

    @classmethod
    def route(cls, *requests: Padded) -> Any:
        return [Route(request.number * 7 % STAGE_THREADS) for request in requests]

    def handle(self, *requests: Padded) -> None:
        diary.add("ends", *(request.number for request in requests))


class Middle(End):
    @classmethod
    def route(cls, *requests: Padded) -> Any:
        return [Route((request.number * 5 + 1) % STAGE_THREADS) for request in requests]

    def handle(self, *requests: Padded) -> None:
        self.emit_sync(End, *requests)


class Beginning(Middle):
    @classmethod
    def route(cls, *requests: Padded) -> Any:
        return [Route(request.number % STAGE_THREADS) for request in requests]

    def handle(self, *requests: Padded) -> None:
        self.emit_sync(Middle, *requests)


@pytest.fixture(params=["redis, partitions", "redis, cluster"])
async def full(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    backend = driver_named(request.param).make(MIB)
    yield backend
    await backend.discard()


async def test_stages_in_partitions_that_are_all_full_come_to_their_end(full: Backend) -> None:
    """None of them waits until another one, that waits for it, has room for what it hands over."""
    queue = Queue(full.storage)
    queue.storage.settings.when_full = "raise"
    for number in range(25 * STAGE_THREADS):
        with suppress(QueueFull):
            await queue.register(Beginning, Padded(number, bytes(40_000)))
    registered = (await queue.storage.backlog()).queued

    async with working(new_worker(full, queue)):
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    ended = [number for numbers in diary.of("ends") for number in numbers]
    assert len(set(ended)) == len(ended) == registered
    assert await letters(queue) == []
    for number in range(STAGE_THREADS):  # no worker is there that would take back room which was lent
        assert await queue.register(Beginning, Padded(number, bytes(40_000))) == 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("place", ["one server", "cluster"])
async def test_each_output_of_a_pipeline_under_kills_is_there_once_and_in_its_order(place: str) -> None:
    cluster = place == "cluster"
    url = f"{running_cluster().url if cluster else running_server().url}?partitions=8&prefix={segment_name()}_"
    stages = (f"{stage.__module__}:{stage.__name__}" for stage in (First, Second))
    storage, fed, came = storage_of(url), [0] * THREADS, [0] * THREADS
    queue = Queue(storage)
    family = Supervise(*stages, "--url", url, "--workers", 3, "--respawn-delay", "0.01", "--log-level", "error")

    async def read() -> None:
        for thread in range(THREADS):
            key = Tube(Last, Route(thread)).key
            token = await storage.claim(key)
            while (batch := await storage.take(key, token, Terms((0,), 4_096))).count:
                numbers = [drop.number for drop in queue.serializer.decode(Drop, batch)]
                assert numbers == list(range(came[thread], came[thread] + len(numbers))), f"thread {thread}"
                came[thread] += batch.count
                await storage.pop(Hand(key, token, batch), batch.count)
            assert await storage.unclaim(key, token)

    try:
        for _ in range(KILLS):
            drops = list[Drop]()
            for thread in random.choices(range(THREADS), k=FED):
                drops.append(Drop(thread, fed[thread]))
                fed[thread] += 1
            await queue.register(First, *drops)
            with suppress(ProcessLookupError):
                os.kill(random.choice(sorted(family.some_workers())), signal.SIGKILL)
            await read()
        deadline = time.monotonic() + 2 * LIMIT_S
        while came != fed:
            assert time.monotonic() < deadline, (came, fed, await storage.backlog(), await wrongs(storage.server))
            await read()
        assert family.stop() == 0
        assert await wrongs(storage.server) == []
    finally:
        family.discard()
        await storage.server.destroy()
        await storage.close()
