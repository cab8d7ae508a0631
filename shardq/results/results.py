"""What `Queue.map` and `Queue.map_sync` return: a block, in which the results are read one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from shardq.errors import HandlerError
from shardq.handling.isolation import for_plain_caller
from shardq.results.mapping import Mapping
from shardq.results.summary import MapProgress, Summary

Value = TypeVar("Value")


class _Block(Generic[Value]):
    """What both kinds of results know of themselves."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._ready = deque[Value]()
        """Results that are there and were not taken yet: what one loop has not taken, the next one finds."""

    @property
    def summary(self) -> Summary:
        """What the map came to so far, and after its end."""
        return self._mapping.tally.summary

    @property
    def progress(self) -> MapProgress:
        """How far it is, also once the block is left."""
        return self._mapping.progress

    def __len__(self) -> int:
        """How many results there will be. Raises `TypeError` where the input does not tell how long it is."""
        if self._mapping.total is None:
            raise TypeError("the input of this map has no length, so its results have none: give it a list")
        return self._mapping.total

    def __bool__(self) -> bool:
        return True


class Results(_Block[Value]):
    """The results of a `map`. Use it in `async with`, and iterate over it: each result comes once."""

    def __init__(self, mapping: Mapping) -> None:
        super().__init__(mapping)
        self._turn = asyncio.Lock()
        """Several tasks may take results: one of them waits for more."""

    async def __aenter__(self) -> Self:
        await self._mapping.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready.clear()
        if error is not None and issubclass(type(error), KeyboardInterrupt | asyncio.CancelledError):
            error.add_note(self._mapping.how_to_resume)
        await self._mapping.close()

    async def __aiter__(self) -> AsyncIterator[Value]:
        ready = self._ready
        while ready or await self._has_more():
            # A generator that was left is closed at any later time, so each result leaves before it is handed out.
            while ready:
                self._mapping.handed_out += 1
                yield ready.popleft()

    async def __anext__(self) -> Value:
        """The next result, for code that asks for one at a time. Where that took too long, it may ask again."""
        if not self._ready and not await self._has_more():
            raise StopAsyncIteration
        self._mapping.handed_out += 1
        return self._ready.popleft()

    async def _has_more(self) -> bool:
        """Wait for the next results. False: all were handed out."""
        async with self._turn:
            if self._ready:
                return True
            found = await self._mapping.more()
            self._ready.extend(found or ())
            return found is not None


class SyncResults(_Block[Value]):
    """The results of a `map_sync`. Use it in `with`, and iterate over it: each result comes once."""

    def __init__(self, mapping: Mapping) -> None:
        super().__init__(mapping)
        mapping.is_plain = True
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        if asyncio._get_running_loop() is not None:
            raise HandlerError("map_sync cannot wait where an event loop runs: use `async with` and `map` there")
        try:
            self._runner.run(self._mapping.open())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready.clear()
        if error is not None and issubclass(type(error), KeyboardInterrupt):
            error.add_note(self._mapping.how_to_resume)
        loop = asyncio._get_running_loop()
        if loop is None:
            self._close()
        else:
            # A generator that was left within this block is collected wherever that happens, as in the thread of a web
            # server's event loop, and in the middle of its code. So another thread closes the block, once the loop has
            # its turn.
            loop.call_soon_threadsafe(loop.run_in_executor, None, self._close)

    def _close(self) -> None:
        with self._runner:
            self._runner.run(self._mapping.close())

    def __iter__(self) -> Iterator[Value]:
        ready = self._ready
        while ready or self._has_more():
            while ready:
                self._mapping.handed_out += 1
                yield ready.popleft()

    def _has_more(self) -> bool:
        """Wait for the next results. False: all were handed out."""
        self._mapping.check_open()
        found = self._runner.run(for_plain_caller(self._mapping.more()))
        self._ready.extend(found or ())
        return found is not None
