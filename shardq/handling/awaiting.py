"""What may have to be awaited, for code that can and for code that cannot: what a `route()` or a handler returned, what
a storage is to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from shardq.handler import drive

#: What is mostly returned, and never has to be awaited. To ask an abstract class takes a while.
_PLAIN = frozenset((type(None), list, tuple, dict, str, bytes, int, float, bool))


def is_awaitable(returned: Any) -> bool:
    """Whether what a `route()` or a handler returned has to be awaited."""
    return type(returned) not in _PLAIN and isinstance(returned, Awaitable)


def result_of(awaitable: Awaitable[Any], *, may_wait: bool) -> Any:
    """What the awaitable returns. Where a loop runs in this thread, `may_wait` is False and nothing may suspend."""
    return _wait_for(awaitable) if may_wait else drive(awaitable)


def loop_runs() -> bool:
    """Whether an event loop runs in this thread."""
    return asyncio._get_running_loop() is not None  # `get_running_loop` raises where there is none, 0.4 us a call


def _wait_for(awaitable: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())
