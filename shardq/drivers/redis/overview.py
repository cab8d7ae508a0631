"""A storage on a server at one moment, for operators."""

from __future__ import annotations

from typing import Any, NamedTuple

from shardq.drivers.redis.hands import decoded
from shardq.drivers.redis.storage import RedisStorage
from shardq.model import Counts


class Overview(NamedTuple):
    """Figures and claims of one instant for each partition."""

    counts: Counts
    used_bytes: int
    """Of all messages and dead letters."""
    sleepers: int
    """How many wait for work, room or quiet."""
    claims: list[tuple[str, str, str]]
    """Host, pid and thread of each worker that has one."""

    @property
    def has_requests(self) -> bool:
        """Whether anything would be lost with the storage."""
        held = self.counts
        return bool(held.queued or held.dead or held.deferred or held.recurrent)

    def as_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        claims = [{"host": host, "pid": int(pid), "thread": thread} for host, pid, thread in self.claims]
        figures = {"queued": self.counts.queued, **self.counts._asdict()}
        return figures | {"used_bytes": self.used_bytes, "sleepers": self.sleepers, "claims": claims}


async def overview_of(storage: RedisStorage) -> Overview:
    """The storage as it is now."""
    layout, server = await storage.server.layout(), storage.server
    used_bytes = sleepers = 0
    claims = list[tuple[str, str, str]]()
    for partition in range(layout.partitions):
        keys = {name: layout.key(partition, name) for name in ("STATE", "SLEEPS", "OWNERS")}
        state, asleep, owned = await server.at_once(
            partition, (b"GET", keys["STATE"]), (b"HLEN", keys["SLEEPS"]), (b"ZRANGE", keys["OWNERS"], b"0", b"-1")
        )
        used_bytes += decoded(state).get("used", 0) if state else 0
        sleepers = max(sleepers, asleep)
        for member in owned:
            owner, _, thread = member.decode().partition("\0")
            host, _, pid = owner.rpartition(":")
            claims.append((host, pid, thread))
    return Overview(await storage.backlog(), used_bytes, sleepers, claims)
