"""Calls that are made again: each is done once, and what the server remembers of them stays small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.calls import Calls
from shardq.drivers.redis.connections.links import Link
from shardq.drivers.redis.connections.scripts import Words
from shardq.drivers.redis.connections.wire import Wire, packed
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import StorageDamaged
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import eventually, finished

KEY, PIPE = "app.jobs/Resize/7", "app.jobs/Resize/7/0"
BODY = b"\1\0\0\0\1\0\0\0\1\0"
#: Of all that a server remembers of the calls of one connection, where a call beside is open and many are over.
MOST_BYTES = 500


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    address = Address(path=str(running_server().socket))
    storage = RedisStorage(address, StorageSettings(prefix=f"{segment_name()}_"))
    await storage.server.layout()
    yield storage
    await removed_when_right(storage)


async def remembered(storage: RedisStorage) -> dict[bytes, bytes]:
    said = await storage.server.ask(b"HGETALL", (await storage.server.layout()).key(0, "CALLS"))
    return said if isinstance(said, dict) else dict(zip(said[::2], said[1::2], strict=True))


async def made(storage: RedisStorage, call: dict[str, Any], message: bytes) -> Any:
    """An append by a call that says so of itself."""
    return await storage.server.run_on(KEY, "append", {"pipes": [PIPE], "most": None} | call, BODY + message)


async def test_a_call_that_stays_open_lets_the_server_forget_those_that_are_over(storage: RedisStorage) -> None:
    calls = (await storage.server.here()).link.calls
    with calls.one(0) as slow:
        assert await made(storage, slow.told, b"a") == 1
        for _ in range(300):
            await storage.append([(PIPE, [b"x"])])
        known = await remembered(storage)
        assert sum(len(field) + len(said) for field, said in known.items()) <= MOST_BYTES

        assert await made(storage, slow.told, b"a") == 1
    assert await storage.length(PIPE) == 301


async def test_the_server_forgets_a_call_that_is_over_before_one_that_is_open(storage: RedisStorage) -> None:
    calls = Calls()
    with calls.one(0) as slow:
        with calls.one(0) as given_up:
            pass
        with calls.one(0) as later:
            assert await made(storage, later.told, b"b") == 1

        with pytest.raises(StorageDamaged, match="LATE"):
            await made(storage, given_up.told, b"x")
        assert await made(storage, slow.told, b"a") == 1
        assert await made(storage, slow.told, b"a") == 1
    assert (await storage.range(PIPE, 9)).messages == [b"b", b"a"]


async def test_many_calls_at_once_are_remembered_a_few_together(storage: RedisStorage) -> None:
    number = 1000
    assert sum(await asyncio.gather(*(storage.append([(PIPE, [b"x"])]) for _ in range(number)))) == number  # type: ignore[arg-type]
    known = await remembered(storage)
    assert len(known) > number / 10
    assert max(map(len, known.values())) <= 100

    await storage.append([(PIPE, [b"x"])])
    assert len(await remembered(storage)) <= 3


async def test_of_many_calls_that_are_open_each_is_done_once(storage: RedisStorage) -> None:
    """More than what a call tells of each by itself; those that came last are told of together."""
    calls = Calls()
    opened = [calls.one(0) for _ in range(300)]
    for call in opened[1::2]:
        call.end()
    still_open = opened[::2]
    for call in still_open:
        assert await made(storage, call.told, b"x") == 1
    with calls.one(0) as later:
        assert len(later.told["open"]) <= 64
        assert await made(storage, later.told, b"x") == 1
    for call in still_open:
        assert await made(storage, call.told, b"x") == 1
        call.end()
    assert await storage.length(PIPE) == len(still_open) + 1


async def test_what_is_open_is_remembered_while_other_connections_come_and_go(storage: RedisStorage) -> None:
    calls = Calls()
    with calls.one(0) as open_call:
        assert await made(storage, open_call.told, b"a") == 1
        for _ in range(2):
            await asyncio.gather(*(_other(storage) for _ in range(1024)))
            with calls.one(0) as call:
                assert await made(storage, call.told, b"b") == 1
        before = await storage.length(PIPE)
        assert await made(storage, open_call.told, b"a") == 1
        assert await storage.length(PIPE) == before


async def _other(storage: RedisStorage) -> None:
    with Calls().one(0) as call:
        await storage.server.run_on(KEY, "claim", {"key": KEY, "lease_us": 1, "owner": "o"} | call.told)


class HalfLost(Link):
    """Its server of slot 1 is lost until `found`."""

    found: asyncio.Event

    def _ready(self, slot: int) -> Wire | None:
        return None if slot and not self.found.is_set() else super()._ready(slot)

    async def _connected(self, slot: int) -> Wire:
        if slot:
            await self.found.wait()
        return await super()._connected(slot)


async def test_of_several_calls_each_is_over_once_it_is_answered(storage: RedisStorage) -> None:
    link, answered = HalfLost(storage.server.address), list[int]()
    link.found = asyncio.Event()
    await link.ask(b"PING")
    commands = [Words(packed(b"PING"), 1), Words(packed(b"PING"), 0)]

    running = asyncio.create_task(link.run_each(commands, answered=answered.append))
    await eventually(lambda: answered, "one is answered")
    assert answered == [1]
    link.found.set()

    assert await finished(running) == [b"PONG", b"PONG"]
    assert answered == [1, 0]
    link.close()
