"""Refuses a server that would throw away what it confirmed, and one that cannot confirm what is wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.servers.cluster import Cluster
from shardq.errors import ConfigurationError, StorageRefused

#: Gives the answer to a plain command.
Ask = Callable[..., Awaitable[Any]]


async def check_suitable(address: Address | Cluster, ask: Ask) -> None:
    """Raises `ConfigurationError`. What the server does not say is not refused."""
    try:
        said = await ask(b"INFO", b"memory")
    except (StorageRefused, ConfigurationError):  # this user may not ask for it, or no user may
        said = b""
    _check_eviction(said.decode(errors="replace") if isinstance(said, bytes) else str(said))
    if address.fsync:
        await ask(b"WAITAOF", b"1", b"0", b"1")


def _check_eviction(said: str) -> None:
    """`volatile-` policies are no danger: none of the keys expires."""
    policy = next((line.partition(":")[2] for line in said.splitlines() if line.startswith("maxmemory_policy:")), "")
    if policy.startswith("allkeys-"):
        raise ConfigurationError(
            f"the server may evict requests (maxmemory-policy {policy}): set noeviction, or use a server of its own"
        )
