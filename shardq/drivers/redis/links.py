"""How calls reach the server: one connection for each event loop, and for each thread without one; made anew where it
breaks. A call that got no answer is made again: each script can tell.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import hiredis

from shardq.drivers.redis.replies import NoMemory, Outage, is_answer, lacks_script, meaning
from shardq.drivers.redis.scripts import Command
from shardq.drivers.redis.wire import Disconnected, Orphan, PlainWire, Wire, packed
from shardq.errors import ShardqError, StorageUnavailable

log = logging.getLogger("shardq.storage")

#: Seconds of a pause before the next try, at most: at first, and in the end.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
#: Seconds for which several answers are waited for where each is wanted only if it can be had.
LOOK_S = 1.0
#: Seconds for which a call is tried where its caller does not wait without end.
PATIENCE_S = 60.0


class _Tries:
    """The tries of one call."""

    def __init__(self, address: Any, patience_s: float | None, longest_pause_s: float) -> None:
        self._address, self._longest_pause_s = address, longest_pause_s
        self._ends = None if patience_s is None else time.monotonic() + patience_s
        self._count = 0

    def pause_s(self, reason: Exception) -> float:
        """Seconds until the next try. Raises `StorageUnavailable` where there is none."""
        if self._ends is not None and time.monotonic() >= self._ends:
            raise StorageUnavailable(f"no answer from {self._address}: {_said(reason)}") from reason
        if not self._count:
            log.warning("server not available", extra={"server": str(self._address), "reason": _said(reason)})
        self._count += 1
        return random.uniform(0, min(self._longest_pause_s, FIRST_PAUSE_S * 2 ** min(self._count, 10)))


def _said(reason: Exception) -> str:
    return str(reason) or "the connection ended" if not isinstance(reason, TimeoutError) else "no answer in time"


class Words(NamedTuple):
    """A plain command."""

    packed: bytes
    slot: int = 0

    @property
    def with_text(self) -> bytes:
        return self.packed


#: What a connection sends.
Sendable = Command | Words


class Link:
    """The connection of the running event loop to one server. That to a cluster has several: see `cluster`."""

    longest_pause_s = LONGEST_PAUSE_S

    def __init__(self, address: Any) -> None:
        self._address = address
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self.closed = False

    async def run(self, command: Sendable, orphan: Orphan | None = None, patience_s: float | None = PATIENCE_S) -> Any:
        """What the script returns. Raises what it says, `StorageUnavailable`, and `NoMemory`."""
        tries: _Tries | None = None
        while True:
            try:
                wire = self._ready(command.slot) or await self._connected(command.slot)
                reply = await _answer(wire, command.packed, orphan)
                if isinstance(reply, hiredis.ReplyError):
                    reply = await self._settled(reply, wire, command, orphan)
                if not isinstance(reply, Exception):
                    return reply
                reason: Exception = reply if isinstance(reply, Disconnected) else meaning(reply)
            except hiredis.ReplyError as error:
                reason = meaning(error)
            except (Disconnected, Outage, OSError) as error:
                reason = error
            if is_answer(reason):
                raise reason
            self._puzzled()
            tries = tries or _Tries(self._address, patience_s, self.longest_pause_s)
            await asyncio.sleep(tries.pause_s(reason))

    async def run_each(self, commands: Sequence[Sendable], patience_s: float | None = PATIENCE_S) -> list[Any]:
        """The same of several, all of which are sent before the first answer is waited for. What a script says or
        raises stands in its place.
        """
        sent = self._sent_together(commands)
        on_their_way = [future for future in sent if future is not None]
        if patience_s == 0 and on_their_way:
            _, late = await asyncio.wait(on_their_way, timeout=LOOK_S)
            for future in late:
                self._puzzled()
                future.cancel()
        return [
            await self._run_again(command, future, patience_s) for command, future in zip(commands, sent, strict=True)
        ]

    async def ask(self, *words: bytes, slot: int = 0, patience_s: float | None = PATIENCE_S) -> Any:
        """The answer to a plain command, which is made again like others. `slot`: where its keys lie."""
        return await self.run(Words(packed(*words), slot), None, patience_s)

    async def at_once(self, *commands: tuple[bytes, ...], slot: int = 0, patience_s: float | None = PATIENCE_S) -> Any:
        """The answers to plain commands, all of the same instant."""
        tries: _Tries | None = None
        while True:
            try:
                wire = self._ready(slot) or await self._connected(slot)
                futures = [wire.sent(packed(*words)) for words in ((b"MULTI",), *commands, (b"EXEC",))]
                replies = [await future for future in futures]
                wrong = next((reply for reply in replies if isinstance(reply, Exception)), None)
                if wrong is None:
                    return replies[-1]
                reason: Exception = wrong if isinstance(wrong, Disconnected) else meaning(wrong)
            except hiredis.ReplyError as error:
                reason = meaning(error)
            except (Disconnected, Outage, OSError) as error:
                reason = error
            if is_answer(reason):
                raise reason
            self._puzzled()
            tries = tries or _Tries(self._address, patience_s, self.longest_pause_s)
            await asyncio.sleep(tries.pause_s(reason))

    def post(self, *commands: Command) -> None:
        """Send calls whose answers do not matter, behind all that were sent. Without a connection they are lost."""
        for command, future in zip(commands, self._sent_together(commands), strict=True):
            if future is not None:
                future.add_done_callback(partial(self._posted, command))

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return self._connecting.locked() or (self._wire is not None and self._wire.busy)

    def close(self) -> None:
        self.closed = True
        if self._wire is not None:
            self._wire.close()

    def _ready(self, slot: int) -> Wire | None:
        """The connection for a slot, where there is one."""
        return None if self._wire is None or self._wire.lost else self._wire

    async def _connected(self, slot: int) -> Wire:
        """The same, made where there is none."""
        async with self._connecting:
            if self._wire is None or self._wire.lost:
                self._wire = await Wire.to(self._address)
            return self._wire

    async def _settled(self, reply: Any, wire: Wire, command: Sendable, orphan: Orphan | None) -> Any:
        """The answer, an error too, where the first one was an error: to a server without the script it is sent."""
        return await _answer(wire, command.with_text, orphan) if lacks_script(reply) else reply

    def _puzzled(self) -> None:
        """A call failed: what is known of the servers may be no longer true."""

    def _posted(self, command: Command, future: asyncio.Future[Any]) -> None:
        reply = None if future.cancelled() else future.result()
        wire = self._ready(command.slot)
        if isinstance(reply, hiredis.ReplyError) and lacks_script(reply) and wire:
            wire.post(command.with_text)

    def _sent_together(self, commands: Sequence[Sendable]) -> list[asyncio.Future[Any] | None]:
        """Send all, those for one connection in one piece; None for those that have none now."""
        wires = [self._ready(command.slot) for command in commands]
        sent: dict[Wire, list[asyncio.Future[Any]]] = {
            wire: wire.sent_together(
                [command.packed for command, its in zip(commands, wires, strict=True) if its is wire]
            )
            for wire in dict.fromkeys(wires)
            if wire is not None
        }
        following = {wire: iter(futures) for wire, futures in sent.items()}
        return [None if wire is None else next(following[wire]) for wire in wires]

    async def _run_again(self, command: Sendable, future: asyncio.Future[Any] | None, patience_s: float | None) -> Any:
        """The answer that is on its way, or that of another try; an error too."""
        if future is not None and future.cancelled():
            return StorageUnavailable(f"no answer from {self._address} in {LOOK_S} s")
        reply = None if future is None else await future
        if future is not None and not isinstance(reply, Exception):
            return reply
        try:
            return await self.run(command, None, patience_s)
        except (ShardqError, NoMemory) as error:
            return error


async def answer_with_script(wire: Wire, command: Sendable, orphan: Orphan | None, *, asking: bool = False) -> Any:
    """The answer, an error too. `asking`: to a server that is about to have the keys."""
    reply = await _answer(wire, command.packed, orphan, asking)
    if isinstance(reply, hiredis.ReplyError) and lacks_script(reply):
        reply = await _answer(wire, command.with_text, orphan, asking)
    return reply


async def _answer(wire: Wire, command: bytes, orphan: Orphan | None, asking: bool = False) -> Any:
    """The answer, an error too. Where the caller is cancelled, `orphan` is given it."""
    if asking:
        wire.post(packed(b"ASKING"))
    future = wire.sent(command, orphan)
    try:
        return await future
    except asyncio.CancelledError:
        if orphan and not future.cancelled():  # it was there already, when the cancellation came
            orphan(future.result())
        raise


class PlainLink:
    """The connection of a thread that may not suspend: it blocks the thread."""

    longest_pause_s = LONGEST_PAUSE_S

    def __init__(self, address: Any) -> None:
        self._address = address
        self._wire: PlainWire | None = None

    def run(self, command: Sendable, patience_s: float | None = PATIENCE_S) -> Any:
        """See `Link.run`."""
        tries: _Tries | None = None
        while True:
            try:
                return self._told(command)
            except hiredis.ReplyError as error:
                reason = meaning(error)
            except (Disconnected, Outage, OSError) as error:
                reason = error
                self.close()
            if is_answer(reason):
                raise reason
            self._puzzled()
            tries = tries or _Tries(self._address, patience_s, self.longest_pause_s)
            time.sleep(tries.pause_s(reason))

    def run_each(self, commands: Sequence[Sendable], patience_s: float | None = PATIENCE_S) -> list[Any]:
        """See `Link.run_each`."""
        wires = [self._ready(command.slot) for command in commands]
        for wire in dict.fromkeys(wires):
            if wire:
                its = [command.packed for command, at in zip(commands, wires, strict=True) if at is wire]
                with suppress(Disconnected):
                    wire.send(b"".join(its))
        replies = [wire and _next_answer(wire) for wire in wires]
        for wire, reply in zip(wires, replies, strict=True):
            if wire and isinstance(reply, Disconnected):
                self._hang_up(wire)
        return [
            self._run_again(command, patience_s) if wire is None or isinstance(reply, Exception) else reply
            for command, wire, reply in zip(commands, wires, replies, strict=True)
        ]

    def ask(self, *words: bytes, slot: int = 0, patience_s: float | None = PATIENCE_S) -> Any:
        """See `Link.ask`."""
        return self.run(Words(packed(*words), slot), patience_s)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _told(self, command: Sendable) -> Any:
        """The answer of the server that has the keys. Raises what it says."""
        if self._wire is None:
            self._wire = PlainWire(self._address)
        return plain_answer(self._wire, command)

    def _puzzled(self) -> None:
        """See `Link`."""

    def _ready(self, slot: int) -> PlainWire | None:
        """See `Link`."""
        return self._wire

    def _hang_up(self, wire: PlainWire) -> None:
        """Close a connection that broke."""
        self.close()

    def _run_again(self, command: Sendable, patience_s: float | None) -> Any:
        try:
            return self.run(command, patience_s)
        except (ShardqError, NoMemory) as error:
            return error


def _next_answer(wire: PlainWire) -> Any:
    """The answer, an error too."""
    try:
        return wire.answer()
    except (hiredis.ReplyError, Disconnected) as error:
        return error


def plain_answer(wire: PlainWire, command: Sendable, *, asking: bool = False) -> Any:
    """See `answer_with_script`. Raises what the server says."""
    if asking:
        wire.ask(packed(b"ASKING"))
    try:
        return wire.ask(command.packed)
    except hiredis.ReplyError as error:
        if not lacks_script(error):
            raise
    if asking:
        wire.ask(packed(b"ASKING"))
    return wire.ask(command.with_text)


class PerLoop:
    """One thing for each running event loop, closed when the loop ends."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]] = {}
        self._lock = threading.Lock()

    async def here(self) -> Any:
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found:
            return found[0]
        made = self._make()
        ending = self._until_loop_ends(loop, made)
        with self._lock:
            self._made[loop] = made, ending
        await anext(ending)  # so the loop knows of it, and closes it in its end
        return made

    @property
    def all(self) -> list[Any]:
        return [made for made, _ in list(self._made.values())]

    def already_here(self) -> Any:
        """The one of this loop, None where there is none yet."""
        found = self._made.get(asyncio.get_running_loop())
        return found and found[0]

    def close(self) -> None:
        """Close those of this loop at once, and those of others in their loops."""
        with self._lock:
            made, self._made = self._made, {}
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for loop, (its, _) in made.items():
            if loop is running:
                its.close()
            else:
                with suppress(RuntimeError):  # the loop is closed, and closed it
                    loop.call_soon_threadsafe(its.close)

    async def _until_loop_ends(self, loop: asyncio.AbstractEventLoop, made: Any) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                self._made.pop(loop, None)
            made.close()
