"""What each event loop of a process has of its own, such as connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any


class PerLoop:
    """One thing for each running event loop, closed when the loop ends."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]] = {}
        self._lock = threading.Lock()

    async def here(self) -> Any:
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found:
            return found[0]
        made = self._make()
        ending = self._until_loop_ends(loop, made)
        with self._lock:
            self._made[loop] = made, ending
        await anext(ending)  # so the loop knows of it, and closes it in its end
        return made

    @property
    def all(self) -> list[Any]:
        return [made for made, _ in list(self._made.values())]

    def already_here(self) -> Any:
        """The one of this loop, None where there is none yet."""
        found = self._made.get(asyncio.get_running_loop())
        return found and found[0]

    def close(self) -> None:
        """Close those of this loop at once, and those of others in their loops."""
        with self._lock:
            made, self._made = self._made, {}
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for loop, (its, _) in made.items():
            if loop is running:
                its.close()
            else:
                with suppress(RuntimeError):  # the loop is closed, and closed it
                    loop.call_soon_threadsafe(its.close)

    async def _until_loop_ends(self, loop: asyncio.AbstractEventLoop, made: Any) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with self._lock:
                self._made.pop(loop, None)
            made.close()
