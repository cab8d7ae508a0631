"""A cluster: which of its servers has which slots.

What is known of that comes from the answers of the servers. It is asked for anew once a call failed, and a server that
has a slot no more says where the slot is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.wire import packed
from shardq.drivers.redis.servers.layout import SLOTS

#: Seconds of a pause before the next try, at most: a replica is soon in the place of a server that died.
LONGEST_PAUSE_S = 0.5
#: How often in a row one call follows where servers send it, before it waits a little.
DETOURS = 8
#: What a server is asked, whose reply `Cluster.read` takes over.
ASK_SLOTS = packed(b"CLUSTER", b"SLOTS")
#: What was asked so many seconds ago is not asked again.
_NEWS_S = 0.05


@dataclass(repr=False)
class Cluster:
    """Some of its servers, and what is known of all."""

    seeds: tuple[Address, ...]
    nodes: dict[Address, None] = field(default_factory=dict)
    """Servers that have slots."""
    stale: bool = True
    """Whether what is known may be no longer true."""
    version: int = 0
    """How often it changed."""
    _read_at: float = float("-inf")
    _slots: list[Address | None] = field(default_factory=lambda: [None] * SLOTS)

    @property
    def replicas(self) -> int:
        """See `Address`."""
        return self.seeds[0].replicas

    @property
    def fsync(self) -> bool:
        return self.seeds[0].fsync

    @property
    def answer_s(self) -> float:
        return self.seeds[0].answer_s

    def __str__(self) -> str:
        return f"the cluster of {', '.join(f'{seed.host}:{seed.port}' for seed in self.seeds)}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def of(self, slot: int) -> Address | None:
        """The server that has the slot."""
        return self._slots[slot]

    def candidates(self) -> list[Address]:
        """Servers that may know, in any order."""
        every = list(dict.fromkeys((*self.nodes, *self.seeds)))
        return random.sample(every, len(every))

    def read(self, said: Any, by: Address) -> None:
        """Take over what a server says of the slots."""
        slots, nodes = list[Address | None]([None] * SLOTS), dict[Address, None]()
        for first, last, (host, port, *_), *_ in said:
            node = self._at(host.decode() if host else by.host, port)
            nodes[node] = None
            slots[first : last + 1] = [node] * (last + 1 - first)
        if slots != self._slots:
            self.version += 1
        self._slots, self.nodes, self.stale = slots, nodes, False
        self._read_at = time.monotonic()

    def doubt(self) -> None:
        """A call failed: what is known may be no longer true, unless it was asked for just now."""
        self.stale = self.stale or time.monotonic() - self._read_at > _NEWS_S

    def follow(self, error: str) -> tuple[Address, bool] | None:
        """Where a server sends a call, and whether it is for this call only; None: it does not."""
        kind, _, rest = error.partition(" ")
        if kind not in ("MOVED", "ASK"):
            return None
        slot, _, place = rest.partition(" ")
        host, _, port = place.rpartition(":")
        former = self._slots[int(slot)]
        node = self._at(host or (former or self.seeds[0]).host, int(port))
        if kind == "MOVED" and node != former:
            self._slots[int(slot)] = node
            self.nodes[node] = None
            self.stale, self.version = True, self.version + 1
        return node, kind == "ASK"

    def _at(self, host: str, port: int) -> Address:
        return replace(self.seeds[0], host=host.strip("[]"), port=port)


def changed(address: Address | Cluster, change: Callable[[Address], Address]) -> Address | Cluster:
    """The same server, or the same cluster, reached in another way."""
    return Cluster(tuple(map(change, address.seeds))) if isinstance(address, Cluster) else change(address)
