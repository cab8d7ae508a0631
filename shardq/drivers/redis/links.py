"""How calls reach the server: one connection for each event loop, and for each thread without one; made anew where it
breaks. A call that got no answer is made again: each script can tell.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import hiredis

from shardq.drivers.redis import copies
from shardq.drivers.redis.address import Address
from shardq.drivers.redis.replies import Elsewhere, Outage, TooFewCopies, is_answer, lacks_script, meaning
from shardq.drivers.redis.scripts import Command
from shardq.drivers.redis.wire import Disconnected, Orphan, PlainWire, Wire, packed
from shardq.errors import StorageBusy, StorageClosed, StorageUnavailable, StorageUnconfirmed

log = logging.getLogger("shardq.storage")

#: Seconds of a pause before the next try, at most: at first, and in the end.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
#: Seconds for which a call is tried where its caller does not wait without end.
PATIENCE_S = 60.0


class _Tries:
    """The tries of one call."""

    def __init__(self, address: Address, patience_s: float | None) -> None:
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


class Link:
    """A connection of the running event loop, made anew where it broke."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def run(self, command: Command, orphan: Orphan | None = None, patience_s: float | None = PATIENCE_S) -> Any:
        """What the script returns. Raises what it says, `StorageUnavailable`, and `NoMemory`."""
        if copies.wants_copies(self._address, command.script):
            return await self._tried(partial(_run_copied, self._address, command), patience_s)
        return await self._tried(partial(_run, command, orphan), patience_s)

    async def ask(self, *words: bytes, patience_s: float | None = PATIENCE_S) -> Any:
        """The answer to a plain command, which is made again like others."""
        return await self._tried(lambda wire: wire.ask(packed(*words)), patience_s)

    async def at_once(self, *commands: tuple[bytes, ...], patience_s: float | None = PATIENCE_S) -> list[Any]:
        """The answers to plain commands, all of the same instant."""
        found: list[Any] = await self._tried(partial(_at_once, commands), patience_s)
        return found

    def post(self, command: Command) -> None:
        """Send a call whose answer does not matter, behind all that were sent. Without a connection it is lost."""
        wire = self._wire
        if wire is None or wire.lost:
            return

        def look(answer: asyncio.Future[Any]) -> None:
            reply = None if answer.cancelled() else answer.result()
            if isinstance(reply, hiredis.ReplyError) and lacks_script(reply):
                wire.post(command.with_text)

        wire.sent(command.packed).add_done_callback(look)

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return self._connecting.locked() or (self._wire is not None and self._wire.busy)

    def close(self) -> None:
        self._closed = True
        if self._wire is not None:
            self._wire.close()

    async def _tried(self, act: Callable[[Wire], Awaitable[Any]], patience_s: float | None) -> Any:
        tries: _Tries | None = None
        while True:
            wire = self._wire
            try:
                if wire is None or wire.lost:
                    wire = await self._connected()
                return await act(wire)
            except (hiredis.ReplyError, Disconnected, OSError, Outage) as error:
                reason = meaning(error)
            if is_answer(reason):
                raise reason
            if wire and isinstance(reason, Elsewhere):
                wire.close()
            tries = tries or _Tries(self._address, patience_s)
            await asyncio.sleep(tries.pause_s(reason))

    async def _connected(self) -> Wire:
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


async def _run_copied(address: Address, command: Command, wire: Wire) -> Any:
    """What the script returns, once there are copies of what it did."""
    its = copies.of(wire, address)
    answer, confirmed = wire.sent(command.packed), its.of_what_was_sent()
    reply = await answer
    if isinstance(reply, hiredis.ReplyError) and lacks_script(reply):
        answer, confirmed = wire.sent(command.with_text), its.of_what_was_sent()
        reply = await answer
    if isinstance(reply, Exception):
        raise reply
    if _did_something(reply):
        copies.check(address, await asyncio.shield(confirmed))
    return reply


async def _run(command: Command, orphan: Orphan | None, wire: Wire) -> Any:
    reply = await _answer(wire, command.packed, orphan)
    if isinstance(reply, hiredis.ReplyError) and lacks_script(reply):
        reply = await _answer(wire, command.with_text, orphan)
    if isinstance(reply, Exception):
        raise reply
    return reply


async def _at_once(commands: Sequence[tuple[bytes, ...]], wire: Wire) -> Any:
    futures = [wire.sent(packed(*words)) for words in ((b"MULTI",), *commands, (b"EXEC",))]
    *_, answers = [await future for future in futures]
    if isinstance(answers, Exception):
        raise answers
    return answers


async def _answer(wire: Wire, command: bytes, orphan: Orphan | None) -> Any:
    """The answer, an error too. Where the caller is cancelled, `orphan` is given it."""
    future = wire.sent(command, orphan)
    try:
        return await future
    except asyncio.CancelledError:
        if orphan and not future.cancelled():  # it was there already, when the cancellation came
            orphan(future.result())
        raise


class PlainLink:
    """The connection of a thread that may not suspend: it blocks the thread."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._wire: PlainWire | None = None
        self._is_used = False

    def run(self, command: Command, patience_s: float | None = PATIENCE_S) -> Any:
        """See `Link.run`."""
        return self._tried(partial(_run_plainly, self._address, command), patience_s)

    def ask(self, *words: bytes, patience_s: float | None = PATIENCE_S) -> Any:
        """See `Link.ask`."""
        return self._tried(lambda wire: wire.ask(packed(*words)), patience_s)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _tried(self, act: Callable[[PlainWire], Any], patience_s: float | None) -> Any:
        if self._is_used:
            raise StorageBusy("this thread is inside the storage already: a signal handler must not call it")
        self._is_used = True
        try:
            return self._tried_alone(act, patience_s)
        finally:
            self._is_used = False

    def _tried_alone(self, act: Callable[[PlainWire], Any], patience_s: float | None) -> Any:
        tries: _Tries | None = None
        while True:
            try:
                if self._wire is None:
                    self._wire = PlainWire(self._address)
                return act(self._wire)
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
            if isinstance(reason, Elsewhere):
                self.close()
            tries = tries or _Tries(self._address, patience_s)
            time.sleep(tries.pause_s(reason))


def _run_plainly(address: Address, command: Command, wire: PlainWire) -> Any:
    question = [copies.question(address)] if copies.wants_copies(address, command.script) else []
    reply, *confirmed = wire.ask_all(command.packed, *question)
    if isinstance(reply, hiredis.ReplyError) and lacks_script(reply):
        reply, *confirmed = wire.ask_all(command.with_text, *question)
    if isinstance(reply, Exception):
        raise reply
    if confirmed and _did_something(reply):
        copies.check(address, confirmed[0])
    return reply


def _did_something(reply: Any) -> bool:
    """Whether a script says that it did what it was asked for."""
    return not (isinstance(reply, int) and reply < 0)


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


#: `Outage` is what `meaning` gives for an error that passes.
__all__ = ["Link", "Outage", "PerLoop", "PlainLink"]
