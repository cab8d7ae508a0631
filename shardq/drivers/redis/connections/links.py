"""How the calls of an event loop reach a server: one connection for each loop, made anew where it breaks. A call that
got no answer is made again: each script can tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import hiredis

from shardq.drivers.redis.connections import copies
from shardq.drivers.redis.connections.calls import Calls
from shardq.drivers.redis.connections.replies import Elsewhere, NoMemory, Outage, is_answer, lacks_script, meaning
from shardq.drivers.redis.connections.scripts import Command, Sendable, Words
from shardq.drivers.redis.connections.tries import LONGEST_PAUSE_S, LOOK_S, PATIENCE_S, Tries
from shardq.drivers.redis.connections.wire import Disconnected, Orphan, Wire, packed
from shardq.errors import ShardqError, StorageClosed, StorageUnavailable


class Link:
    """The connection of the running event loop to one server. That to a cluster has several: see `cluster`. `copied`:
    its calls wait for copies, if they are such calls, and no others are made over it.
    """

    longest_pause_s = LONGEST_PAUSE_S

    def __init__(self, address: Any, *, copied: bool = False) -> None:
        self._address = address
        self._copied = copied
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._closed = False
        self.calls = Calls()
        """Those that are made over it, as the server knows them."""
        self.on_elsewhere: Callable[[], None] | None = None
        """Called where a server says that another one has its place."""
        self.upsets = 0
        """How often a call failed or a connection broke: what a server says may be older then than what it said."""

    async def run(self, command: Sendable, orphan: Orphan | None = None, patience_s: float | None = PATIENCE_S) -> Any:
        """What the script returns. Raises what it says, `StorageUnavailable`, and `NoMemory`."""
        tries: Tries | None = None
        while True:
            try:
                wire = self._ready(command.slot) or await self._connected(command.slot)
                if self._copied:
                    reply = await _answer_with_copies(self._address, wire, command)
                else:
                    reply = await _answer(wire, command.packed, orphan)
                if isinstance(reply, hiredis.ReplyError):
                    reply = await self._settled(reply, wire, command, orphan)
                if not isinstance(reply, Exception):
                    return reply
                reason = meaning(reply)
            except (hiredis.ReplyError, Disconnected, Outage, OSError) as error:
                reason = meaning(error)
            if is_answer(reason):
                raise reason
            self._puzzled(reason, command.slot)
            tries = tries or Tries(self._address, patience_s, self.longest_pause_s)
            await asyncio.sleep(tries.pause_s(reason))

    async def run_each(
        self,
        commands: Sequence[Sendable],
        patience_s: float | None = PATIENCE_S,
        answered: Callable[[int], object] = lambda _: None,
    ) -> list[Any]:
        """The same of several, all of which are sent before the first answer is waited for. What a script says or
        raises stands in its place. `answered` is told the place of each that has its answer, while others wait.
        """

        async def run_again(place: int) -> Any:
            reply = await self._run_again(commands[place], patience_s)
            answered(place)
            return reply

        if self._copied:
            return await asyncio.gather(*map(run_again, range(len(commands))))
        sent = self._sent_together(commands)
        for place, future in enumerate(sent):
            if future is not None:
                future.add_done_callback(partial(_note_answer, partial(answered, place)))
        on_their_way = [future for future in sent if future is not None]
        if patience_s == 0 and on_their_way:
            _, late = await asyncio.wait(on_their_way, timeout=LOOK_S)
            for command, future in zip(commands, sent, strict=True):
                if future in late:
                    self.silent(command.slot)
                    future.cancel()
        replies = [await self._first_answer(future) for future in sent]
        again = [place for place, reply in enumerate(replies) if _is_to_try_again(reply)]
        if again:  # at the same time: each of them may take as long as there is patience
            for place, reply in zip(again, await asyncio.gather(*map(run_again, again)), strict=True):
                replies[place] = reply
        return replies

    async def ask(self, *words: bytes, slot: int = 0, patience_s: float | None = PATIENCE_S) -> Any:
        """The answer to a plain command, which is made again like others. `slot`: where its keys lie."""
        return await self.run(Words(packed(*words), slot), None, patience_s)

    async def at_once(self, *commands: tuple[bytes, ...], slot: int = 0, patience_s: float | None = PATIENCE_S) -> Any:
        """The answers to plain commands, all of the same instant."""
        tries: Tries | None = None
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
            self._puzzled(reason, slot)
            tries = tries or Tries(self._address, patience_s, self.longest_pause_s)
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

    async def reaches(self, slot: int) -> bool:
        """Whether it is worth a look what the server of a slot has."""
        return True

    def silent(self, slot: int) -> None:
        """The server of a slot did not answer a look."""
        self._puzzled(Disconnected(), slot)

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
                self.upsets += self._wire is not None
                self._wire = await Wire.to(self._address)
                if self._closed:
                    self._wire.close()
                self._check_open()
            return self._wire

    def _check_open(self) -> None:
        if self._closed:
            raise StorageClosed("this storage was closed: what it stored stays, connect to it anew")

    async def _settled(self, reply: Any, wire: Wire, command: Sendable, orphan: Orphan | None) -> Any:
        """The answer, an error too, where the first one was an error: to a server without the script it is sent."""
        return await _answer(wire, command.with_text, orphan) if lacks_script(reply) else reply

    async def _answered(self, wire: Wire, command: Sendable, orphan: Orphan | None, *, asking: bool = False) -> Any:
        """The answer, an error too. `asking`: to a server that is about to have the keys."""
        if self._copied:
            return await _answer_with_copies(self._address, wire, command, asking=asking)
        return await answer_with_script(wire, command, orphan, asking=asking)

    def _puzzled(self, reason: Exception, slot: int) -> None:
        """A call failed: what is known of the servers may be no longer true."""
        self.upsets += 1
        if isinstance(reason, Elsewhere):
            if self._wire is not None:
                self._wire.close()
            if self.on_elsewhere:
                self.on_elsewhere()

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

    async def _first_answer(self, future: asyncio.Future[Any] | None) -> Any:
        """The answer that is on its way, an error too. None: nothing was sent."""
        if future is not None and future.cancelled():
            return StorageUnavailable(f"no answer from {self._address} in {LOOK_S} s")
        return None if future is None else await future

    async def _run_again(self, command: Sendable, patience_s: float | None) -> Any:
        """The answer of another try, an error too."""
        try:
            return await self.run(command, None, patience_s)
        except (ShardqError, NoMemory) as error:
            return error


def _note_answer(answered: Callable[[], object], sent: asyncio.Future[Any]) -> None:
    if not sent.cancelled() and not _is_to_try_again(sent.result()):
        answered()


def _is_to_try_again(reply: Any) -> bool:
    return reply is None or (isinstance(reply, Exception) and not isinstance(reply, StorageUnavailable))


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
    if not isinstance(reply, Exception) and copies.did_something(reply):
        copies.check(address, await asyncio.shield(confirmed))
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
