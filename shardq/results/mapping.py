"""Many requests whose results are waited for, with a bound on how many are under way."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypedDict

from shardq.behind import behind
from shardq.encoding.replies import Reply, decode_reply
from shardq.errors import ConfigurationError, HandlerError, ResultTimeout, ShardqError, shown
from shardq.handler import Handler
from shardq.handling.info import HandlerInfo
from shardq.model import Part
from shardq.results.asking import Asking
from shardq.results.early import Early
from shardq.results.inbox import OpenInbox
from shardq.results.outcome import Sent, error_of, values_of
from shardq.results.serving import LATE, LOOK_S
from shardq.results.source import Source
from shardq.results.summary import MapProgress, Tally, how_to_resume
from shardq.settings import WorkerSettings, check_timeout

#: The window is as many batches for each worker, where the caller does not choose it. With 2 of them a caller and its
#: workers wait for one another: requests that take no time are 1.4 times as fast with 16.
_BATCHES = 16
#: And as many batches are sent together at most, which is a tenth faster than one by one.
_CHUNK = 4
#: After so much time of reading its input and sending, a caller looks for results.
_SENDING_S = 5e-3
#: Most chunks that are remembered before those that are answered are looked for.
_CHUNKS = 64


class Options(NamedTuple):
    """What a caller of `Queue.map` may choose: there it is described."""

    window: int | None
    ordered: bool
    outcomes: bool
    timeout_s: float | None
    abandon: bool


class MapOptions(TypedDict, total=False):
    """The same for type checkers, without `outcomes`, on which the type of the results depends."""

    window: int | None
    ordered: bool
    timeout_s: float | None
    abandon: bool


class _Chunk(NamedTuple):
    """Requests that were sent together."""

    numbers: range
    parts: Sequence[Part]


class Mapping:
    """One `map`: `open`, then `more` until it returns None, then `close`."""

    def __init__(
        self, queue: Asking, handler: type[Handler[Any]], requests: Iterable[Any] | AsyncIterable[Any], options: Options
    ) -> None:
        self._queue = queue
        self._storage = queue.storage
        self._handler = handler
        self._requests = requests
        self._options = options
        self._total = _length_of(requests)
        self.is_plain = False
        """Whether the caller has no event loop."""
        self._info: HandlerInfo
        self._source: Source
        self._window = self._chunk = self._bytes = 0
        """How many requests may be under way at most, how many are sent together, and how many bytes may be under way.
        """
        self._inbox: OpenInbox | None = None
        self._reading: asyncio.Task[Sequence[bytes]] | None = None
        """Reads the inbox while a request is waited for."""
        self._number = 0
        """Of the next request."""
        self._unsent = deque[Sequence[Part]]()
        """Steps for which there was no room yet."""
        self._waiting = set[int]()
        """Numbers of the requests that are sent, or are to be, and not answered."""
        self._silent_s = 0.0
        """For how long this waited for results since the last ones came, or since a request was the only one under way.
        """
        self._waited_s = 0.0
        """The same since the last one was handed out: where results are ordered, others may come before the next one.
        """
        self._taken = list[Any]()
        """Requests that were read and are not prepared yet."""
        self._mean_bytes = 0
        """How long the messages of the chunk before were, on average."""
        self._chunks = list[_Chunk]()
        self._early = Early()
        """Results that came before one of an earlier request, where they are ordered."""
        self._sent = dict[int, Sent]()
        """The requests under way, where outcomes are wanted."""
        self._error: Exception | None = None
        """The failure that comes behind the results handed out last."""
        self.tally = Tally()
        self.handed_out = 0
        """How many results the caller has taken."""

    async def open(self) -> None:
        """Raises `HandlerError`, `NotServed`, `ConfigurationError`, and what opening an inbox raises."""
        check_timeout(self._options.timeout_s)
        self.tally.begin()
        self._info = self._queue.callable(self._handler)
        self._source = Source(self._requests, sees_no_loop=self.is_plain)
        workers = await self._queue.serving.check(self._info.name)
        size = self._handler.batch_size
        batch = size if type(size) is int else WorkerSettings().batch_size
        self._window = self._given_window() or _BATCHES * workers * batch
        self._chunk = max(1, min(_CHUNK * batch, self._window // 2))
        self._bytes = self._storage.limits.message_bytes // 8
        inbox = OpenInbox(self._storage)
        await inbox.open()
        self._inbox = inbox

    @property
    def total(self) -> int | None:
        """How many requests the input has. None: it does not tell."""
        return self._total

    @property
    def progress(self) -> MapProgress:
        return self.tally.progress(self._total)

    def check_open(self) -> None:
        """Raise `HandlerError` before `open` and after `close`."""
        if self._inbox is None:
            raise HandlerError(
                "results of a map are read inside of its block: write `async with queue.map(...) as results:`, or "
                "`with queue.map_sync(...) as results:`, and read them there"
            )

    async def more(self) -> Sequence[Any] | None:
        """The next results, as soon as there are any; all before them are consumed. None: there are none left. Raises
        what a request failed with where no outcomes are wanted, what `register` raises, and what `check_open` does.
        """
        self.check_open()
        while True:
            if self._error:
                raise self._error
            is_complete = await self._send()
            if not self._waiting:
                if self._source.over and not self._taken:
                    self.tally.end()
                    self._error = self._source.error
                    if self._error is None:
                        return None
                elif self._source.next:
                    await asyncio.wait((self._source.next,))
                continue
            replies = await (self._replies() if is_complete else self._replies_there())
            if replies:
                self._silent_s = 0.0
            ready = self._sorted(replies)
            if ready:
                self._waited_s = 0.0
                return ready

    async def close(self) -> None:
        """Cancel what is not started, and let go of the inbox. That is done also where this is cancelled meanwhile."""
        self.tally.end()
        inbox, self._inbox = self._inbox, None
        if inbox is None:
            return
        leaving = behind(self._leave(inbox))
        try:
            await self._source.close()
        finally:
            await asyncio.shield(leaving)

    async def _leave(self, inbox: OpenInbox) -> None:
        with suppress(ShardqError):  # the storage may be closed or moved: workers skip what has no caller
            try:
                with suppress(ShardqError):
                    await self._read_so_far()
                for numbers, parts in self._chunks:
                    if not self._waiting.isdisjoint(numbers):
                        for pipe, messages in parts:
                            await self._storage.remove(pipe, *messages)
            finally:
                await inbox.close()

    @property
    def how_to_resume(self) -> str:
        """What a caller that is interrupted has to know in order to go on later."""
        return how_to_resume(self.handed_out, ordered=self._options.ordered)

    def _given_window(self) -> int | None:
        given = self._options.window
        if given is not None and (type(given) is not int or given < 1):
            raise ConfigurationError(f"window={shown(given)} cannot be: give a number of requests from 1 up, or None")
        return given

    async def _send(self) -> bool:
        """Send requests until the window is full, or there is no room, or none to send. False: that takes long."""
        until, sent = time.monotonic() + _SENDING_S, False
        while await self._unsent_sent() and (self._taken or not self._source.over):
            room = self._room
            if self._waiting and room < (1 if self._source.next else self._chunk):
                break
            if sent and time.monotonic() >= until:
                return False
            # Kept until they are prepared: a caller that gives up in between may ask for more again.
            self._taken = self._taken or await self._source.take(max(1, min(room, self._chunk)), until)
            if not self._taken:
                break
            await self._prepare_taken()
            sent = True
        return True

    async def _prepare_taken(self) -> None:
        """Prepare what was read, up to the first request that cannot be sent: the input ends there."""
        with suppress(Exception):
            await self._prepare(self._taken)
            self._taken = []
        while self._taken:
            try:
                await self._prepare(self._taken[:1])
            except Exception as error:
                self._source.end_with(error)
                self._taken.clear()
                return
            del self._taken[0]

    @property
    def _room(self) -> int:
        """How many more requests may be under way."""
        if self._early.nbytes >= self._bytes:
            return 0
        room = self._window - len(self._waiting) - self._early.count
        if self._mean_bytes:
            room = min(room, self._bytes // self._mean_bytes - len(self._waiting))
        return room

    async def _prepare(self, requests: Sequence[Any]) -> None:
        assert self._inbox
        numbers = range(self._number, self._number + len(requests))
        number, abandon = self._inbox.number, self._options.abandon
        try:
            sent = self._as_sent(requests)
            call = await self._queue.sealed(self._handler, sent, number, numbers.start, abandon=abandon)
        except ShardqError as error:
            if numbers.start:
                error.add_note(f"Of the input of this map, what is request 0 here is number {numbers.start}.")
            raise
        parts = call.parts
        self._mean_bytes = max(1, sum(sum(map(len, messages)) for _, messages in parts) // len(requests))
        self._unsent.extend(call.steps)
        if not self._waiting:
            self._silent_s = self._waited_s = 0.0
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

    async def _replies_there(self) -> Sequence[bytes]:
        """Replies that have arrived, after the event loop had its turn."""
        assert self._inbox
        await asyncio.sleep(0)
        return await self._read_so_far() or await self._inbox.read(0)

    async def _replies(self) -> Sequence[bytes]:
        """Replies, as soon as there are any."""
        assert self._inbox
        limit_s = self._options.timeout_s
        while True:
            began = time.monotonic()
            until = math.inf if limit_s is None else began + limit_s - self._waited_s
            await self._queue.before_waiting(None if limit_s is None else until - began)
            messages = await self._read(min(LOOK_S, max(0.0, until - time.monotonic())))
            waited_s = time.monotonic() - began
            self._waited_s += waited_s
            if messages:
                return messages
            self._silent_s += waited_s
            await self._queue.serving.check_still(self._info.name, self._silent_s)
            if limit_s is not None and self._waited_s >= limit_s:
                self._waited_s = 0.0  # for a caller that waits on
                raise ResultTimeout(f"no result of {self._called} came within {limit_s} s: {LATE}")
            if self._unsent or self._source.next:
                return ()

    async def _read(self, timeout_s: float) -> Sequence[bytes]:
        """Replies; none where a request that may be sent comes before them."""
        assert self._inbox
        coming = self._source.next
        if coming is None or self._room <= 0:
            return await self._read_so_far() or await self._inbox.read(timeout_s)
        reading = self._reading or asyncio.create_task(self._inbox.read(timeout_s))
        self._reading = reading  # also where this is cancelled: what it has read leaves the inbox with the next read
        await asyncio.wait((reading, coming), return_when=asyncio.FIRST_COMPLETED)
        return await self._read_so_far()

    async def _read_so_far(self) -> Sequence[bytes]:
        """What the reading found that is under way; it ends."""
        reading = self._reading
        if reading is None:
            return ()
        if not reading.done():
            reading.cancel()
            await asyncio.wait((reading,))
        self._reading = None
        return () if reading.cancelled() else reading.result()

    def _sorted(self, messages: Sequence[bytes]) -> list[Any]:
        """What of these replies is due now, in its order."""
        ready = list[Any]()
        for reply in map(decode_reply, messages):
            if self._waiting.isdisjoint(reply.requests):
                continue
            for numbers, values, error in self._answers(reply):
                if not self._waiting.issuperset(numbers):
                    numbers, values = self._unanswered(numbers, values)
                if not numbers:
                    continue
                self._waiting.difference_update(numbers)
                self.tally.count(reply, len(numbers), failed=error is not None)
                nbytes = len(reply.results) * len(numbers) // len(reply.requests)
                if self._options.outcomes:
                    values, error = self._outcomes(numbers, reply, values, error), None
                if self._options.ordered:
                    self._early.put_aside(numbers, values, error, nbytes)
                elif error:
                    self._error = error
                    return ready
                else:
                    ready += values
        if self._options.ordered:
            ready, self._error = self._early.due()
        return ready

    @property
    def _called(self) -> str:
        """What works on the requests, for messages."""
        return self._info.name

    def _as_sent(self, requests: Sequence[Any]) -> Sequence[Any]:
        """The requests of the handler for what the caller gave."""
        return requests

    def _answers(self, reply: Reply) -> Iterator[tuple[Sequence[int], Sequence[Any], Exception | None]]:
        """Which requests the reply answers, and with which results; or the failure of one."""
        if reply.failure:
            yield reply.requests, [None], error_of(self._handler, reply.failure)
            return
        try:
            values = values_of(self._info, reply)
        except ShardqError as undecodable:  # as where its worker has other code: it is the failure of each
            for number in reply.requests:
                yield (number,), [None], undecodable
        else:
            yield reply.requests, values, None

    def _unanswered(self, numbers: Sequence[int], values: Sequence[Any]) -> tuple[Sequence[int], Sequence[Any]]:
        """What of these results is new: a server that lost an acknowledgement has requests handled again."""
        new = [pair for pair in zip(numbers, values, strict=True) if pair[0] in self._waiting]
        return [number for number, _ in new], [value for _, value in new]

    def _outcomes(
        self, numbers: Sequence[int], reply: Reply, values: Sequence[Any], error: Exception | None
    ) -> list[Any]:
        pairs = zip(numbers, values, strict=True)
        return [self._sent.pop(number).outcome(number, reply, value, error) for number, value in pairs]


def _length_of(requests: Any) -> int | None:
    """None: it does not tell, as results of a map of what does not tell."""
    with suppress(TypeError):
        return len(requests)
    return None
