"""How the calls of a thread without an event loop reach a server: one connection for each thread, made anew where it
breaks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import hiredis

from shardq.drivers.redis.connections import copies
from shardq.drivers.redis.connections.calls import Calls
from shardq.drivers.redis.connections.replies import Elsewhere, NoMemory, Outage, is_answer, lacks_script, meaning
from shardq.drivers.redis.connections.scripts import Command, Sendable, Words
from shardq.drivers.redis.connections.tries import LONGEST_PAUSE_S, PATIENCE_S, Tries
from shardq.drivers.redis.connections.wire import Disconnected, PlainWire, packed
from shardq.errors import ShardqError, StorageBusy


class PlainLink:
    """The connection of a thread that may not suspend: it blocks the thread."""

    longest_pause_s = LONGEST_PAUSE_S

    def __init__(self, address: Any) -> None:
        self._address = address
        self._wire: PlainWire | None = None
        self._is_used = False
        self.calls = Calls()
        """See `Link`."""

    def run(self, command: Sendable, patience_s: float | None = PATIENCE_S) -> Any:
        """See `Link.run`."""
        with self._used():
            return self._run(command, patience_s)

    def run_each(self, commands: Sequence[Sendable], patience_s: float | None = PATIENCE_S) -> list[Any]:
        """See `Link.run_each`. Those that want copies one after the other."""
        replies: list[Any] = [None] * len(commands)
        if not any(_wants_copies(self._address, command) for command in commands):
            with self._used():
                replies = self._sent_together(commands)
        ends = None if patience_s is None else time.monotonic() + patience_s
        return [
            self._run_again(command, ends) if reply is None or isinstance(reply, Exception) else reply
            for command, reply in zip(commands, replies, strict=True)
        ]

    def ask(self, *words: bytes, slot: int = 0, patience_s: float | None = PATIENCE_S) -> Any:
        """See `Link.ask`."""
        return self.run(Words(packed(*words), slot), patience_s)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Raises `StorageBusy`."""
        if self._is_used:
            raise StorageBusy("this thread is inside the storage already: a signal handler must not call it")
        self._is_used = True
        try:
            yield
        finally:
            self._is_used = False

    def _sent_together(self, commands: Sequence[Sendable]) -> list[Any]:
        """The answers, errors too, to commands that are sent before the first answer is waited for; None for those
        whose server has no connection now.
        """
        wires = [self._ready(command.slot) for command in commands]
        try:
            for wire in dict.fromkeys(wires):
                if wire:
                    its = [command.packed for command, at in zip(commands, wires, strict=True) if at is wire]
                    with suppress(Disconnected):
                        wire.send(b"".join(its))
            broken, replies = dict[PlainWire, Disconnected](), list[Any]()
            for wire in wires:
                reply = wire and (broken.get(wire) or _next_answer(wire))
                if wire and isinstance(reply, Disconnected):
                    broken[wire] = reply  # not waited for again
                replies.append(reply)
        except BaseException:  # a signal interrupted it, and answers are still to come
            self.close()
            raise
        for wire in broken:
            self._hang_up(wire)
        return replies

    def _run(self, command: Sendable, patience_s: float | None) -> Any:
        tries: Tries | None = None
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
            tries = tries or Tries(self._address, patience_s, self.longest_pause_s)
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

    def _ready(self, slot: int) -> PlainWire | None:
        """See `Link`."""
        return self._wire

    def _hang_up(self, wire: PlainWire) -> None:
        """Close a connection that broke."""
        self.close()

    def _run_again(self, command: Sendable, ends: float | None) -> Any:
        """`ends`: until when it is tried again, monotonic."""
        try:
            return self.run(command, None if ends is None else max(0.0, ends - time.monotonic()))
        except (ShardqError, NoMemory) as error:
            return error


def _next_answer(wire: PlainWire) -> Any:
    """The answer, an error too."""
    try:
        return wire.answer()
    except Disconnected as error:
        return error


def plain_answer(address: Any, wire: PlainWire, command: Sendable, *, asking: bool = False) -> Any:
    """The answer, once there are the copies that are wanted. Raises what the server says, and `TooFewCopies`. `asking`:
    see `answer_with_script`.
    """
    question = [copies.question(address)] if _wants_copies(address, command) else []
    before = [packed(b"ASKING")] if asking else []
    for text in (command.packed, command.with_text):
        reply, *confirmed = wire.ask_all(*before, text, *question)[len(before) :]
        if not (isinstance(reply, hiredis.ReplyError) and lacks_script(reply)):
            break
    if isinstance(reply, Exception):
        raise reply
    if confirmed and copies.did_something(reply):
        copies.check(address, confirmed[0])
    return reply


def _wants_copies(address: Any, command: Sendable) -> bool:
    return isinstance(command, Command) and copies.wants_copies(address, command.script)
