"""Many requests whose results are waited for, with a bound on how many are under way."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, Iterable, Sequence, Sized
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from shardq.encoding.replies import Reply, decode_reply
from shardq.errors import ConfigurationError, ResultTimeout, ShardqError, shown
from shardq.handler import Handler
from shardq.handling.info import HandlerInfo
from shardq.model import Part
from shardq.results.inbox import OpenInbox
from shardq.results.outcome import Sent, error_of, values_of
from shardq.results.serving import LOOK_S
from shardq.results.source import Source
from shardq.settings import WorkerSettings

if TYPE_CHECKING:
    from shardq.queue import Queue

#: Most chunks that are remembered before those that are answered are looked for.
_CHUNKS = 64


class MapProgress(NamedTuple):
    """How far a `map` has come."""

    done: int
    """Requests whose results are here, or that failed."""
    total: int | None
    """All requests. None: the input does not tell how long it is."""
    failed: int
    """Those of `done` that failed."""
    per_s: float
    """Results a second, from the beginning of the block on."""
    left_s: float | None
    """How long the rest takes at this rate. None: that is not known."""


class Options(NamedTuple):
    """What a caller of `Queue.map` may choose: there it is described."""

    window: int | None
    ordered: bool
    outcomes: bool
    timeout_s: float | None
    abandon: bool


class _Chunk(NamedTuple):
    """Requests that were sent together."""

    numbers: range
    parts: Sequence[Part]


class Mapping:
    """One `map`: `open`, then `more` until it returns None, then `close`."""

    def __init__(
        self, queue: Queue, handler: type[Handler[Any]], requests: Iterable[Any] | AsyncIterable[Any], options: Options
    ) -> None:
        self._queue = queue
        self._storage = queue.storage
        self._handler = handler
        self._requests = requests
        self._options = options
        self._total = len(requests) if isinstance(requests, Sized) else None
        self._info: HandlerInfo
        self._source: Source
        self._window = self._chunk = self._bytes = 0
        """How many requests may be under way at most, how many are sent together, and how many bytes may be under way.
        """
        self._inbox: OpenInbox | None = None
        self._number = 0
        """Of the next request."""
        self._unsent = deque[Sequence[Part]]()
        """Steps for which there was no room yet."""
        self._waiting = set[int]()
        """Numbers of the requests that are sent, or are to be, and not answered."""
        self._mean_bytes = 0
        """How long the messages of the chunk before were, on average."""
        self._chunks = list[_Chunk]()
        self._next = 0
        """Number of the result that is due next, where they are ordered."""
        self._early = dict[int, tuple[Sequence[Any], Exception | None]]()
        """Those that came before it, by the number of the first one of those that follow one another."""
        self._early_count = 0
        self._sent = dict[int, Sent]()
        """The requests under way, where outcomes are wanted."""
        self._error: Exception | None = None
        """The failure that comes behind the results handed out last."""
        self._done = self._failed = 0
        self._begun_s = 0.0
        """When the block began, monotonic."""
        self._ended_s: float | None = None
        """When it was known that there are no more results."""

    async def open(self) -> None:
        """Raises `HandlerError`, `NotServed`, `ConfigurationError`, and what opening an inbox raises."""
        self._info = self._queue.callable(self._handler)
        self._source = Source(self._requests)
        workers = await self._queue.serving.check(self._info.name)
        size = self._handler.batch_size
        batch = size if type(size) is int else WorkerSettings().batch_size
        self._window = self._given_window() or 2 * workers * batch
        self._chunk = max(1, min(batch, self._window // 2))
        self._bytes = self._storage.limits.message_bytes // 8
        inbox = OpenInbox(self._storage)
        await inbox.open()
        self._inbox = inbox
        self._begun_s = time.monotonic()

    @property
    def total(self) -> int | None:
        """How many requests the input has. None: it does not tell."""
        return self._total

    @property
    def progress(self) -> MapProgress:
        done, total = self._done, self._total
        lasted_s = (self._ended_s or time.monotonic()) - self._begun_s
        rate = done / lasted_s if lasted_s > 0 else 0.0
        left_s = (total - done) / rate if total is not None and rate else None
        return MapProgress(done, total, self._failed, rate, left_s)

    async def more(self) -> Sequence[Any] | None:
        """The next results, as soon as there are any; all before them are consumed. None: there are none left. Raises
        what a request failed with where no outcomes are wanted, and what `register` raises.
        """
        while True:
            if self._error:
                raise self._error
            await self._send()
            if not self._waiting:
                if self._source.over:
                    self._end()
                    return None
                if self._source.next:
                    await asyncio.wait((self._source.next,))
                continue
            ready = self._sorted(await self._replies())
            if ready:
                return ready

    async def close(self) -> None:
        """Cancel what is not started, and let go of the inbox."""
        self._end()
        inbox, self._inbox = self._inbox, None
        if inbox is None:
            return
        try:
            await self._source.close()
        finally:
            await self._leave(inbox)

    async def _leave(self, inbox: OpenInbox) -> None:
        with suppress(ShardqError):  # the storage may be closed or moved: workers skip what has no caller
            try:
                for numbers, parts in self._chunks:
                    if not self._waiting.isdisjoint(numbers):
                        for pipe, messages in parts:
                            await self._storage.remove(pipe, *messages)
            finally:
                await inbox.close()

    def _end(self) -> None:
        self._ended_s = self._ended_s or time.monotonic()

    def _given_window(self) -> int | None:
        given = self._options.window
        if given is not None and (type(given) is not int or given < 1):
            raise ConfigurationError(f"window={shown(given)} cannot be: give a number of requests from 1 up, or None")
        return given

    async def _send(self) -> None:
        """Send requests until the window is full, or there is no room, or none to send."""
        while await self._unsent_sent() and not self._source.over:
            room = self._room
            if self._waiting and room < (1 if self._source.next else self._chunk):
                return
            requests = await self._source.take(max(1, min(room, self._chunk)))
            if not requests:
                return
            await self._prepare(requests)

    @property
    def _room(self) -> int:
        """How many more requests may be under way."""
        room = self._window - len(self._waiting) - self._early_count
        if self._mean_bytes:
            room = min(room, self._bytes // self._mean_bytes - len(self._waiting))
        return room

    async def _prepare(self, requests: Sequence[Any]) -> None:
        assert self._inbox
        numbers = range(self._number, self._number + len(requests))
        number, abandon = self._inbox.number, self._options.abandon
        call = await self._queue.sealed(self._handler, requests, number, numbers.start, abandon=abandon)
        parts = list(call.messages.groups.items())
        self._mean_bytes = max(1, sum(sum(map(len, messages)) for _, messages in parts) // len(requests))
        self._unsent.extend(call.steps)
        self._waiting.update(numbers)
        self._number = numbers.stop
        if len(self._chunks) >= _CHUNKS:
            self._chunks = [its for its in self._chunks if not self._waiting.isdisjoint(its.numbers)]
        self._chunks.append(_Chunk(numbers, parts))
        if self._options.outcomes:
            now_us = time.time_ns() // 1000
            self._sent.update((n, Sent(request, now_us)) for n, request in zip(numbers, requests, strict=True))

    async def _unsent_sent(self) -> bool:
        """Send what is prepared. False: there is no room, and the replies that are to come make some."""
        while self._unsent:
            step = self._unsent[0]
            if await self._storage.append(step) is None:
                if len(self._waiting) > sum(len(messages) for step in self._unsent for _, messages in step):
                    return False
                await self._queue.wait_for_room(step, self._info.name, self._options.timeout_s)
            self._unsent.popleft()
        return True

    async def _replies(self) -> Sequence[bytes]:
        """Replies, as soon as there are any."""
        assert self._inbox
        begun_at = time.monotonic()
        while True:
            silent_s, limit_s = time.monotonic() - begun_at, self._options.timeout_s
            left_s = LOOK_S if limit_s is None else min(LOOK_S, max(0.0, limit_s - silent_s))
            await self._queue.before_waiting()
            messages = await self._read(left_s)
            if messages:
                return messages
            if limit_s is not None and time.monotonic() - begun_at >= limit_s:
                raise ResultTimeout(f"no result of {self._info.name} came within {limit_s} s")
            await self._queue.serving.check_still(self._info.name, time.monotonic() - begun_at)
            if self._unsent or self._source.next:
                return ()

    async def _read(self, timeout_s: float) -> Sequence[bytes]:
        """Replies; none where a request that may be sent comes before them."""
        assert self._inbox
        coming = self._source.next
        if coming is None or self._room <= 0:
            return await self._inbox.read(timeout_s)
        reading = asyncio.create_task(self._inbox.read(timeout_s))
        try:
            await asyncio.wait((reading, coming), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait((reading,))
        return () if reading.cancelled() else reading.result()

    def _sorted(self, messages: Sequence[bytes]) -> list[Any]:
        """What of these replies is due now, in its order."""
        ready = list[Any]()
        for reply in map(decode_reply, messages):
            numbers = reply.requests
            if not self._waiting.issuperset(numbers):
                continue
            self._waiting.difference_update(numbers)
            self._done += len(numbers)
            self._failed += len(numbers) if reply.failure else 0
            error = error_of(self._handler, reply.failure) if reply.failure else None
            values = [None] if error else values_of(self._info, reply)
            if self._options.outcomes:
                values, error = self._outcomes(numbers, reply, values, error), None
            if self._options.ordered:
                self._put_aside(numbers, values, error)
            elif error:
                self._error = error
                return ready
            else:
                ready += values
        while run := self._early.pop(self._next, None):
            values, error = run
            self._next += len(values)
            self._early_count -= len(values)
            if error:
                self._error = error
                break
            ready += values
        return ready

    def _put_aside(self, numbers: Sequence[int], values: Sequence[Any], error: Exception | None) -> None:
        """Keep results until those before them are there, by the number of the first one of those that follow one
        another.
        """
        self._early_count += len(numbers)
        if numbers[-1] - numbers[0] == len(numbers) - 1:  # those of a batch are in their order
            self._early[numbers[0]] = values, error
        else:
            self._early.update((number, ([value], error)) for number, value in zip(numbers, values, strict=True))

    def _outcomes(
        self, numbers: Sequence[int], reply: Reply, values: Sequence[Any], error: Exception | None
    ) -> list[Any]:
        pairs = zip(numbers, values, strict=True)
        return [self._sent.pop(number).outcome(number, reply, value, error) for number, value in pairs]
