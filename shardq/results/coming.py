"""The asynchronous input of a map: read by one task, a request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import copy_context
from typing import Any


class Coming:
    """Requests that come one by one. One task reads them all: so context variables, and limits as `asyncio.timeout`
    sets them, last from one request to the next.
    """

    def __init__(self, coming: AsyncIterator[Any]) -> None:
        self._coming = coming
        self._context = copy_context()
        self._task: asyncio.Task[None] | None = None
        self._asked: asyncio.Future[None] | None = None
        """Done where the next request is asked for while the task waits for that."""
        self._next: asyncio.Future[Any]
        self._closed = False

    def ask(self) -> asyncio.Future[Any]:
        """The next request, or what the input raised; the one before was taken. It is read from now on."""
        self._next = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.create_task(self._read(), context=self._context)
        elif self._asked and not self._asked.done():
            self._asked.set_result(None)
        return self._next

    async def close(self) -> None:
        """Wait for no more."""
        self._closed = True
        if self._task is None:
            return
        self._task.cancel()
        # Not awaited itself: what it raises would take the place of what ended the map, and a cancellation of this task
        # could not be told from that one.
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.exception()
        if self._next.done() and not self._next.cancelled():
            self._next.exception()

    async def _read(self) -> None:
        while not self._closed:
            its = self._next
            try:
                its.set_result(await anext(self._coming))
            except asyncio.CancelledError:
                its.cancel()
            except BaseException as error:
                its.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            await self._until_asked(its)

    async def _until_asked(self, before: asyncio.Future[Any]) -> None:
        """A limit of the input that is reached meanwhile cancels this task: the input meets it at its next step."""
        task, cancelled = asyncio.current_task(), 0
        assert task
        while self._next is before and not self._closed:
            self._asked = asyncio.get_running_loop().create_future()
            try:
                await self._asked
            except asyncio.CancelledError:
                if self._closed:
                    raise
                cancelled += 1
                task.uncancel()
        for _ in range(cancelled):
            task.cancel()
