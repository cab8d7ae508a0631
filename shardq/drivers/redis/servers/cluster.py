"""A cluster: which of its servers has which slots, and the connections to them.

What is known of that comes from the answers of the servers. It is asked for anew once a call failed, and a server that
has a slot no more says where the slot is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import hiredis

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.links import Link
from shardq.drivers.redis.connections.plain_links import PlainLink, plain_answer
from shardq.drivers.redis.connections.replies import Outage
from shardq.drivers.redis.connections.scripts import Sendable
from shardq.drivers.redis.connections.tries import LOOK_S
from shardq.drivers.redis.connections.wire import Disconnected, Orphan, PlainWire, Wire, packed
from shardq.drivers.redis.servers.layout import SLOTS
from shardq.errors import StorageClosed

#: Seconds for which one server is asked for the slots, and for an answer while one is due: others may have its slots.
_SLOTS_S, _ANSWER_S = 2.0, 5.0
#: Seconds for an answer to a supervisor, which waits for no more meanwhile.
_PLAIN_ANSWER_S = 2.0
#: Seconds of a pause before the next try, at most: a replica is soon in the place of a server that died.
_LONGEST_PAUSE_S = 0.5
#: For how long a server counts as lost that could not be connected to, and one that did not answer a look.
_LOST_S, _SILENT_S = 0.5, 2.0
#: What was asked so many seconds ago is not asked again.
_NEWS_S = 0.05
#: How often in a row one call follows where servers send it, before it waits a little.
_DETOURS = 8
_ASK_SLOTS = packed(b"CLUSTER", b"SLOTS")


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


class _Lost:
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


class ClusterLink(Link):
    """The connections of the running event loop."""

    longest_pause_s = _LONGEST_PAUSE_S

    def __init__(self, cluster: Cluster, *, copied: bool = False) -> None:
        super().__init__(cluster, copied=copied)
        self.cluster = cluster
        self._wires: dict[Address, Wire] = {}
        self._lost = _Lost()
        self._doubted = set[Address]()
        """Servers that may have lost slots: these are asked for before the next call."""
        self._making: dict[Address, asyncio.Lock] = {}
        self._tasks = set[asyncio.Task[None]]()

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
        for _ in range(_DETOURS):
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
        task = asyncio.get_running_loop().create_task(self._look_anew())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
                    self.cluster.read(await (await self._to(node)).ask(_ASK_SLOTS), node)
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


class PlainClusterLink(PlainLink):
    """The connections of a thread that may not suspend."""

    longest_pause_s = _LONGEST_PAUSE_S

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.cluster = cluster
        self._wires: dict[Address, PlainWire] = {}
        self._lost = _Lost()

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
        for _ in range(_DETOURS):
            try:
                return plain_answer(self.cluster, self._to(node), command, asking=asking)
            except hiredis.ReplyError as error:
                detour = self.cluster.follow(str(error))
                if detour is None:
                    raise
                node, asking = detour
        raise Outage(f"the cluster sends a call from server to server for slot {command.slot}")

    def _puzzled(self, reason: Exception) -> None:
        self.cluster.stale = True

    def _to(self, node: Address) -> PlainWire:
        if node not in self._wires:
            self._lost.check(node)
            try:
                self._wires[node] = PlainWire(node, _PLAIN_ANSWER_S)
            except OSError:
                self._lost.note(node)
                raise
        return self._wires[node]

    def _ready(self, slot: int) -> PlainWire | None:
        node = None if self.cluster.stale else self.cluster.of(slot)
        return self._wires.get(node) if node else None

    def _hang_up(self, wire: PlainWire) -> None:
        for node in [node for node, its in self._wires.items() if its is wire]:
            self._wires.pop(node).close()
            self._lost.note(node)
        self._puzzled(Disconnected())

    def _ask_for_slots(self) -> None:
        reason: Exception = Outage("no server of the cluster answers")
        for node in sorted(self.cluster.candidates(), key=lambda node: node not in self._wires):
            try:
                self.cluster.read(self._to(node).ask(_ASK_SLOTS), node)
                return
            except (hiredis.ReplyError, Disconnected, Outage, OSError) as error:
                reason = error
                wire = self._wires.pop(node, None)
                if wire:
                    wire.close()
        raise reason
