"""How long a claim on a server lives that no process renews."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.lock import RedisLock
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.hands import decoded
from shardq.settings import LockSettings, StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server

KEY = "app.jobs/Resize/7"


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    storage = storage_of(running_server().url, StorageSettings(prefix=f"{segment_name()}_"))
    yield storage
    await removed_when_right(storage)


async def lease_us(storage: RedisStorage) -> int:
    """From the last script, which made or renewed the claim, to the end of its lease."""
    layout = await storage.server.layout()
    state = decoded(await storage.server.ask(b"GET", layout.key(0, "STATE")))
    thread = decoded(await storage.server.ask(b"HGET", layout.key(0, "THREADS"), KEY.encode()))
    return round(thread["lease_end"] - state["clock"])


@pytest.mark.parametrize(("environment", "given", "lease_s"), [("", {}, 30), ("", {"timeout": 5}, 5), ("7", {}, 7)])
async def test_it_lives_for_the_timeout_where_one_is_set_else_for_30_s(
    storage: RedisStorage, environment: str, given: dict[str, float], lease_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment:
        monkeypatch.setenv("QUEUE_LOCK_TIMEOUT", environment)
    lock = RedisLock(storage, LockSettings(**given))  # type: ignore[arg-type]

    assert await lock.acquire(KEY)
    assert await lease_us(storage) == lease_s * 1_000_000
    assert await lock.renew(KEY)
    assert await lease_us(storage) == lease_s * 1_000_000
    assert await lock.release(KEY)
