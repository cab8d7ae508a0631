"""For the tests of applications: a queue in memory whose handlers run when the test says so, by a clock that moves only
when the test moves it, or waits for the result of a request that failed. No process, no thread, no sleeping.

    queue = LocalQueue()
    await queue.register(Remind, Reminder("Ann"), defer=60)
    await queue.advance(3600)               # Remind.perform(Reminder("Ann")) ran, at the 60th second

Handlers run in the loop of the test, in a real `Worker` that does with them all it does elsewhere. `Handler.timeout_s`
goes by real time, and so does the handlers' own code.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from shardq.deadletters import Buried
from shardq.drivers.memory.lock import RuntimeLock
from shardq.drivers.memory.storage import RuntimeStorage
from shardq.encoding.envelope import opened
from shardq.errors import ConfigurationError, HandlerError, ShardqError, shown
from shardq.handler import Handler, check_is_handler
from shardq.handling.info import request_type
from shardq.handling.inside import inside_handler
from shardq.model import INBOX, Batch, Hand, Part, handler_name, key_of, split_key
from shardq.pages import each
from shardq.protocols import Serializer
from shardq.queue import Queue
from shardq.scheduling.schedule import LAST_US
from shardq.settings import StorageSettings, WorkerSettings
from shardq.working.worker import Worker

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
#: Through how many rests the clock goes before a caller that waits for a result looks whether it may wait longer.
_RESTS_AT_ONCE = 100
#: For so long handlers may take, also where their caller waits for less.
_LEAST_S = 1.0


class RequestsFailed(ShardqError):
    """Handlers failed. `letters` are the requests that became dead letters; others wait for their next attempt, or for
    the pause of their handler to end.
    """

    def __init__(self, message: str, letters: Sequence[Buried] = ()) -> None:
        super().__init__(message)
        self.letters: Sequence[Buried] = letters


class Clock:
    """A clock that stands still until it is moved.

    `start`: an aware `datetime`; default: the present. Raises `ConfigurationError`.
    """

    def __init__(self, start: datetime | None = None) -> None:
        start = datetime.now(UTC) if start is None else start
        if not isinstance(start, datetime) or start.utcoffset() is None:
            raise ConfigurationError(
                f"a clock cannot start at {shown(start)}: use a datetime with a time zone, as datetime(..., tzinfo=UTC)"
            )
        self._start_us = self._now_us = (start - _EPOCH) // _US

    @property
    def now(self) -> datetime:
        """What time it is, in UTC."""
        return _EPOCH + self._now_us * _US

    def now_us(self) -> int:
        """The same as Unix microseconds."""
        return self._now_us

    def seconds(self) -> float:
        """Seconds since the start."""
        return (self._now_us - self._start_us) / 1e6

    def move(self, span: float | timedelta) -> None:
        """Let so many seconds pass. Raises `ConfigurationError` for a negative span, since time does not go back, and
        for one that ends after the year 9999.
        """
        self.move_to_us(self.after(span))

    def after(self, span: float | timedelta) -> int:
        """What time it will be so many seconds from now, Unix microseconds. Raises as `move` does."""
        then_us = self._now_us + _span_us(span)
        if then_us > LAST_US:
            raise ConfigurationError(
                f"the clock cannot advance by {shown(span)}, to after the year 9999: advance by less"
            )
        return then_us

    def move_to_us(self, now_us: int) -> None:
        """Set the clock to this time, Unix microseconds. A time that is over changes nothing."""
        self._now_us = max(self._now_us, now_us)


class LocalQueue(Queue):
    """A `Queue` for tests: what is registered waits until `drain` or `advance`.

    `clock` is what `defer`, `recurrent`, the rests of `Handler.retry` and pauses of handlers go by; default: one that
    starts now.
    `raises`: whether `drain` and `advance` raise `RequestsFailed` at their end if requests became dead letters
    meanwhile, or are still queued because their handler failed or is paused. Turn it off to test what happens to
    requests that fail.

    Raises `ConfigurationError` for a `clock` that is no `Clock`.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        settings: StorageSettings | None = None,
        serializer: Serializer | None = None,
        raises: bool = True,
    ) -> None:
        if clock is not None and not isinstance(clock, Clock):
            raise ConfigurationError(f"{shown(clock)} is no clock: use shardq.testing.Clock(start)")
        self.clock = clock or Clock()
        self.raises = raises
        self._registered: list[tuple[str, list[bytes]]] = []
        self._memory = RuntimeStorage(
            settings, clock=self.clock.seconds, now_us=self.clock.now_us, on_stored=self._note_registered
        )
        super().__init__(self._memory, serializer)
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
        self._worker = _UntilIdle(RuntimeLock(self._memory), self, WorkerSettings(empty_limit=0))

    def registered(self, handler: type[Handler[Any]]) -> list[Any]:
        """The requests that were registered for the handler or emitted to it so far, also those that were handled,
        failed or were cancelled since. Deferred and recurrent ones are there once; those that `if_not_exists` found
        present are not, nor outputs of a batch that is not acknowledged. They are in the order of the calls, and those
        of one call tube by tube. Raises `HandlerError` for what is no handler class.
        """
        check_is_handler(handler)
        name, kind, found = handler_name(handler), request_type(handler), []
        for pipe, messages in self._registered:
            if split_key(key_of(pipe))[0] == name:
                batch, _ = opened(Batch.of(messages))
                found += self.serializer.decode(kind, batch)
        return found

    async def before_waiting(self, timeout_s: float | None) -> None:
        """Where a test calls a handler, maps it, or asks for the result of a ticket, all requests there are are handled
        at once. Where all of them wait for their next attempt, the clock moves to that. Handlers that take longer
        than the caller waits are interrupted.
        """
        limit_s = None if timeout_s is None else max(timeout_s, _LEAST_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._handle_what_is_there()

    async def _handle_what_is_there(self) -> None:
        done = await self._work()
        for _ in range(_RESTS_AT_ONCE):
            rest_end_us = await self._rest_end_us()
            if done or rest_end_us is None:
                return
            done = await self._work_until(rest_end_us)
            await asyncio.sleep(0)  # for the time limit of the call

    async def drain(self) -> int:
        """Handle the requests that are due by now, and all that their handlers register meanwhile. Returns how many
        requests left their tube.

        A request that failed stays for its next attempt, to which `advance` moves the clock. Raises `RequestsFailed`,
        and `HandlerError` inside a handler.
        """
        before = await self._letters()
        done = await self._work()
        await self._raise_failures(before)
        return done

    async def advance(self, span: float | timedelta) -> int:
        """Let so many seconds pass, and handle each request at the time when it is due: deferred requests, each time of
        recurrent ones, further attempts, and what waits for the end of a pause. Returns how many requests left their
        tube. Raises `RequestsFailed` at the end, `ConfigurationError` for a negative span or one that ends after the
        year 9999, and `HandlerError` inside a handler.
        """
        end_us = self.clock.after(span)
        before = await self._letters()
        done = await self._work()
        done += await self._work_until(end_us)
        await self._raise_failures(before)
        return done

    async def _work_until(self, end_us: int) -> int:
        """Let time pass until then, and handle each request when it is due."""
        done = 0
        while (next_us := await self._next_us()) is not None and next_us <= end_us:
            self.clock.move_to_us(next_us)
            done += await self._work()
        self.clock.move_to_us(end_us)
        return done

    async def _work(self) -> int:
        """In its turn: beside another one of this loop it would find threads claimed, and take them for failed."""
        if inside_handler():
            raise HandlerError("a handler cannot have its queue worked off while it is part of that: the test does so")
        turn = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with turn:
            before = (await self.storage.backlog()).handled
            await self._worker.loop()
            return (await self.storage.backlog()).handled - before

    @property
    def registered_messages(self) -> Sequence[Part]:
        """Tubes and messages of all that `registered` reads."""
        return self._registered

    def _note_registered(self, parts: Sequence[Part]) -> None:
        self._registered += [(pipe, list(messages)) for pipe, messages in parts]

    async def _next_us(self) -> int | None:
        """When something happens next, Unix microseconds, None: never."""
        instants = await self.storage.promote(), await self._rest_end_us()
        return min((us for us in instants if us is not None), default=None)

    async def _rest_end_us(self) -> int | None:
        """When the first rest before a next attempt ends, or the first pause of a handler, Unix microseconds, None:
        none does.
        """
        instants, rest_s = [its.until_us for its in await self.storage.pauses()], self._memory.next_end_s()
        if rest_s is not None:
            instants.append(self.clock.now_us() + max(1, math.ceil(rest_s * 1e6)))
        return min((us for us in instants if us is not None), default=None)

    async def _letters(self) -> set[tuple[str, int]]:
        return {(buried.grave, buried.number) for buried in await self.dead_letters.list()}

    async def _raise_failures(self, known: set[tuple[str, int]]) -> None:
        if not self.raises:
            return
        letters = [found for found in await self.dead_letters.list() if (found.grave, found.number) not in known]
        lines = [
            f"{found.id} became a dead letter: {found.letter.error}\n{found.letter.traceback}" for found in letters
        ]
        paused = {its.handler for its in await self.storage.pauses()}
        async for pipe in each(self.storage.pipes):
            handler = split_key(key_of(pipe))[0]
            if handler == INBOX:
                continue
            waits = f"until {handler} is resumed" if handler in paused else "for their next attempt, see the log"
            lines.append(f"{await self.storage.length(pipe)} of {pipe} wait {waits}")
        if lines:
            raise RequestsFailed("\n".join(lines), letters)


class _UntilIdle(Worker):
    """A worker that leaves its loop where other workers would wait for work."""

    async def next_hand(self, timeout_s: float | None = 0) -> Hand | None:
        hand = await super().next_hand(timeout_s)
        if hand is None:
            self.stop()
        return hand


def _span_us(span: float | timedelta) -> int:
    if not isinstance(span, timedelta):
        try:
            span = timedelta(seconds=span)
        except (TypeError, ValueError, OverflowError):
            what = shown(span)
            raise ConfigurationError(f"the clock cannot advance by {what}: give seconds or a timedelta") from None
    if span < timedelta():
        raise ConfigurationError(f"the clock cannot go back by {-span}: advance by 0 or more")
    return span // _US
