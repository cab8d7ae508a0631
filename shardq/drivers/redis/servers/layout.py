"""Where things lie: keys by partition, partitions by thread.

A key is `PREFIX{N}NAME` with the number of the partition in braces, so a cluster keeps all keys of a partition on one
node, where one script may change them together. `PREFIX{meta}` says how many partitions there are, once and for ever.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable
from functools import cache
from typing import Any
from zlib import crc32

from shardq.drivers.redis.connections.scripts import Command, Script, command, packed_keys

#: How many slots a cluster has.
SLOTS = 16384
#: What the keys of a script are called on the server, by their names in scripts.
NAMES = {
    "STATE": "state",
    "THREADS": "threads",
    "CHUNKS": "chunks",
    "LIVE": "live",
    "READY": "ready",
    "TIMERS": "timers",
    "OWNERS": "owners",
    "EQUAL": "equal",
    "DUE": "due",
    "AGAIN": "again",
    "STARVED": "starved",
    "WAITING": "waiting",
    "WAITS": "waits",
    "GRAVES": "graves",
    "LETTERS": "letters",
    "RESULTS": "results",
    "OUTBOX": "outbox",
    "OUTWARD": "outward",
    "CURSORS": "cursors",
    "CALLS": "calls",
    "CALLS_OLD": "calls_old",
    "SLEEPERS": "sleepers",
    "SLEEPS": "sleeps",
    "FAMILIES": "families",
    "GONE": "gone",
    "ACTIONS": "actions",
    "TALLIES": "tallies",
    "CAME": "came",
}


class Layout:
    """The keys of one storage."""

    def __init__(self, prefix: str, partitions: int) -> None:
        self.prefix = prefix
        self.partitions = partitions
        self._packed: dict[tuple[str, int], bytes] = {}

    def partition_of(self, key: str) -> int:
        """The partition of a thread."""
        return crc32(key.encode()) % self.partitions if self.partitions > 1 else 0

    def by_partition(self, keys: Iterable[str]) -> dict[int, list[str]]:
        """Threads by their partitions."""
        found = dict[int, list[str]]()
        for key in keys:
            found.setdefault(self.partition_of(key), []).append(key)
        return found

    @property
    def everywhere(self) -> range:
        """All partitions."""
        return range(self.partitions)

    def key(self, partition: int, name: str) -> bytes:
        return f"{self.prefix}{{{partition}}}{NAMES[name]}".encode()

    def keys_of(self, partition: int) -> list[bytes]:
        """All keys that a partition may have."""
        return [self.key(partition, name) for name in NAMES]

    def command(self, of: Script, partition: int, arguments: dict[str, Any], *blobs: bytes) -> Command:
        """A call of a script on a partition."""
        packed = self._packed.get((of.name, partition))
        if packed is None:
            packed = packed_keys(of, [self.key(partition, name) for name in of.keys])
            self._packed[of.name, partition] = packed
        return command(of, packed, arguments, blobs, slot_of(partition))


@cache
def slot_of(tag: int | str) -> int:
    """The slot of a cluster in which keys with this hash tag lie: of a partition, or `meta`."""
    return crc_hqx(str(tag).encode(), 0) % SLOTS


def meta_key(prefix: str) -> bytes:
    return f"{prefix}{{meta}}".encode()
