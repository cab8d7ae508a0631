"""Calls that wait for their results: those of one event loop share an inbox, and one of them reads it for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from shardq.behind import behind
from shardq.encoding.replies import Reply, decode_reply
from shardq.errors import FencedError, NotServed, ShardqError
from shardq.handler import Handler
from shardq.handling.info import HandlerInfo
from shardq.handling.prepared import Prepared
from shardq.results.asking import Asking
from shardq.results.inbox import OpenInbox
from shardq.results.outcome import error_of, values_of
from shardq.results.serving import LOOK_S

#: For how long an inbox stays open that no call needs.
IDLE_S = 0.25


class _Waiter:
    """A call that waits for its result."""

    __slots__ = ("answer", "handler", "inbox", "info", "woken")

    def __init__(self, handler: type[Handler[Any]], info: HandlerInfo, inbox: OpenInbox) -> None:
        self.handler = handler
        self.info = info
        self.inbox = inbox
        self.answer: tuple[Any, Exception | None] | None = None
        """Its result, or its exception. None: not known yet."""
        self.woken: asyncio.Future[None] | None = None
        """It is done when there is an answer, or the call has to read the inbox. None: the call does not wait."""

    def wake(self) -> None:
        if self.woken and not self.woken.done():
            self.woken.set_result(None)


class Calls:
    """The calls of one event loop."""

    def __init__(self, queue: Asking, ended: Callable[[Calls], None]) -> None:
        """`ended` is called with these once no call needs them."""
        self._queue = queue
        self._ended = ended
        self._numbers = count()
        self._waiters: dict[int, _Waiter] = {}
        self._heard: dict[str, float] = {}
        """When anything was heard of a handler last, or a call began to wait for it alone, monotonic."""
        self._looked_at = 0.0
        """When it was looked last whether handlers are served, monotonic."""
        self._inbox: OpenInbox | None = None
        self._calls = 0
        """How many calls need the inbox. Without any, it stays open for a while: the next one has it at once."""
        self._opening = asyncio.Lock()
        self._is_read = False
        """Whether one of the calls reads the inbox."""
        self._idle_since = 0.0
        """When a call needed the inbox last, monotonic."""
        self._watch: asyncio.Task[None] | None = None
        """Closes the inbox."""
        self._tidying: asyncio.Task[None] | None = None
        """Acknowledges what the last call read."""

    async def result(self, handler: type[Handler[Any]], request: Any, *, abandon: bool) -> Any:
        """The result of a request. Raises what it failed with, and `NotServed`."""
        number, inbox = next(self._numbers), await self._entered()
        try:
            call = await self._queue.sealed(handler, (request,), inbox.number, number, abandon=abandon)
            waiter = _Waiter(handler, call.facts, inbox)
            result = await self._answered(call, number, waiter)
        except BaseException:
            self._leave()
            await self._for_a_moment(self._tidied(inbox))
            raise
        self._leave()
        self._tidy_soon(inbox)
        return result

    async def _answered(self, call: Prepared, number: int, waiter: _Waiter) -> Any:
        """The result of a request that is stored here. One that does not come takes its request out again."""
        name = waiter.info.name
        if all(other.info.name != name for other in self._waiters.values()):
            self._heard[name] = time.monotonic()
        self._waiters[number] = waiter
        try:
            await self._queue.stored(call)
            return await self._told(waiter)
        finally:
            if self._waiters.pop(number, None):
                self._have_read()
                await self._for_a_moment(self._cancelled(call))

    async def _told(self, waiter: _Waiter) -> Any:
        """The answer to the call, from the one that reads the inbox, which may be this one."""
        while waiter.answer is None:
            if waiter.inbox.lost:
                raise waiter.inbox.lost
            if self._is_read:
                waiter.woken = asyncio.get_running_loop().create_future()
                await waiter.woken
            else:
                await self._read(waiter)
        value, error = waiter.answer
        if error is not None:
            raise error
        return value

    async def _read(self, waiter: _Waiter) -> None:
        """Read the inbox for all calls until this one has its answer. Another one goes on then."""
        self._is_read = True
        try:
            while waiter.answer is None:
                await self._queue.before_waiting(None)
                for message in await waiter.inbox.read(LOOK_S):
                    self._answer(decode_reply(message))
                if time.monotonic() - self._looked_at >= LOOK_S:
                    self._looked_at = time.monotonic()
                    await self._check_served()
        except FencedError:
            self._forget(waiter.inbox)
            raise
        finally:
            self._is_read = False
            self._have_read()

    def _forget(self, inbox: OpenInbox) -> None:
        """No result comes to this inbox any more: tell all that wait for one. The next call opens another."""
        if self._inbox is inbox:
            self._inbox = None
        for waiter in self._waiters.values():
            if waiter.inbox is inbox:
                waiter.wake()

    async def _check_served(self) -> None:
        """Tell the calls whose handlers no worker has any more, and of which nothing was heard for so long."""
        for name in {waiter.info.name for waiter in self._waiters.values()}:
            try:
                await self._queue.serving.check_still(name, time.monotonic() - self._heard[name])
            except NotServed as error:
                for waiter in self._waiters.values():
                    if waiter.info.name == name:
                        waiter.answer = None, error
                        waiter.wake()

    def _have_read(self) -> None:
        """Have one of the calls that wait read the inbox, where none does. Those whose request is not stored yet see by
        themselves whether one does.
        """
        waiting = (waiter for waiter in self._waiters.values() if waiter.woken and not waiter.woken.done())
        if not self._is_read and (waiter := next(waiting, None)):
            waiter.wake()

    def _answer(self, reply: Reply) -> None:
        """Tell the calls that wait for these results."""
        waiters = [self._waiters.pop(number, None) for number in reply.requests]
        first = next(filter(None, waiters), None)
        if first is None:
            return
        self._heard[first.info.name] = time.monotonic()
        values: Sequence[Any] = [None] * len(waiters)
        error: Exception | None = None
        try:
            if reply.failure:
                error = error_of(first.handler, reply.failure)
            else:
                values = values_of(first.info, reply)
        except ShardqError as undecodable:
            error = undecodable
        for waiter, value in zip(waiters, values, strict=True):
            if waiter:
                waiter.answer = value, error
                waiter.wake()

    async def _cancelled(self, call: Prepared) -> None:
        """Take out the request whose result is not waited for."""
        with suppress(ShardqError):  # what is not taken out is skipped by workers
            for pipe, messages in call.parts:
                await self._queue.storage.remove(pipe, *messages)

    async def _for_a_moment(self, work: Coroutine[Any, Any, None]) -> None:
        """Tidy up after a call without a result. Where the storage does not answer, the caller does not wait for it."""
        done, _ = await asyncio.wait({behind(work)}, timeout=LOOK_S)
        for task in done:
            task.result()

    async def close(self) -> None:
        """Close the inbox where no call needs it: nothing is left in it, and its claim ends."""
        async with self._opening:
            if self._calls or self._inbox is None:
                return
            inbox, self._inbox = self._inbox, None
            if self._watch and self._watch is not asyncio.current_task():
                self._watch.cancel()
            with suppress(ShardqError):  # the storage may be closed or moved, and ends the claim itself then
                await inbox.close()

    async def _entered(self) -> OpenInbox:
        """The inbox, for a call more. `_leave` ends that."""
        if self._inbox is None or time.monotonic() - self._idle_since > 2 * IDLE_S:
            await self._open()
        assert self._inbox
        self._calls += 1
        return self._inbox

    async def _open(self) -> None:
        """Have an inbox open that this process did not leave alone for so long that it may count as dead."""
        if self._inbox and not self._calls:
            await asyncio.shield(behind(self.close()))
        async with self._opening:
            if self._inbox is None:
                inbox = OpenInbox(self._queue.storage)
                await inbox.open()
                self._inbox = inbox

    def _leave(self) -> None:
        """A call needs the inbox no more. Where none does, it is closed in a while."""
        self._calls -= 1
        if self._calls:
            return
        self._idle_since = time.monotonic()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.get_running_loop().create_task(self._close_later())

    def _tidy_soon(self, inbox: OpenInbox) -> None:
        """Have nothing stay in the inbox, where no call needs it. A call with a result need not wait for that."""
        if not self._calls and (self._tidying is None or self._tidying.done()):
            self._tidying = asyncio.get_running_loop().create_task(self._tidied_soon(inbox))

    async def _tidied_soon(self, inbox: OpenInbox) -> None:
        try:
            await self._tidied(inbox)
        finally:
            self._tidying = None  # a task that has ended would keep its loop, and the loop these calls, for ever

    async def _tidied(self, inbox: OpenInbox) -> None:
        """Acknowledge what was read, unless a call that came meanwhile does. One that comes now waits for this: if two
        read at the same time, they would take each other's results.
        """
        if self._calls or self._is_read or self._inbox is not inbox:
            return
        self._is_read = True
        try:
            for message in await inbox.read(0):
                self._answer(decode_reply(message))
        except ShardqError:
            await self.close()
        finally:
            self._is_read = False
            self._have_read()

    async def _close_later(self) -> None:
        """Close the inbox once no call needed it for a while. Where the loop ends before, it cancels this."""
        try:
            while True:
                await asyncio.sleep(IDLE_S)
                if not self._calls and time.monotonic() - self._idle_since >= IDLE_S:
                    return
        finally:
            self._watch = None
            await self.close()
            if not self._calls and self._inbox is None:
                self._ended(self)
