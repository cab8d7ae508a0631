"""The server as the verbs see it: scripts on partitions, from any event loop and any thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from shardq.blocking import here as blocking
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.copies import wants_copies
from shardq.drivers.redis.connections.links import Link
from shardq.drivers.redis.connections.per_loop import PerLoop
from shardq.drivers.redis.connections.plain_links import PlainLink
from shardq.drivers.redis.connections.replies import NoMemory
from shardq.drivers.redis.connections.scripts import Script, script
from shardq.drivers.redis.connections.tries import PATIENCE_S
from shardq.drivers.redis.connections.wire import Orphan
from shardq.drivers.redis.servers.bells import Bells
from shardq.drivers.redis.servers.cluster import Cluster
from shardq.drivers.redis.servers.cluster_links import ClusterLink
from shardq.drivers.redis.servers.layout import Layout, meta_key, slot_of
from shardq.drivers.redis.servers.plain_cluster_links import PlainClusterLink
from shardq.drivers.redis.servers.suitable import check_suitable
from shardq.errors import ConfigurationError, StorageClosed, StorageUnavailable, shown

#: Version of the layout.
LAYOUT = 1
#: How many partitions a new storage in a cluster gets. Their slots lie so that each of three servers has 21 or 22, and
#: with six there are 10 for each; a worker that lies down sends a script to each of them.
IN_CLUSTER = 64
MOST_PARTITIONS = 1024


class Here:
    """What one event loop has."""

    def __init__(self, address: Address | Cluster, prefix: str) -> None:
        self.link = _link(address)
        self.copied = _link(address, copied=True)
        """For calls that wait for copies: until they have them, their connections do nothing else."""
        self.bells = Bells(address, prefix, self.link)
        if not isinstance(address, Cluster):  # whose bells are those of servers, and not of what a name stands for
            self.link.on_elsewhere = self.copied.on_elsewhere = self.bells.hang_up

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return self.link.busy or self.copied.busy or self.bells.busy

    def close(self) -> None:
        self.link.close()
        self.copied.close()
        self.bells.close()


def _link(address: Address | Cluster, *, copied: bool = False) -> Link:
    return ClusterLink(address, copied=copied) if isinstance(address, Cluster) else Link(address, copied=copied)


class _Plainly(threading.local):
    """What a thread has that calls without an event loop."""

    link: PlainLink | None = None
    pid = 0


class Server:
    """All partitions of one storage. `partitions` is how many a new storage gets; one that is there keeps its own."""

    def __init__(self, address: Address | Cluster, prefix: str, partitions: int | None) -> None:
        self.address = address
        self.prefix = prefix
        self.most_patience_s: float | None = None
        """For how long calls are tried at most; None: as each says."""
        self._partitions = partitions or (IN_CLUSTER if isinstance(address, Cluster) else 1)
        self.known: Layout | None = None
        """What `layout` gave."""
        self._here = PerLoop(lambda: Here(address, prefix))
        self._plainly = _Plainly()
        self._pid = os.getpid()
        self._closed = False

    @property
    def partitions(self) -> int:
        """How many there are, or would be in a new storage."""
        return self.known.partitions if self.known else self._partitions

    async def layout(self, patience_s: float = PATIENCE_S) -> Layout:
        """How the storage lies on the server; it is begun where it is new."""
        if self.known is None:
            if "{" in self.prefix or "}" in self.prefix:
                raise ConfigurationError(
                    f"the prefix {shown(self.prefix)} has braces, which partitions have: leave them out"
                )
            ask = partial(self.ask, patience_s=patience_s)
            await check_suitable(self.address, ask)
            key, new = meta_key(self.prefix), f"{LAYOUT} {self._partitions}".encode()
            slot = slot_of("meta")
            found = await ask(b"GET", key, slot=slot)  # first: a server without memory refuses the other
            if found is None:
                try:
                    await ask(b"SET", key, new, b"NX", slot=slot)
                except NoMemory as error:
                    raise StorageUnavailable(f"no memory for a new storage at {self.address}: {error}") from error
                found = await ask(b"GET", key, slot=slot)
            self.known = self._read(found)
        return self.known

    async def here(self) -> Here:
        if self._pid != os.getpid():  # after a fork: the connections are those of the parent
            self._here, self._pid = PerLoop(lambda: Here(self.address, self.prefix)), os.getpid()
        if self._closed:
            raise StorageClosed("this storage was closed: what it stored stays, connect to it anew")
        found: Here = await self._here.here()
        return found

    async def run(
        self,
        name: str,
        partition: int,
        arguments: dict[str, Any],
        *blobs: bytes,
        once: bool = False,
        orphan: Orphan | None = None,
        patience_s: float | None = PATIENCE_S,
    ) -> Any:
        """What a script returns. `once`: it must not be done twice where its answer is lost."""
        layout = self.known or await self.layout()
        patience_s = self._patience_s(patience_s)
        if blocking.blocking:
            link = self._plain()
            if not once:
                return link.run(layout.command(script(name), partition, arguments, *blobs), patience_s)
            with link.calls.one(partition) as call:
                return link.run(layout.command(script(name), partition, arguments | call.told, *blobs), patience_s)
        here = await self.here()
        way = self._way(here, script(name))
        if not once:
            return await way.run(layout.command(script(name), partition, arguments, *blobs), orphan, patience_s)
        with way.calls.one(partition) as call:
            command = layout.command(script(name), partition, arguments | call.told, *blobs)
            return await way.run(command, orphan, patience_s)

    async def run_each(
        self,
        name: str,
        calls: Mapping[int, tuple[dict[str, Any], Sequence[bytes]]],
        *,
        once: bool = False,
        patience_s: float | None = PATIENCE_S,
    ) -> dict[int, Any]:
        """What a script returns on several partitions, each with its own arguments and blobs; what it raises stands in
        its place. All calls are sent before the first answer is waited for, those for one server in one piece.
        """
        layout = self.known or await self.layout()
        patience_s, its = self._patience_s(patience_s), script(name)
        link: Any = self._plain() if blocking.blocking else self._way(await self.here(), its)
        with ExitStack() as due:
            made = [due.enter_context(link.calls.one(place)) for place in calls] if once else []
            commands = [
                layout.command(its, place, told | (made[at].told if once else {}), *blobs)
                for at, (place, (told, blobs)) in enumerate(calls.items())
            ]
            if blocking.blocking:
                found = link.run_each(commands, patience_s)
            else:
                found = await link.run_each(commands, patience_s, lambda at: made[at].end() if once else None)
            return dict(zip(calls, found, strict=True))

    async def run_everywhere(self, name: str, arguments: dict[str, Any], *, once: bool = False) -> list[Any]:
        """What a script returns on each partition. Raises what the first raises that does."""
        layout = self.known or await self.layout()
        if layout.partitions == 1:
            return [await self.run(name, 0, arguments, once=once)]
        found = await self.run_each(name, dict.fromkeys(layout.everywhere, (arguments, ())), once=once)
        return answers(found.values())

    async def run_on(self, key: str, name: str, arguments: dict[str, Any], *blobs: bytes, **options: Any) -> Any:
        """The same on the partition of a thread."""
        layout = self.known or await self.layout()
        return await self.run(name, layout.partition_of(key), arguments, *blobs, **options)

    async def post(self, name: str, calls: Mapping[int, dict[str, Any]]) -> None:
        """Run a script on partitions behind all that were sent, and do not wait for it."""
        layout, here = self.known or await self.layout(), await self.here()
        here.link.post(*[layout.command(script(name), place, told) for place, told in calls.items()])

    def post_soon(self, name: str, key: str, arguments: dict[str, Any]) -> None:
        """The same on the partition of a thread, in code of this loop that cannot wait."""
        here = self._here.already_here()
        if here and self.known:
            here.link.post(self.known.command(script(name), self.known.partition_of(key), arguments))

    async def reaches(self, partition: int) -> bool:
        """Whether it is worth a look what a partition has: its server was not lost a moment ago."""
        return blocking.blocking or await (await self.here()).link.reaches(slot_of(partition))

    async def note_silence(self, partition: int) -> None:
        """The server of a partition did not answer a look."""
        (await self.here()).link.silent(slot_of(partition))

    async def now_us(self) -> int:
        """Unix microseconds of the server's clock."""
        seconds, micros = await self.ask(b"TIME")
        return int(seconds) * 1_000_000 + int(micros)

    async def ask(self, *words: bytes, slot: int = 0, patience_s: float | None = PATIENCE_S) -> Any:
        """The answer to a plain command. `slot`: of a cluster, where its keys lie."""
        patience_s = self._patience_s(patience_s)
        if blocking.blocking:
            return self._plain().ask(*words, slot=slot, patience_s=patience_s)
        return await (await self.here()).link.ask(*words, slot=slot, patience_s=patience_s)

    async def at_once(self, partition: int, *commands: tuple[bytes, ...]) -> list[Any]:
        """The answers to plain commands on a partition, all of the same instant."""
        link, slot = (await self.here()).link, slot_of(partition)
        found: list[Any] = await link.at_once(*commands, slot=slot, patience_s=self._patience_s(PATIENCE_S))
        return found

    @property
    def wants_copies(self) -> bool:
        """Whether some verbs wait for copies of what they did."""
        return bool(self.address.replicas or self.address.fsync)

    @property
    def busy(self) -> bool:
        """Whether an answer is due in any event loop of this process."""
        return any(here.busy for here in self._here.all)

    async def destroy(self) -> None:
        """Remove all keys of the storage."""
        layout = await self.layout()
        for place in layout.everywhere:
            await self.ask(b"UNLINK", *layout.keys_of(place), slot=slot_of(place))
        await self.ask(b"UNLINK", meta_key(self.prefix), slot=slot_of("meta"))

    def hang_up(self) -> None:
        """Close the connection of this thread that calls without an event loop; the next call makes another."""
        if self._plainly.link:
            self._plainly.link.close()

    def close(self) -> None:
        if self._plainly.link:
            self._plainly.link.close()  # after a fork, too: the parent has a descriptor of its own
        if self._pid == os.getpid():
            self._closed = True
            self._here.close()

    def _patience_s(self, patience_s: float | None) -> float | None:
        if patience_s is None or self.most_patience_s is None:
            return self.most_patience_s if patience_s is None else patience_s
        return min(patience_s, self.most_patience_s)

    def _way(self, here: Here, its: Script) -> Link:
        return here.copied if wants_copies(self.address, its) else here.link

    def _plain(self) -> PlainLink:
        if self._closed:
            raise StorageClosed("this storage was closed: what it stored stays, connect to it anew")
        its = self._plainly
        if its.link is None or its.pid != os.getpid():
            address = self.address
            its.link = PlainClusterLink(address) if isinstance(address, Cluster) else PlainLink(address)
            its.pid = os.getpid()
        return its.link

    def _read(self, found: Any) -> Layout:
        words = found.split() if isinstance(found, bytes) else []
        if len(words) != 2 or not all(word.isdigit() for word in words):
            raise ConfigurationError(
                f"{meta_key(self.prefix).decode()} is not what shardq wrote: use another prefix, or another database"
            )
        if int(words[0]) != LAYOUT:
            raise ConfigurationError(
                f"the storage {self.prefix!r} was written by another version of shardq (layout {int(words[0])}, and "
                f"this one reads {LAYOUT}): use that version"
            )
        return Layout(self.prefix, int(words[1]))


def answers(found: Iterable[Any]) -> list[Any]:
    """What scripts returned. Raises what the first raised that did."""
    answered = list(found)
    for answer in answered:
        if isinstance(answer, Exception):
            raise answer
    return answered
