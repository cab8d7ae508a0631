"""From a URL to a storage."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from shardq.drivers.redis.connections.address import Address, of_url
from shardq.drivers.redis.servers.cluster import Cluster, changed
from shardq.drivers.redis.servers.server import MOST_PARTITIONS
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.leases import lease_of
from shardq.errors import ConfigurationError, shown
from shardq.settings import LockSettings, StorageSettings

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


def storage_of(url: str, settings: StorageSettings | None = None, *, silent_s: float = float("inf")) -> RedisStorage:
    """The same, not connected yet. A server that says nothing is given up after `silent_s` at most. Raises
    `ConfigurationError`.
    """
    address, options, seeds = of_url(url)
    place = changed(Cluster(seeds) if seeds else address, partial(_given_up_after, silent_s))
    settings = (settings or StorageSettings()).model_copy()
    if options.get("prefix"):
        settings.prefix = options["prefix"]
    storage = RedisStorage(
        place,
        settings,
        partitions=_partitions(options.get("partitions")),
        replicas=_replicas(options.get("replicas", "0")),
        fsync=_fsync(options.get("fsync", "false")),
    )
    storage.turning.lease_s = lease_of(LockSettings())
    return storage


def _given_up_after(silent_s: float, address: Address) -> Address:
    return replace(address, connect_s=min(address.connect_s, silent_s), answer_s=min(address.answer_s, silent_s))


def _replicas(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigurationError(f"replicas={shown(text)} cannot be: say how many replicas have to have a request")
    return int(text)


def _fsync(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ConfigurationError(f"fsync={shown(text)} cannot be: give true or false")
    return text.lower() in ("true", "1")


def _partitions(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PARTITIONS:
        raise ConfigurationError(f"partitions={shown(text)} cannot be: give a number from 1 to {MOST_PARTITIONS}")
    return int(text)
