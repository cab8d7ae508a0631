"""Storages of each technology by their URLs, for tests that have families serve them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.storage import RedisStorage
from tests.support.redis_cluster import running_cluster
from tests.support.redis_server import removed_when_right, running_server
from tests.support.segments import remove_files

#: By name, how many partitions there are. None: it is a segment.
PLACES = {"shared": None, "redis": 1, "redis, partitions": 8, "redis, cluster": 8}


@contextmanager
def placed(place: str, name: str) -> Iterator[str]:
    """The URL of a storage of this name in such a place. In the end nothing is left of it."""
    partitions = PLACES[place]
    if partitions is None:
        try:
            yield f"shm://{name}"
        finally:
            remove_files(name)
        return
    server = running_cluster() if place == "redis, cluster" else running_server()
    asyncio.run(_made(storage_of(f"{server.url}?prefix={name}_&partitions={partitions}")))
    url = f"{server.url}?prefix={name}_"
    try:
        yield url
    finally:
        asyncio.run(removed_when_right(storage_of(url)))


async def _made(storage: RedisStorage) -> None:
    await storage.server.layout()
    await storage.close()
