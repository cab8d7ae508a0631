"""How the server wakes who sleeps: for each event loop, one subscription to each server.

A sleeper is named `CHANNEL#NUMBER:PARTITION`. A script that finds nothing for it writes the name down; another script
that has something for it publishes `NUMBER:PARTITION` on the channel. The subscription is there before a name is
written down, and after it broke all sleepers look again.

In a cluster from version 7 on, each partition has a channel in its own slot: a message there goes to one server. Before
it goes to all of them, so there each server has a channel of its own, and is the only one that has subscribers to it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import hiredis

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.links import Link
from shardq.drivers.redis.connections.replies import Outage, meaning
from shardq.drivers.redis.connections.wire import Disconnected, Wire, packed
from shardq.drivers.redis.servers.cluster import Cluster
from shardq.drivers.redis.servers.cluster_links import ClusterLink
from shardq.drivers.redis.servers.layout import slot_of
from shardq.errors import StorageRefused

#: Seconds for a new subscription, and how long a sleeper waits for one that takes long.
_SUBSCRIBE_S, _PATIENCE_S = 5.0, 0.25
HAS_SHARDED = packed(b"COMMAND", b"INFO", b"SSUBSCRIBE")


class Nap:
    """One sleeper."""

    def __init__(self, bells: Bells, number: int) -> None:
        self._bells, self._number = bells, number
        self._rung = asyncio.Event()
        self._by: set[int] | None = set()

    def name(self, partition: int) -> str | None:
        """What it is called on a partition; None: it would not be heard there."""
        channel = self._bells.channel(partition)
        return channel and f"{channel}#{self._number}:{partition}"

    def ring(self, partition: int | None = None) -> None:
        """By one partition; None: all may have rung."""
        self._by = None if partition is None or self._by is None else self._by | {partition}
        self._rung.set()

    async def rung(self, timeout_s: float | None) -> set[int] | None:
        """Sleep until it is woken, so long at most. Returns by which partitions; None: all may have rung."""
        if timeout_s is None or timeout_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._rung.wait()
        self._rung.clear()
        by, self._by = self._by, set()
        return by

    def end(self) -> None:
        self._bells.forget(self._number)


class Bells:
    """Where the sleepers of one event loop are woken."""

    def __init__(self, address: Address | Cluster, prefix: str, link: Link) -> None:
        self._address, self._prefix, self._link = address, prefix, link
        self._token = secrets.token_hex(8)
        self._bells: dict[Address, _Bell] = {}
        self._naps: dict[int, Nap] = {}
        self._last = 0
        self._connecting = set[asyncio.Task[None]]()

    def nap(self) -> Nap:
        """A new sleeper; see `listen`."""
        self._last += 1
        nap = self._naps[self._last] = Nap(self, self._last)
        return nap

    async def listen(self, partitions: Iterable[int]) -> None:
        """See that these partitions can wake sleepers of this loop. It is tried once. Raises `StorageRefused`."""
        missing = dict[_Bell, list[int]]()
        for partition in partitions:
            bell = await self._bell_of(partition)
            if bell and not bell.hears(partition):
                missing.setdefault(bell, []).append(partition)
        tasks = [asyncio.create_task(bell.listen(its)) for bell, its in missing.items()]
        for task in tasks:
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        if tasks:
            done, late = await asyncio.wait(tasks, timeout=_PATIENCE_S)
            for task in late:
                task.add_done_callback(self._came_late)
            for task in done:
                task.result()

    def channel(self, partition: int) -> str | None:
        """On which a partition wakes sleepers; None: it cannot."""
        bell = self._bells.get(self._node_of(partition))  # type: ignore[arg-type]
        return bell.channel(partition) if bell and bell.hears(partition) else None

    @property
    def busy(self) -> bool:
        """Whether it connects."""
        return bool(self._connecting)

    def forget(self, number: int) -> None:
        self._naps.pop(number, None)

    def hang_up(self) -> None:
        """Subscribe anew: the name of the server stands for another one by now."""
        for bell in self._bells.values():
            bell.hang_up()

    def close(self) -> None:
        for task in self._connecting:
            task.cancel()
        for bell in self._bells.values():
            bell.close()
        self.ring_all()

    def heard(self, said: bytes) -> None:
        """What a partition published."""
        number, _, partition = said.partition(b":")
        if nap := self._naps.get(int(number)):
            nap.ring(int(partition))

    def ring_all(self) -> None:
        for nap in self._naps.values():
            nap.ring()

    def _came_late(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # the next look meets what is wrong
        self.ring_all()

    def _node_of(self, partition: int) -> Address | None:
        return self._address.of(slot_of(partition)) if isinstance(self._address, Cluster) else self._address

    async def _bell_of(self, partition: int) -> _Bell | None:
        if isinstance(self._link, ClusterLink):
            try:
                await self._link.node_of(slot_of(partition))
            except (Outage, OSError, Disconnected, hiredis.ReplyError):
                return None
        node = self._node_of(partition)
        if node and node not in self._bells:
            name = f"{self._prefix}bell:{self._token}:{len(self._bells)}"
            self._bells[node] = _Bell(self, node, name, in_cluster=isinstance(self._address, Cluster))
        return self._bells[node] if node else None


class _Bell:
    """The subscription to one server."""

    def __init__(self, bells: Bells, address: Address, name: str, *, in_cluster: bool) -> None:
        self._bells, self._address, self._name = bells, address, name
        self._in_cluster = in_cluster
        self._sharded = False
        """Whether each partition has a channel of its own."""
        self._wire: Wire | None = None
        self._waits = asyncio.Lock()
        self._channels = set[bytes]()
        self._wanted = set[bytes]()
        self._all_there: asyncio.Future[None] | None = None

    def channel(self, partition: int) -> str:
        return sharded_channel(self._name, partition) if self._sharded else self._name

    def hears(self, partition: int) -> bool:
        there = self._wire is not None and not self._wire.lost
        return there and self.channel(partition).encode() in self._channels

    async def listen(self, partitions: Collection[int]) -> None:
        async with self._waits:
            try:
                await self._listen(partitions)
            except (OSError, Disconnected, hiredis.ReplyError) as error:
                if isinstance(reason := meaning(error), StorageRefused):
                    raise reason from error

    def hang_up(self) -> None:
        if self._wire is not None:
            self._wire.close()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.on_lost = None
            self._wire.close()

    async def _listen(self, partitions: Collection[int]) -> None:
        wire = self._wire
        if wire is None or wire.lost:
            self._channels.clear()
            wire = self._wire = await Wire.to(self._address, self._heard)
            wire.on_lost = self._lost
            self._sharded = self._in_cluster and await _is_sharded(wire)
        self._wanted = {self.channel(partition).encode() for partition in partitions} - self._channels
        if not self._wanted:
            return
        self._all_there = asyncio.get_running_loop().create_future()
        how = b"SSUBSCRIBE" if self._sharded else b"SUBSCRIBE"
        wire.say(b"".join(packed(how, channel) for channel in self._wanted))
        try:
            async with asyncio.timeout(_SUBSCRIBE_S):
                await self._all_there
        except BaseException:
            wire.close()
            raise

    def _heard(self, said: Any) -> None:
        waits = self._all_there if self._all_there and not self._all_there.done() else None
        if isinstance(said, hiredis.ReplyError):
            if waits:
                waits.set_exception(said)
            return
        if not isinstance(said, list) or len(said) < 3:
            return
        if said[0] in (b"subscribe", b"ssubscribe"):
            self._channels.add(said[1])
            self._wanted.discard(said[1])
            if waits and not self._wanted:
                waits.set_result(None)
        elif said[0] in (b"message", b"smessage"):
            self._bells.heard(said[2])
        elif said[0] == b"sunsubscribe":  # the slot moved to another server
            self._channels.discard(said[1])
            self._bells.ring_all()

    def _lost(self) -> None:
        self._channels.clear()
        if self._all_there and not self._all_there.done():
            self._all_there.set_exception(Disconnected())
        self._bells.ring_all()


def sharded_channel(name: str, partition: int) -> str:
    """A channel in the slot of a partition."""
    return f"{name}:{{{partition}}}"


async def _is_sharded(wire: Wire) -> bool:
    """Whether the server knows channels in slots."""
    try:
        return bool((await wire.ask(HAS_SHARDED))[0])
    except hiredis.ReplyError:
        return False
