"""The connections of an event loop to the servers of a cluster."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import hiredis

from shardq.behind import behind
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.links import Link
from shardq.drivers.redis.connections.replies import Outage
from shardq.drivers.redis.connections.scripts import Sendable
from shardq.drivers.redis.connections.tries import LOOK_S
from shardq.drivers.redis.connections.wire import Disconnected, Orphan, Wire
from shardq.drivers.redis.servers.cluster import ASK_SLOTS, DETOURS, LONGEST_PAUSE_S, Cluster
from shardq.drivers.redis.servers.lost import Lost
from shardq.errors import StorageClosed

#: Seconds for which one server is asked for the slots, and for an answer while one is due: others may have its slots.
_SLOTS_S, _ANSWER_S = 2.0, 5.0


class ClusterLink(Link):
    """The connections of the running event loop."""

    longest_pause_s = LONGEST_PAUSE_S

    def __init__(self, cluster: Cluster, *, copied: bool = False) -> None:
        super().__init__(cluster, copied=copied)
        self.cluster = cluster
        self._wires: dict[Address, Wire] = {}
        self._lost = Lost()
        self._doubted = set[Address]()
        """Servers that may have lost slots: these are asked for before the next call."""
        self._making: dict[Address, asyncio.Lock] = {}

    @property
    def busy(self) -> bool:
        making = any(lock.locked() for lock in (self._connecting, *self._making.values()))
        return making or any(wire.busy for wire in self._wires.values())

    def close(self) -> None:
        self._closed = True
        for wire in self._wires.values():
            wire.close()

    async def node_of(self, slot: int) -> Address:
        """The server that has the slot. Raises `Outage`."""
        if self.cluster.stale or self.cluster.of(slot) is None:
            async with self._connecting:
                if self.cluster.stale or self.cluster.of(slot) is None:
                    await self._ask_for_slots()
        self._doubted.clear()
        found = self.cluster.of(slot)
        if found is None:
            raise Outage(f"no server of the cluster has slot {slot}")
        return found

    async def reaches(self, slot: int) -> bool:
        if self._ready(slot):
            return True
        try:
            async with asyncio.timeout(LOOK_S):
                node = await self.node_of(slot)
                self._lost.check(node)
                await self._to(node)
        except (hiredis.ReplyError, Disconnected, Outage, OSError):
            self.cluster.doubt()
            return False
        return True

    def _ready(self, slot: int) -> Wire | None:
        node = self.cluster.of(slot)
        if node is None or node in self._doubted or self._lost.has(node):
            return None
        wire = self._wires.get(node)
        return None if wire is None or wire.lost else wire

    async def _connected(self, slot: int) -> Wire:
        return await self._to(await self.node_of(slot))

    async def _settled(self, reply: Any, wire: Wire, command: Sendable, orphan: Orphan | None) -> Any:
        reply = await super()._settled(reply, wire, command, orphan)
        for _ in range(DETOURS):
            detour = self.cluster.follow(str(reply)) if isinstance(reply, hiredis.ReplyError) else None
            if detour is None:
                break
            node, asking = detour
            self.upsets += not asking
            reply = await self._answered(await self._to(node), command, orphan, asking=asking)
        return reply

    def silent(self, slot: int) -> None:
        node = self.cluster.of(slot)
        wire = self._wires.get(node) if node else None
        if node and wire:
            self._lost.note_silence(node, wire)
        self._puzzled(Disconnected(), slot)

    def _look_for_successor(self, node: Address) -> None:
        """A server does not answer: should another one have its slots by now, that one is asked."""
        if node in self._wires:
            self._lost.note_silence(node, self._wires[node])
        self.cluster.doubt()
        behind(self._look_anew())

    async def _look_anew(self) -> None:
        with suppress(hiredis.ReplyError, Disconnected, Outage, OSError, StorageClosed):
            await self.node_of(0)

    def _puzzled(self, reason: Exception, slot: int) -> None:
        super()._puzzled(reason, slot)
        node = self.cluster.of(slot)
        if node:
            self._doubted.add(node)
        self.cluster.doubt()

    async def _to(self, node: Address) -> Wire:
        async with self._making.setdefault(node, asyncio.Lock()):
            self._check_open()
            wire = self._wires.get(node)
            if wire is None or wire.lost:
                self.upsets += wire is not None
                self._lost.check(node)
                try:
                    wire = self._wires[node] = await Wire.to(node)
                except OSError:
                    self._lost.note(node)
                    raise
                wire.answer_s, wire.silence_s = min(wire.answer_s, _ANSWER_S), LOOK_S
                wire.on_silence = partial(self._look_for_successor, node)
                if self._closed:
                    wire.close()
                self._check_open()
            return wire

    async def _ask_for_slots(self) -> None:
        """Raises `Outage` where no server can say."""
        reason: Exception = Outage("no server of the cluster answers")
        for node in sorted(self.cluster.candidates(), key=self._is_lost):
            try:
                async with asyncio.timeout(_SLOTS_S):
                    self.cluster.read(await (await self._to(node)).ask(ASK_SLOTS), node)
                self._leave_those_without_slots()
                return
            except (hiredis.ReplyError, Disconnected, Outage, OSError) as error:
                reason = error
        raise reason

    def _leave_those_without_slots(self) -> None:
        """What such a server did not answer yet is asked of its successor."""
        for node in self._wires.keys() - self.cluster.nodes.keys():
            if node not in self.cluster.seeds or self._wires[node].busy:
                self._wires.pop(node).close()

    def _is_lost(self, node: Address) -> bool:
        wire = self._wires.get(node)
        return wire is None or wire.lost or self._lost.has(node)
