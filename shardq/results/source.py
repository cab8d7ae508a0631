"""The input of a map: read no further than results are consumed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from shardq.handling.isolation import plainly
from shardq.results.coming import Coming

#: As many requests are read before the time is looked at.
_AT_ONCE = 32


class Source:
    """Requests, of which there may be any number. Those of an asynchronous input are taken as they come."""

    def __init__(self, requests: Iterable[Any] | AsyncIterable[Any], *, sees_no_loop: bool) -> None:
        """`sees_no_loop`: code of the input finds no running event loop, as that of its caller."""
        self._sees_no_loop = sees_no_loop
        self._plain: Iterator[Any] | None = None
        self._coming: Coming | None = None
        if isinstance(requests, AsyncIterable):
            self._coming = Coming(aiter(requests))
        else:
            self._plain = self._called(iter, requests)
        self.next: asyncio.Future[Any] | None = None
        """The request that comes next, where it is waited for."""
        self.over = False
        """Whether there are no more."""
        self.error: Exception | None = None
        """What the input raised, or a request of it that cannot be sent: the caller gets it behind all results."""
        self._found = list[Any]()
        """What came before `take` was cancelled."""

    async def take(self, most: int, until: float) -> list[Any]:
        """So many requests, fewer where there are no more, where more have to be waited for, or where it is later than
        `until`, monotonic; one at least. What the input raises ends it.
        """
        found, self._found = self._found, []
        try:
            if self._plain is not None:
                self._add_what_is_there(self._plain, found, most, until)
            else:
                await self._add_what_comes(found, most)
        except Exception as error:
            self.end_with(error)
        except BaseException:
            self._found = found  # for the next call
            raise
        return found

    def end_with(self, error: Exception) -> None:
        """Read no further, because of this."""
        self.over, self.error = True, error

    def _add_what_is_there(self, plain: Iterator[Any], found: list[Any], most: int, until: float) -> None:
        while len(found) < most and not self.over:
            end = min(len(found) + _AT_ONCE, most)
            self._called(found.extend, islice(plain, end - len(found)))  # keeps what comes before an exception
            self.over = len(found) < end
            if time.monotonic() >= until:
                return

    def _called(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns that runs code of the input."""
        return plainly(function, *arguments) if self._sees_no_loop else function(*arguments)

    async def _add_what_comes(self, found: list[Any], most: int) -> None:
        assert self._coming
        while len(found) < most and not self.over:
            if self.next is None:
                self.next = self._coming.ask()
                await asyncio.sleep(0)
            if not self.next.done():
                return
            came, self.next = self.next, None
            try:
                found.append(came.result())
            except StopAsyncIteration:
                self.over = True

    async def close(self) -> None:
        """Wait for no more."""
        self.next = None
        if self._coming:
            await self._coming.close()
