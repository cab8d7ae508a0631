"""Wakes the coroutines that wait in the in-memory driver, on any event loop, from any thread."""

from __future__ import annotations

import asyncio
import threading


class Bell:
    """Wakes coroutines of any loop from any thread. Join, leave and ring it under the lock of its storage."""

    def __init__(self) -> None:
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

    async def heard(self, rung: asyncio.Future[None], timeout_s: float | None, lock: threading.Lock) -> bool:
        """Whether the bell was rung in time. Never call it under the lock of the storage, which it takes at its end."""
        try:
            done, _ = await asyncio.wait((rung,), timeout=timeout_s)
            return bool(done)
        finally:
            with lock:
                self.leave(rung)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
