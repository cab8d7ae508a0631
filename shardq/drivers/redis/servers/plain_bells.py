"""How the server wakes a process without an event loop: a descriptor for each server becomes readable."""

from __future__ import annotations

import secrets
import select
from contextlib import suppress

import hiredis

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.replies import Outage
from shardq.drivers.redis.connections.wire import Disconnected, PlainWire, packed
from shardq.drivers.redis.servers.bells import HAS_SHARDED, sharded_channel
from shardq.drivers.redis.servers.cluster import Cluster
from shardq.drivers.redis.servers.layout import Layout, slot_of
from shardq.drivers.redis.servers.plain_cluster_links import PlainClusterLink


class PlainBells:
    """The subscriptions of one process."""

    def __init__(self, address: Address | Cluster, prefix: str) -> None:
        self._address = address
        self._channel = f"{prefix}bell:{secrets.token_hex(8)}"
        self._wires: dict[Address, PlainWire] = {}
        self._names: dict[int, str] = {}
        self._version = -1

    @property
    def names(self) -> dict[int, str]:
        """What the process is called on each partition."""
        return self._names

    def listen(self, layout: Layout, poll: select.epoll) -> dict[int, str]:
        """What the process is called on each partition that can wake it. It is tried once for each server."""
        version = self._address.version if isinstance(self._address, Cluster) else 0
        if version != self._version:
            self.hang_up(poll)
        for place in layout.everywhere:
            if place not in self._names:
                with suppress(OSError, Disconnected, hiredis.ReplyError, Outage):
                    self._listen_to(self._node_of(place), layout, poll)
        self._version = self._address.version if isinstance(self._address, Cluster) else 0
        return self._names

    def drop_what_came(self, poll: select.epoll) -> None:
        """Nothing is read but that something rang."""
        for wire in self._wires.values():
            try:
                wire.heard()
            except Disconnected:
                self.hang_up(poll)
                return

    def hang_up(self, poll: select.epoll | None) -> None:
        wires, self._wires, self._names = self._wires, {}, {}
        for wire in wires.values():
            with suppress(OSError, ValueError):
                if poll:
                    poll.unregister(wire.descriptor)
            wire.close()

    def _listen_to(self, node: Address, layout: Layout, poll: select.epoll) -> None:
        its = [place for place in layout.everywhere if self._node_of(place) == node]
        wire, number = PlainWire(node), len(self._wires)
        try:
            channel = f"{self._channel}:{number}"
            channels = dict.fromkeys(its, channel)
            if isinstance(self._address, Cluster) and _is_sharded(wire):
                channels = {place: sharded_channel(channel, place) for place in its}
                wire.say(b"".join(packed(b"SSUBSCRIBE", name.encode()) for name in channels.values()))
            else:
                wire.say(packed(b"SUBSCRIBE", channel.encode()))
            poll.register(wire.descriptor, select.EPOLLIN)
        except BaseException:
            wire.close()
            raise
        self._wires[node] = wire
        self._names |= {place: f"{channels[place]}#0:{place}" for place in its}

    def _node_of(self, place: int) -> Address:
        if not isinstance(self._address, Cluster):
            return self._address
        if self._address.stale:
            link = PlainClusterLink(self._address)
            try:
                link.nodes()
            finally:
                link.close()
        found = self._address.of(slot_of(place))
        if found is None:
            raise Outage(f"no server of the cluster has partition {place}")
        return found


def _is_sharded(wire: PlainWire) -> bool:
    try:
        return bool(wire.ask(HAS_SHARDED)[0])
    except hiredis.ReplyError:
        return False
