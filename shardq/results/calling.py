"""The part of `Queue` for callers that wait for results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any, Literal, TypeVar, Unpack, overload
from weakref import WeakKeyDictionary

from shardq.errors import HandlerError, ResultTimeout
from shardq.handler import Handler
from shardq.handling.isolation import for_plain_caller
from shardq.results.asking import Asking
from shardq.results.calls import Calls
from shardq.results.mapping import MapOptions, Mapping, Options
from shardq.results.outcome import Outcome
from shardq.results.results import Results, SyncResults
from shardq.results.serving import LATE
from shardq.settings import check_timeout

Value = TypeVar("Value")
_Serving = type[Handler[Any, Value]]
_Requests = Iterable[Any] | AsyncIterable[Any]
_Yes = Literal[True]
_No = Literal[False]


class Calling(Asking):
    """Stores requests, and waits for their results."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: WeakKeyDictionary[asyncio.AbstractEventLoop, Calls] = WeakKeyDictionary()

    async def call(
        self, handler: type[Handler[Any, Value]], request: Any, *, timeout_s: float | None = None, abandon: bool = True
    ) -> Value:
        """Store a request, and return the result of its handler: of a list that `handle` returned, the one for this
        request. It is stored in the step that acknowledges the request, so each request has one result, also where its
        worker died and it was handled again.

        `timeout_s`: how long to wait for it, also for a storage that does not answer; taking out the request may take a
        second or two more then. Without room the call waits as `register` does. A call that is given up, also by
        cancelling it, cancels its request where no worker has it yet. `abandon`: where this process ends, no worker
        begins with the request any more.

        Raises `RequestFailed` where the request failed for good, or what `Handler.errors` names; `ResultTooLarge`;
        `ResultTimeout`; `NotServed` where no living worker has the handler; what `register` raises;
        `ConfigurationError` for a `timeout_s` that cannot be; and `HandlerError` inside a handler, which would wait for
        a worker while it keeps one.
        """
        check_timeout(timeout_s)
        info = self.callable(handler)
        loop = asyncio.get_running_loop()
        calls = self._calls.get(loop)
        if calls is None:
            calls = self._calls[loop] = Calls(self, self._calls_ended)
        if timeout_s is None:  # a limit without an end would take a twentieth of the call
            await self.serving.check(info.name)
            result: Value = await calls.result(handler, request, abandon=abandon)
            return result
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self.serving.check(info.name)
                result = await calls.result(handler, request, abandon=abandon)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ResultTimeout(f"no result of {info.name} came within {timeout_s} s: {LATE}") from error
        return result

    async def end_calls(self) -> None:
        """Close the inbox that calls of this event loop left open for the next one."""
        loop = asyncio._get_running_loop()  # None in a process that was forked while one ran: it has made no calls
        if loop is not None and (calls := self._calls.get(loop)):
            await calls.close()

    def _calls_ended(self, calls: Calls) -> None:
        """Forget them: a lock that one of them waited for keeps its loop, and the loop would keep these for ever."""
        loop = asyncio.get_running_loop()
        if self._calls.get(loop) is calls:
            del self._calls[loop]

    def call_sync(
        self, handler: type[Handler[Any, Value]], request: Any, *, timeout_s: float | None = None, abandon: bool = True
    ) -> Value:
        """`call` for code without an event loop. Raises `HandlerError` where one runs in this thread."""
        if asyncio._get_running_loop() is not None:
            raise HandlerError("call_sync cannot wait where an event loop runs: use `await queue.call(...)` there")
        call = self.call(handler, request, timeout_s=timeout_s, abandon=abandon)
        result: Value = asyncio.run(for_plain_caller(call))
        return result

    @overload
    def map(
        self, handler: _Serving[Value], requests: _Requests, *, outcomes: _Yes, **more: Unpack[MapOptions]
    ) -> Results[Outcome[Value]]: ...
    @overload
    def map(
        self, handler: _Serving[Value], requests: _Requests, *, outcomes: _No = False, **more: Unpack[MapOptions]
    ) -> Results[Value]: ...
    def map(
        self,
        handler: type[Handler[Any]],
        requests: _Requests,
        *,
        window: int | None = None,
        ordered: bool = True,
        outcomes: bool = False,
        timeout_s: float | None = None,
        abandon: bool = True,
    ) -> Results[Any]:
        """The results of many requests, as a block: `async with queue.map(...) as results`, and in it `async for`.

        At most `window` requests are under way, or have results that are not consumed yet; None: 16 batches for each
        worker; and never more than a sixteenth of the capacity. `requests` are read as the results are
        consumed, so there may be any number of them; those of an asynchronous input are sent as they come. `ordered`:
        results come in the order of the requests, else as they are there. `outcomes`: instead of results there are
        `Outcome`s, and requests that fail do not end the block. `timeout_s`: how long to wait for the next result.
        Leaving the block, however that is done, cancels what no worker has yet. `abandon` and the exceptions are those
        of `call`.
        """
        return Results(Mapping(self, handler, requests, Options(window, ordered, outcomes, timeout_s, abandon)))

    @overload
    def map_sync(
        self, handler: _Serving[Value], requests: Iterable[Any], *, outcomes: _Yes, **more: Unpack[MapOptions]
    ) -> SyncResults[Outcome[Value]]: ...
    @overload
    def map_sync(
        self, handler: _Serving[Value], requests: Iterable[Any], *, outcomes: _No = False, **more: Unpack[MapOptions]
    ) -> SyncResults[Value]: ...
    def map_sync(
        self,
        handler: type[Handler[Any]],
        requests: Iterable[Any],
        *,
        window: int | None = None,
        ordered: bool = True,
        outcomes: bool = False,
        timeout_s: float | None = None,
        abandon: bool = True,
    ) -> SyncResults[Any]:
        """`map` for code without an event loop: `with queue.map_sync(...) as results`, and in it `for`."""
        return SyncResults(Mapping(self, handler, requests, Options(window, ordered, outcomes, timeout_s, abandon)))
