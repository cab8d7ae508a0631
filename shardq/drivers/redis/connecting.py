"""From a URL to a storage."""

from __future__ import annotations

from shardq.drivers.redis.address import of_url
from shardq.drivers.redis.cluster import Cluster
from shardq.drivers.redis.server import MOST_PARTITIONS
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import ConfigurationError, shown
from shardq.settings import StorageSettings

#: Seconds for which a new storage tries to reach its server.
_PATIENCE_S = 5.0


async def connected(url: str, settings: StorageSettings | None = None) -> RedisStorage:
    """The storage that a URL names, on a server that answers. Raises `ConfigurationError`, `StorageUnavailable` and
    `StorageRefused`.
    """
    storage = storage_of(url, settings)
    try:
        await storage.server.layout(_PATIENCE_S)
    except BaseException:
        await storage.close()
        raise
    return storage


def storage_of(url: str, settings: StorageSettings | None = None) -> RedisStorage:
    """The same, not connected yet. Raises `ConfigurationError`."""
    address, options, seeds = of_url(url)
    settings = (settings or StorageSettings()).model_copy()
    if options.get("prefix"):
        settings.prefix = options["prefix"]
    return RedisStorage(
        Cluster(seeds) if seeds else address, settings, partitions=_partitions(options.get("partitions"))
    )


def _partitions(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PARTITIONS:
        raise ConfigurationError(f"partitions={shown(text)} cannot be: give a number from 1 to {MOST_PARTITIONS}")
    return int(text)
