"""`map` for plain functions, as a supervisor has it."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from shardq.functions.mapping import FunctionMapping
from shardq.queue import Queue
from shardq.results.mapping import Options
from shardq.results.outcome import Outcome
from shardq.results.results import Results, SyncResults

Item = TypeVar("Item")
Value = TypeVar("Value")
_Yes = Literal[True]
_No = Literal[False]
_Coming = Iterable[Item] | AsyncIterable[Item]
_Plain = Callable[[Item], Value]
_Async = Callable[[Item], Coroutine[Any, Any, Value]]


class _Options(TypedDict, total=False):
    window: int | None
    ordered: bool
    timeout_s: float | None


class Maps:
    """What calls functions in the workers of a queue."""

    @property
    def queue(self) -> Queue:
        """The queue that the workers serve."""
        raise NotImplementedError

    @property
    def functions_key(self) -> str:
        """What the application and the workers know, and the storage does not. Raises `ConfigurationError` where
        workers of other families, which have another one, may get the items.
        """
        raise NotImplementedError

    @overload
    def map(
        self, function: _Async[Item, Value], items: _Coming[Item], *, outcomes: _Yes, **more: Unpack[_Options]
    ) -> Results[Outcome[Value]]: ...
    @overload
    def map(
        self, function: _Plain[Item, Value], items: _Coming[Item], *, outcomes: _Yes, **more: Unpack[_Options]
    ) -> Results[Outcome[Value]]: ...
    @overload
    def map(
        self, function: _Async[Item, Value], items: _Coming[Item], *, outcomes: _No = False, **more: Unpack[_Options]
    ) -> Results[Value]: ...
    @overload
    def map(
        self, function: _Plain[Item, Value], items: _Coming[Item], *, outcomes: _No = False, **more: Unpack[_Options]
    ) -> Results[Value]: ...
    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        window: int | None = None,
        ordered: bool = True,
        outcomes: bool = False,
        timeout_s: float | None = None,
    ) -> Results[Any]:
        """What a function returns for each item, as a block: `async with supervisor.map(...) as results`, and in it
        `async for`. The workers call it; it needs no handler, and none has to be served for it.

        The function has one argument, and stands at the top of a module or of the script that was started; a coroutine
        function is awaited. Items and results are messages, as requests are: their types are those of its annotations,
        and without one they are plain values. In which order and in which worker items are done is not said. An item
        whose worker dies is tried again, up to 3 times. What the function raises is not: it ends the block as
        `RequestFailed`, or with `outcomes` is one of the outcomes.

        Workers call only functions that an application with their key names, which `Supervisor` makes and gives them.
        Where several families serve one storage, on a server or with `if_running="attach"`, their programs need the
        same one: without `SHARDQ_FUNCTIONS_KEY` in the environment `ConfigurationError` is raised there.

        `window`, `ordered`, `outcomes`, `timeout_s` and the exceptions are those of `Queue.map`. Raises `HandlerError`
        for a function that workers cannot import or call with one item, and `RequestError` for an item that would not
        arrive as it is.
        """
        options = Options(window, ordered, outcomes, timeout_s, True)
        return Results(FunctionMapping(self.queue, self.functions_key, function, items, options))

    @overload
    def map_sync(
        self, function: _Async[Item, Value], items: Iterable[Item], *, outcomes: _Yes, **more: Unpack[_Options]
    ) -> SyncResults[Outcome[Value]]: ...
    @overload
    def map_sync(
        self, function: _Plain[Item, Value], items: Iterable[Item], *, outcomes: _Yes, **more: Unpack[_Options]
    ) -> SyncResults[Outcome[Value]]: ...
    @overload
    def map_sync(
        self, function: _Async[Item, Value], items: Iterable[Item], *, outcomes: _No = False, **more: Unpack[_Options]
    ) -> SyncResults[Value]: ...
    @overload
    def map_sync(
        self, function: _Plain[Item, Value], items: Iterable[Item], *, outcomes: _No = False, **more: Unpack[_Options]
    ) -> SyncResults[Value]: ...
    def map_sync(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        window: int | None = None,
        ordered: bool = True,
        outcomes: bool = False,
        timeout_s: float | None = None,
    ) -> SyncResults[Any]:
        """`map` for code without an event loop: `with supervisor.map_sync(...) as results`, and in it `for`."""
        options = Options(window, ordered, outcomes, timeout_s, True)
        return SyncResults(FunctionMapping(self.queue, self.functions_key, function, items, options))
