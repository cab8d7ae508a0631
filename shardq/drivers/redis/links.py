"""How calls reach the server: one connection for each event loop, and for each thread without one; made anew where it
breaks. A call that got no answer is made again: each script can tell.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import hiredis

from shardq.drivers.redis import copies
from shardq.drivers.redis.replies import Elsewhere, NoMemory, Outage, TooFewCopies, is_answer, lacks_script, meaning
from shardq.drivers.redis.scripts import Command
from shardq.drivers.redis.wire import Disconnected, Orphan, PlainWire, Wire, packed
from shardq.errors import ShardqError, StorageBusy, StorageClosed, StorageUnavailable, StorageUnconfirmed

log = logging.getLogger("shardq.storage")

#: Seconds of a pause before the next try, at most: at first, and in the end.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
#: Seconds for which a call is tried where its caller does not wait without end.
PATIENCE_S = 60.0


class _Tries:
    """The tries of one call."""

    def __init__(self, address: Any, patience_s: float | None) -> None:
        self._address = address
        self._ends = None if patience_s is None else time.monotonic() + patience_s
        self._count = 0

    def pause_s(self, reason: Exception) -> float:
        """Seconds until the next try. Raises `StorageUnavailable` where there is none."""
        if self._ends is not None and time.monotonic() >= self._ends:
            raise self._given_up(reason) from reason
        if not self._count:
            log.warning("server not available", extra={"server": str(self._address), "reason": _said(reason)})
        self._count += 1
        return random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._count, 10)))

    def _given_up(self, reason: Exception) -> StorageUnavailable:
        if not isinstance(reason, TooFewCopies):
            return StorageUnavailable(f"no answer from {self._address}: {_said(reason)}")
        return StorageUnconfirmed(
            f"it is done at {self._address}, but copies of it were not confirmed in time: {reason}. What was "
            f"registered is handled like everything else, and lost if that server is lost before it is copied. Do not "
            f"register it again: it would be handled twice"
        )


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
    """The connection of the running event loop to one server. That to a cluster has several: see `cluster`. `copied`:
    its calls wait for copies, if they are such calls, and no others are made over it.
    """

    def __init__(self, address: Any, *, copied: bool = False) -> None:
        self._address = address
        self._copied = copied
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def run(self, command: Sendable, orphan: Orphan | None = None, patience_s: float | None = PATIENCE_S) -> Any:
        """What the script returns. Raises what it says, `StorageUnavailable`, and `NoMemory`."""
        tries: _Tries | None = None
        while True:
            try:
                reply = await self._told(command, orphan)
                if not isinstance(reply, Exception):
                    return reply
                reason = meaning(reply)
            except (hiredis.ReplyError, Disconnected, Outage, OSError) as error:
                reason = meaning(error)
            if is_answer(reason):
                raise reason
            self._puzzled(reason)
            tries = tries or _Tries(self._address, patience_s)
            await asyncio.sleep(tries.pause_s(reason))

    async def run_each(self, commands: Sequence[Sendable], patience_s: float | None = PATIENCE_S) -> list[Any]:
        """The same of several, all of which are sent before the first answer is waited for. What a script says or
        raises stands in its place.
        """
        if self._copied:
            return await asyncio.gather(*[self._run_again(command, None, patience_s) for command in commands])
        sent = self._sent_together(commands)
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
                reason = meaning(wrong)
            except (hiredis.ReplyError, Disconnected, Outage, OSError) as error:
                reason = meaning(error)
            if is_answer(reason):
                raise reason
            self._puzzled(reason)
            tries = tries or _Tries(self._address, patience_s)
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
        self._closed = True
        if self._wire is not None:
            self._wire.close()

    def _ready(self, slot: int) -> Wire | None:
        """The connection for a slot, where there is one."""
        return None if self._wire is None or self._wire.lost else self._wire

    async def _connected(self, slot: int) -> Wire:
        """The same, made where there is none."""
        async with self._connecting:
            self._check_open()
            if self._wire is None or self._wire.lost:
                self._wire = await Wire.to(self._address)
                if self._closed:
                    self._wire.close()
                self._check_open()
            return self._wire

    def _check_open(self) -> None:
        if self._closed:
            raise StorageClosed("this storage was closed: what it stored stays, connect to it anew")

    async def _told(self, command: Sendable, orphan: Orphan | None) -> Any:
        """The answer, an error too, of the server that has the keys."""
        wire = self._ready(command.slot) or await self._connected(command.slot)
        return await self._answered(wire, command, orphan)

    async def _answered(self, wire: Wire, command: Sendable, orphan: Orphan | None, *, asking: bool = False) -> Any:
        """The answer, an error too. `asking`: to a server that is about to have the keys."""
        if self._copied:
            return await _answer_with_copies(self._address, wire, command, asking=asking)
        return await answer_with_script(wire, command, orphan, asking=asking)

    def _puzzled(self, reason: Exception) -> None:
        """A call failed: what is known of the servers may be no longer true."""
        if self._wire is not None and isinstance(reason, Elsewhere):
            self._wire.close()

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


async def _answer_with_copies(address: Any, wire: Wire, command: Sendable, *, asking: bool = False) -> Any:
    """The same, once there are copies of what it did. Raises `TooFewCopies`."""
    its = copies.of(wire, address)
    for text in (command.packed, command.with_text):
        if asking:
            wire.post(packed(b"ASKING"))
        answer, confirmed = wire.sent(text), its.of_what_was_sent()
        reply = await answer
        if not (isinstance(reply, hiredis.ReplyError) and lacks_script(reply)):
            break
    if not isinstance(reply, Exception) and _did_something(reply):
        copies.check(address, await asyncio.shield(confirmed))
    return reply


def _did_something(reply: Any) -> bool:
    """Whether a script says that it did what it was asked for."""
    return not (isinstance(reply, int) and reply < 0)


async def _answer(wire: Wire, command: bytes, orphan: Orphan | None, asking: bool) -> Any:
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

    def __init__(self, address: Any) -> None:
        self._address = address
        self._wire: PlainWire | None = None
        self._is_used = False

    def run(self, command: Sendable, patience_s: float | None = PATIENCE_S) -> Any:
        """See `Link.run`."""
        if self._is_used:
            raise StorageBusy("this thread is inside the storage already: a signal handler must not call it")
        self._is_used = True
        try:
            return self._run(command, patience_s)
        finally:
            self._is_used = False

    def run_each(self, commands: Sequence[Sendable], patience_s: float | None = PATIENCE_S) -> list[Any]:
        """See `Link.run_each`. One after the other."""
        return [self._answer(command, patience_s) for command in commands]

    def ask(self, *words: bytes, slot: int = 0, patience_s: float | None = PATIENCE_S) -> Any:
        """See `Link.ask`."""
        return self.run(Words(packed(*words), slot), patience_s)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _run(self, command: Sendable, patience_s: float | None) -> Any:
        tries: _Tries | None = None
        while True:
            try:
                return self._told(command)
            except (hiredis.ReplyError, Outage) as error:
                reason = meaning(error)
            except (Disconnected, OSError) as error:
                reason = meaning(error)
                self.close()
            except BaseException:  # a signal interrupted it, and the answer is still to come
                self.close()
                raise
            if is_answer(reason):
                raise reason
            self._puzzled(reason)
            tries = tries or _Tries(self._address, patience_s)
            time.sleep(tries.pause_s(reason))

    def _told(self, command: Sendable) -> Any:
        """The answer of the server that has the keys. Raises what it says."""
        if self._wire is None:
            self._wire = PlainWire(self._address)
        return plain_answer(self._address, self._wire, command)

    def _puzzled(self, reason: Exception) -> None:
        """See `Link`."""
        if isinstance(reason, Elsewhere):
            self.close()

    def _answer(self, command: Sendable, patience_s: float | None) -> Any:
        try:
            return self.run(command, patience_s)
        except (ShardqError, NoMemory) as error:
            return error


def plain_answer(address: Any, wire: PlainWire, command: Sendable, *, asking: bool = False) -> Any:
    """The answer, once there are the copies that are wanted. Raises what the server says, and `TooFewCopies`. `asking`:
    see `answer_with_script`.
    """
    wants = isinstance(command, Command) and copies.wants_copies(address, command.script)
    question = [copies.question(address)] if wants else []
    before = [packed(b"ASKING")] if asking else []
    for text in (command.packed, command.with_text):
        reply, *confirmed = wire.ask_all(*before, text, *question)[len(before) :]
        if not (isinstance(reply, hiredis.ReplyError) and lacks_script(reply)):
            break
    if isinstance(reply, Exception):
        raise reply
    if confirmed and _did_something(reply):
        copies.check(address, confirmed[0])
    return reply
