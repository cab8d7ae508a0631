"""Servers of a cluster that could not be reached a moment ago."""

from __future__ import annotations

import time

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.replies import Outage
from shardq.drivers.redis.connections.wire import Wire

#: For how long a server counts as lost that could not be connected to, and one that did not answer a look.
_LOST_S, _SILENT_S = 0.5, 2.0


class Lost:
    """Servers that could not be reached, so that of many calls one finds that out."""

    def __init__(self) -> None:
        self._until: dict[Address, float] = {}
        self._silent: dict[Address, tuple[Wire, int]] = {}
        """Connections of those that do not answer, and how often they had."""

    def note(self, node: Address) -> None:
        self._until[node] = time.monotonic() + _LOST_S
        self._silent.pop(node, None)

    def note_silence(self, node: Address, wire: Wire) -> None:
        self._until[node] = time.monotonic() + _SILENT_S
        self._silent[node] = wire, wire.answers

    def has(self, node: Address) -> bool:
        if node not in self._until or time.monotonic() >= self._until[node]:
            return False
        wire, answers = self._silent.get(node, (None, 0))
        return wire is None or wire.answers == answers

    def check(self, node: Address) -> None:
        """Raises `Outage`."""
        if self.has(node):
            raise Outage(f"{node} could not be reached a moment ago")
