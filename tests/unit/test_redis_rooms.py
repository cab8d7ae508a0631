"""How many bytes a storage on a server takes, and what comes where there is room again."""

from __future__ import annotations

import pytest

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.rooms import Room
from shardq.errors import MessageTooLarge
from shardq.model import When
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server


def test_without_a_bound_what_comes_again_needs_no_room_beside_itself() -> None:
    room = Room(None)
    largest = [("app.jobs/Resize/7/0", [bytes(room.limits.message_bytes)])]
    room.check_fits(largest, again=True)


def test_with_a_bound_what_comes_again_needs_room_beside_itself() -> None:
    room = Room(1 << 20)
    parts = [("app.jobs/Resize/7/0", [bytes(600 << 10)])]
    room.check_fits(parts)
    with pytest.raises(MessageTooLarge):
        room.check_fits(parts, again=True)


async def test_many_that_found_no_room_come_as_far_as_there_is_some() -> None:
    filler, large, small = (f"app.jobs/Resize/{thread}/0" for thread in range(3))
    settings = StorageSettings(prefix=f"{segment_name()}_", capacity_bytes=1 << 20)
    storage = RedisStorage(Address(path=str(running_server().socket)), settings)
    due_us = await storage.server.now_us() - 1_000_000
    messages = [b"%03d" % number + bytes(1000) for number in range(200)]
    await storage.append([(large, messages)], when=When(due_us, "every 3600"))
    await storage.append([(small, [b"small"])], when=When(due_us + 1, "every 3600"))
    for size in (100_000, 500, 3):
        while await storage.append([(filler, [bytes(size)])]):
            pass
    await storage.promote()
    assert await storage.length(small) == 0

    await storage.remove(filler, bytes(3))
    await storage.promote()
    assert (await storage.length(small), await storage.length(large)) == (1, 0)

    await storage.remove(filler, bytes(100_000))
    assert await storage.promote() == due_us + 3600 * 1_000_000
    assert (await storage.range(large, 300)).messages == messages
    await removed_when_right(storage)
