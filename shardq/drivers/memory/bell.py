"""Wakes the coroutines that wait in the in-memory driver, on any event loop, from any thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

_Found = TypeVar("_Found")


class Bell:
    """Wakes coroutines of any loop from any thread. Join, leave and ring it under the lock of its storage."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._futures: set[asyncio.Future[None]] = set()

    def join(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        return future

    def leave(self, future: asyncio.Future[None]) -> None:
        self._futures.discard(future)

    def ring(self) -> None:
        for future in self._futures:
            try:
                future.get_loop().call_soon_threadsafe(_resolve, future)
            except RuntimeError:
                continue  # its loop was closed while it waited: there is no coroutine left to wake
        self._futures.clear()

    async def heard(self, rung: asyncio.Future[None], timeout_s: float | None) -> bool:
        """Whether the bell was rung in time. Never call it under the lock of the storage."""
        try:
            done, _ = await asyncio.wait((rung,), timeout=timeout_s)
            return bool(done)
        finally:
            with self._lock:
                self.leave(rung)

    async def until(
        self,
        look: Callable[[], _Found | None],
        timeout_s: float | None,
        next_s: Callable[[], float | None] = lambda: None,
    ) -> _Found | None:
        """What `look` finds, once it finds something; None after `timeout_s`. It looks again whenever the bell is rung,
        and after so many seconds as `next_s` says each time. Both are called under the lock.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self._lock:
                found = look()
                left_s = None if deadline is None else deadline - time.monotonic()
                if found is not None or (left_s is not None and left_s <= 0):
                    return found
                rung, pause_s = self.join(), next_s()
            await self.heard(rung, left_s if pause_s is None else pause_s if left_s is None else min(left_s, pause_s))


class Bells(NamedTuple):
    """Those of one storage, by what coroutines wait for."""

    work: Bell
    room: Bell
    quiet: Bell
    """Nothing is queued."""
    all_done: Bell
    """Nor is anything deferred."""


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
