"""The server as the verbs see it: scripts on partitions, from any event loop and any thread."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import Any

from shardq.blocking import here as blocking
from shardq.drivers.redis.address import Address
from shardq.drivers.redis.bells import Bell
from shardq.drivers.redis.calls import Calls
from shardq.drivers.redis.copies import wants_copies
from shardq.drivers.redis.layout import Layout, meta_key
from shardq.drivers.redis.links import PATIENCE_S, Link, PerLoop, PlainLink
from shardq.drivers.redis.replies import NoMemory
from shardq.drivers.redis.scripts import script
from shardq.drivers.redis.suitable import check_suitable
from shardq.drivers.redis.wire import Orphan
from shardq.errors import ConfigurationError, StorageClosed, StorageUnavailable

#: Version of the layout.
LAYOUT = 1


class Here:
    """What one event loop has."""

    def __init__(self, address: Address, prefix: str) -> None:
        self.link = Link(address)
        self.copied = Link(address)
        """For calls that wait for copies: until they have them, their connection does nothing else."""
        self.bell = Bell(address, prefix)
        self.calls = Calls()

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return self.link.busy or self.copied.busy or self.bell.busy

    def close(self) -> None:
        self.link.close()
        self.copied.close()
        self.bell.close()


class _Plainly(threading.local):
    """What a thread has that calls without an event loop."""

    link: PlainLink | None = None
    pid = 0
    calls: Calls


class Server:
    """All partitions of one storage. `partitions` is how many a new storage gets; one that is there keeps its own."""

    def __init__(self, address: Address, prefix: str, partitions: int) -> None:
        self.address = address
        self.prefix = prefix
        self.most_patience_s: float | None = None
        """For how long calls are tried at most; None: as each says."""
        self._partitions = partitions
        self._layout: Layout | None = None
        self._here = PerLoop(lambda: Here(address, prefix))
        self._plainly = _Plainly()
        self._pid = os.getpid()
        self._closed = False

    async def layout(self, patience_s: float = PATIENCE_S) -> Layout:
        """How the storage lies on the server; it is begun where it is new."""
        if self._layout is None:
            ask = partial(self.ask, patience_s=patience_s)
            await check_suitable(self.address, ask)
            key, new = meta_key(self.prefix), f"{LAYOUT} {self._partitions}".encode()
            found = await ask(b"GET", key)  # first: a server without memory refuses the other
            if found is None:
                try:
                    await ask(b"SET", key, new, b"NX")
                except NoMemory as error:
                    raise StorageUnavailable(f"no memory for a new storage at {self.address}: {error}") from error
                found = await ask(b"GET", key)
            self._layout = self._read(found)
        return self._layout

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
        layout = self._layout or await self.layout()
        patience_s = self._patience_s(patience_s)
        if blocking.blocking:
            link, calls = self._plain(), self._plainly.calls
            if not once:
                return link.run(layout.command(script(name), partition, arguments, *blobs), patience_s)
            with calls.one() as call:
                return link.run(layout.command(script(name), partition, arguments | call, *blobs), patience_s)
        here = await self.here()
        way = here.copied if wants_copies(self.address, script(name)) else here.link
        if not once:
            return await way.run(layout.command(script(name), partition, arguments, *blobs), orphan, patience_s)
        with here.calls.one() as call:
            command = layout.command(script(name), partition, arguments | call, *blobs)
            return await way.run(command, orphan, patience_s)

    async def run_on(self, key: str, name: str, arguments: dict[str, Any], *blobs: bytes, **options: Any) -> Any:
        """The same on the partition of a thread."""
        layout = self._layout or await self.layout()
        return await self.run(name, layout.partition_of(key), arguments, *blobs, **options)

    async def post(self, name: str, partition: int, arguments: dict[str, Any]) -> None:
        """Run a script behind all that were sent, and do not wait for it."""
        layout, here = self._layout or await self.layout(), await self.here()
        here.link.post(layout.command(script(name), partition, arguments))

    def post_soon(self, name: str, key: str, arguments: dict[str, Any]) -> None:
        """The same on the partition of a thread, in code of this loop that cannot wait."""
        here = self._here.already_here()
        if here and self._layout:
            here.link.post(self._layout.command(script(name), self._layout.partition_of(key), arguments))

    async def now_us(self) -> int:
        """Unix microseconds of the server's clock."""
        seconds, micros = await self.ask(b"TIME")
        return int(seconds) * 1_000_000 + int(micros)

    async def ask(self, *words: bytes, patience_s: float | None = PATIENCE_S) -> Any:
        """The answer to a plain command."""
        if blocking.blocking:
            return self._plain().ask(*words, patience_s=self._patience_s(patience_s))
        return await (await self.here()).link.ask(*words, patience_s=self._patience_s(patience_s))

    async def at_once(self, *commands: tuple[bytes, ...]) -> list[Any]:
        """The answers to plain commands, all of the same instant."""
        return await (await self.here()).link.at_once(*commands, patience_s=self._patience_s(PATIENCE_S))

    @property
    def busy(self) -> bool:
        """Whether an answer is due in any event loop of this process."""
        return any(here.busy for here in self._here.all)

    async def destroy(self) -> None:
        """Remove all keys of the storage."""
        await self.ask(b"UNLINK", *(await self.layout()).all_keys())

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

    def _plain(self) -> PlainLink:
        if self._closed:
            raise StorageClosed("this storage was closed: what it stored stays, connect to it anew")
        its = self._plainly
        if its.link is None or its.pid != os.getpid():
            its.link, its.calls, its.pid = PlainLink(self.address), Calls(), os.getpid()
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
