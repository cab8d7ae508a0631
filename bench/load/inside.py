"""All that the benchmarks look at inside of a storage, where its public figures do not say it or cost too much."""

from __future__ import annotations

from shardq.drivers import RedisStorage, SharedStorage
from shardq.protocols import Movable, Storage
from shardq.shm.memory import record


def shared(storage: Storage) -> SharedStorage:
    """The storage of a family, as what it is."""
    assert isinstance(storage, SharedStorage)
    return storage


def used_bytes(storage: SharedStorage) -> int:
    """Memory of the segment that is in use."""
    return storage.store.segment.used_bytes


def asleep(storage: SharedStorage) -> int:
    """Workers that sleep until a bell rings."""
    return storage.store.waiting.asleep()


async def sleepers(storage: Storage) -> int:
    """Who sleeps until the server rings."""
    from shardq.drivers.redis.overview import overview_of

    assert isinstance(storage, RedisStorage)
    return (await overview_of(storage)).sleepers


def movable(storage: Storage) -> Movable:
    """A storage on a server, as a move sees it."""
    from shardq.drivers.redis.moving import MovableServer

    assert isinstance(storage, RedisStorage)
    return MovableServer(storage)


def deferred(storage: SharedStorage) -> int:
    """Requests that wait for their time."""
    return storage.store.inspection.counts().deferred


def accepted(storage: SharedStorage, pipe: str) -> list[tuple[bytes, int]]:
    """The messages of a tube, and when each came into it, in Unix microseconds."""
    store = storage.store
    with store._section:
        _, tube = store._parts.tubes.directory.tube(pipe)
        return [
            (message, its.accepted_us)
            for its in store._parts.tubes.fifos.chains.records(tube)
            for message in record.cut(store.segment, its, 0, its.count).messages
        ]
