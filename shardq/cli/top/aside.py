"""A thread with an event loop of its own, for what may take long or wait for a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Aside:
    """Does one thing after the other. Close it when done."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shardq-top")
        self._runner = asyncio.Runner()

    async def do(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """What the coroutine function returns or raises, without holding up the loop of the caller."""
        # Called there: a caller that is cancelled before leaves no coroutine that was never awaited.
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: self._runner.run(work()))

    def close(self) -> None:
        """Wait for what is being done, and end."""
        self._thread.submit(self._runner.close)
        self._thread.shutdown()
