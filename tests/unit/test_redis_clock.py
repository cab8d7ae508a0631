"""A storage on a server whose clock jumped ahead and was set back. No test sets a clock: the storage is told that it
saw a later time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.owners import Family
from shardq.model import Terms, When
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import LIMIT_S

HANDLER = "app.jobs/Resize"
KEY, PIPE = f"{HANDLER}/7", f"{HANDLER}/7/0"
SERVED, TERMS = frozenset((HANDLER,)), {HANDLER: Terms((0,), 1)}
HOUR_US = 3600 * 10**6
#: Adds an hour to the latest time that a partition saw.
_AHEAD = (
    b"local state = cmsgpack.unpack(redis.call('GET', KEYS[1]))"
    b"state.clock = state.clock + 3600000000 redis.call('SET', KEYS[1], cmsgpack.pack(state))"
)


@pytest.fixture(params=[1, 4])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[RedisStorage]:
    settings = StorageSettings(prefix=f"{segment_name()}_")
    storage = storage_of(f"{running_server().url}?partitions={request.param}", settings)
    yield storage
    await removed_when_right(storage)


async def set_back(storage: RedisStorage) -> None:
    """The clock showed an hour more until now."""
    await storage.append([(PIPE, [b"x"])])
    await storage.remove(PIPE, b"x")
    layout = await storage.server.layout()
    key = layout.key(layout.partition_of(KEY), "STATE")
    await storage.server.ask(b"EVAL", _AHEAD, b"1", key)


async def test_a_lease_ends_in_its_time(storage: RedisStorage) -> None:
    await storage.append([(PIPE, [b"a"])])
    await set_back(storage)
    storage.turning.lease_s = 0.05
    hand = await storage.turn(None, SERVED, TERMS)
    assert hand

    assert await storage.wait(SERVED, LIMIT_S) == KEY
    assert not await storage.unclaim(KEY, hand.token)


async def test_a_lease_of_before_is_shortened_by_the_next_renewal(storage: RedisStorage) -> None:
    storage.turning.presence.join(Family("host", "mark"))
    await storage.append([(PIPE, [b"a"])])
    storage.turning.lease_s = 3600.0
    assert await storage.rest(None, SERVED, TERMS, LIMIT_S)

    [(claims, _)] = await storage.of_owner(storage.turning.owner, lease_s=0.05)

    assert claims == 1
    assert await storage.wait(SERVED, LIMIT_S) == KEY


async def test_what_is_deferred_comes_in_its_time(storage: RedisStorage) -> None:
    await set_back(storage)

    assert await storage.append([(PIPE, [b"later"])], when=When(after_us=HOUR_US // 2)) == 1

    assert await storage.wait(SERVED, 0) is None
    assert await storage.append([(PIPE, [b"soon"])], when=When(after_us=50_000)) == 1
    assert await storage.wait(SERVED, LIMIT_S) == KEY
    assert (await storage.range(PIPE, 9)).messages == [b"soon"]


async def test_numbers_do_not_go_back(storage: RedisStorage) -> None:
    await storage.append([(PIPE, [b"a"])])
    first = await storage.claim(KEY)
    assert await storage.unclaim(KEY, first)
    await set_back(storage)

    second = await storage.claim(KEY)

    assert second > first + HOUR_US - 10**6
    await storage.append([(PIPE, [b"b"])])
    numbers = (await storage.range(PIPE, 9)).numbers
    assert numbers[1] > numbers[0] + HOUR_US - 10**6
    assert await storage.unclaim(KEY, second)
