"""How the server wakes a process without an event loop: a descriptor for each server becomes readable."""

from __future__ import annotations

import secrets
import select
from collections.abc import Collection
from contextlib import suppress

import hiredis

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.replies import Outage
from shardq.drivers.redis.connections.wire import Disconnected, PlainWire, packed
from shardq.drivers.redis.servers.bells import HAS_SHARDED, sharded_channel
from shardq.drivers.redis.servers.cluster import Cluster
from shardq.drivers.redis.servers.layout import Layout, slot_of
from shardq.drivers.redis.servers.plain_cluster_links import PLAIN_ANSWER_S, PlainClusterLink


class PlainBells:
    """The subscriptions of one process."""

    def __init__(self, address: Address | Cluster, prefix: str) -> None:
        self._address = address
        self._channel = f"{prefix}bell:{secrets.token_hex(8)}"
        self._bells: dict[Address, _Bell] = {}
        self._numbers: dict[Address, int] = {}
        """Of the channels: a server keeps its own."""
        self._version = -1

    @property
    def names(self) -> dict[int, str]:
        """What the process is called on each partition."""
        return {place: name for bell in self._bells.values() for place, name in bell.names.items()}

    def listen(self, layout: Layout, poll: select.epoll) -> dict[int, str]:
        """What the process is called on each partition that can wake it. It is tried once for each server."""
        try:
            self._know_slots()
        except (OSError, Disconnected, hiredis.ReplyError, Outage):
            return self.names
        places = self._places(layout)
        self._follow_slots(places, poll)
        for node, its in places.items():
            with suppress(OSError, Disconnected, hiredis.ReplyError):
                self._listen_to(node, its, poll)
        return self.names

    def drop_what_came(self, poll: select.epoll) -> None:
        """Nothing is read but that something rang."""
        for node, bell in list(self._bells.items()):
            try:
                bell.wire.heard()
            except Disconnected:
                self._leave(node, poll)

    def hang_up(self, poll: select.epoll | None) -> None:
        for node in list(self._bells):
            self._leave(node, poll)

    def _know_slots(self) -> None:
        """Raises what `PlainClusterLink.nodes` does."""
        if isinstance(self._address, Cluster) and self._address.stale:
            link = PlainClusterLink(self._address)
            try:
                link.nodes()
            finally:
                link.close()

    def _places(self, layout: Layout) -> dict[Address, list[int]]:
        """The partitions of each server."""
        places = dict[Address, list[int]]()
        for place in layout.everywhere:
            node = self._address.of(slot_of(place)) if isinstance(self._address, Cluster) else self._address
            if node:
                places.setdefault(node, []).append(place)
        return places

    def _follow_slots(self, places: Collection[Address], poll: select.epoll) -> None:
        """A server ends the subscription of a slot that leaves it, which may be there again: all are made anew."""
        version = self._address.version if isinstance(self._address, Cluster) else 0
        if version == self._version:
            return
        self._version = version
        for node, bell in list(self._bells.items()):
            bell.names.clear()
            if node not in places:
                self._leave(node, poll)

    def _listen_to(self, node: Address, places: Collection[int], poll: select.epoll) -> None:
        bell = self._bells.get(node)
        if bell and bell.names.keys() >= set(places):
            return
        try:
            if bell is None:
                bell = self._bells[node] = self._connected(node)
                bell.listen(places)
                poll.register(bell.wire.descriptor, select.EPOLLIN)
            else:
                bell.listen(places)
        except BaseException:
            self._leave(node, poll)
            raise

    def _connected(self, node: Address) -> _Bell:
        wire, number = PlainWire(node, PLAIN_ANSWER_S), self._numbers.setdefault(node, len(self._numbers))
        try:
            sharded = isinstance(self._address, Cluster) and _is_sharded(wire)
        except BaseException:
            wire.close()
            raise
        return _Bell(wire, f"{self._channel}:{number}", sharded=sharded)

    def _leave(self, node: Address, poll: select.epoll | None) -> None:
        bell = self._bells.pop(node, None)
        if bell is None:
            return
        with suppress(OSError, ValueError):
            if poll:
                poll.unregister(bell.wire.descriptor)
        bell.wire.close()


class _Bell:
    """The subscription to one server."""

    def __init__(self, wire: PlainWire, channel: str, *, sharded: bool) -> None:
        self.wire = wire
        self.names: dict[int, str] = {}
        """What the process is called on its partitions."""
        self._channel = channel
        self._sharded = sharded
        """Whether each partition has a channel of its own."""

    def listen(self, places: Collection[int]) -> None:
        """Raises `OSError`."""
        channels = dict.fromkeys(places, self._channel)
        if self._sharded:
            channels = {place: sharded_channel(self._channel, place) for place in places}
        how = b"SSUBSCRIBE" if self._sharded else b"SUBSCRIBE"
        self.wire.say(b"".join(packed(how, channel.encode()) for channel in dict.fromkeys(channels.values())))
        self.names = {place: f"{channel}#0:{place}" for place, channel in channels.items()}


def _is_sharded(wire: PlainWire) -> bool:
    try:
        return bool(wire.ask(HAS_SHARDED)[0])
    except hiredis.ReplyError:
        return False
