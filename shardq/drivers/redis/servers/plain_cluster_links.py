"""The connections of a thread without an event loop to the servers of a cluster."""

from __future__ import annotations

from typing import Any

import hiredis

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.plain_links import PlainLink, plain_answer
from shardq.drivers.redis.connections.replies import Outage
from shardq.drivers.redis.connections.scripts import Sendable
from shardq.drivers.redis.connections.wire import Disconnected, PlainWire
from shardq.drivers.redis.servers.cluster import ASK_SLOTS, DETOURS, LONGEST_PAUSE_S, Cluster
from shardq.drivers.redis.servers.lost import Lost

#: Seconds for an answer to a supervisor, which waits for no more meanwhile.
PLAIN_ANSWER_S = 2.0


class PlainClusterLink(PlainLink):
    """The connections of a thread that may not suspend."""

    longest_pause_s = LONGEST_PAUSE_S

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.cluster = cluster
        self._wires: dict[Address, PlainWire] = {}
        self._lost = Lost()

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()
        self._wires.clear()

    def nodes(self) -> list[Address]:
        """The servers that have slots. Raises `OSError`, `Disconnected` and `hiredis.ReplyError`."""
        if self.cluster.stale:
            self._ask_for_slots()
        return list(self.cluster.nodes)

    def _told(self, command: Sendable) -> Any:
        if self.cluster.stale or self.cluster.of(command.slot) is None:
            self._ask_for_slots()
        node, asking = self.cluster.of(command.slot), False
        if node is None:
            raise Outage(f"no server of the cluster has slot {command.slot}")
        for _ in range(DETOURS):
            try:
                return plain_answer(self.cluster, self._to(node), command, asking=asking)
            except hiredis.ReplyError as error:
                detour = self.cluster.follow(str(error))
                if detour is None:
                    raise
                node, asking = detour
            except (Disconnected, OSError):
                self._lose(node)
                raise
        raise Outage(f"the cluster sends a call from server to server for slot {command.slot}")

    def _puzzled(self, reason: Exception) -> None:
        self.cluster.stale = True

    def _to(self, node: Address) -> PlainWire:
        if node not in self._wires:
            self._lost.check(node)
            try:
                self._wires[node] = PlainWire(node, PLAIN_ANSWER_S)
            except OSError:
                self._lost.note(node)
                raise
        return self._wires[node]

    def _ready(self, slot: int) -> PlainWire | None:
        node = None if self.cluster.stale else self.cluster.of(slot)
        return self._wires.get(node) if node else None

    def _hang_up(self, wire: PlainWire) -> None:
        for node in [node for node, its in self._wires.items() if its is wire]:
            self._lose(node)
        self._puzzled(Disconnected())

    def _lose(self, node: Address) -> None:
        """A server does not answer: of many calls one finds that out."""
        self._drop(node)
        self._lost.note(node)

    def _drop(self, node: Address) -> None:
        wire = self._wires.pop(node, None)
        if wire:
            wire.close()

    def _ask_for_slots(self) -> None:
        reason: Exception = Outage("no server of the cluster answers")
        for node in sorted(self.cluster.candidates(), key=lambda node: (self._lost.has(node), node not in self._wires)):
            try:
                self.cluster.read(self._to(node).ask(ASK_SLOTS), node)
                return
            except (hiredis.ReplyError, Outage) as error:
                self._drop(node)
                reason = error
            except (Disconnected, OSError) as error:
                self._lose(node)
                reason = error
        raise reason
