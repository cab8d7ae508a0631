"""The futures by which a lock tells that a claim of it is lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Losses:
    """For each key the futures of those that want to hear of it. A lock is used from one thread at a time."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def future(self, key: str, *, held: bool) -> asyncio.Future[None]:
        """A future that `tell` or `forget` ends; done already where the key is not `held`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if held:
            self._waiting.setdefault(key, []).append(future)
        else:
            future.set_result(None)
        return future

    def of(self, key: str) -> list[asyncio.Future[None]]:
        """Those that want to hear of this key."""
        return self._waiting.get(key, [])

    def tell(self, key: str) -> None:
        """The claim on the key is lost."""
        for future in self._waiting.pop(key, ()):
            with suppress(RuntimeError):  # its loop is closed: nothing waits there any more
                future.get_loop().call_soon_threadsafe(_finish, future)

    def forget(self, key: str) -> None:
        """The claim on the key is given up."""
        for future in self._waiting.pop(key, ()) if self._waiting else ():
            with suppress(RuntimeError):
                future.cancel()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
