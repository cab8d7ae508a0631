"""Limits the time of a handler's code: code that waits is cancelled, code that runs is interrupted by an alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from shardq.errors import HandlerTimeout
from shardq.text.portrait import Alarm


async def within(timeout_s: float, result: Awaitable[Any], alarm: Alarm) -> Any:
    """The result, within so many seconds. Raises `HandlerTimeout`."""
    limit = asyncio.timeout(None)
    try:
        async with limit:
            with alarm(timeout_s), _running_out(limit, timeout_s):
                return await result
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise HandlerTimeout(f"it took longer than timeout_s, {timeout_s} s") from error


def ran_late(due: float, now: float, timeout_s: float) -> bool:
    """Whether a process that looks at the clock now did not run when a time of so many seconds was over."""
    return now - due > 0.1 + timeout_s / 8


@contextmanager
def _running_out(limit: asyncio.Timeout, timeout_s: float) -> Iterator[None]:
    """Let the limit be reached after so many seconds. Where the process was stopped when they were over, they begin
    anew.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + timeout_s
    handle: asyncio.TimerHandle

    def end() -> None:
        nonlocal due, handle
        now = loop.time()
        if not ran_late(due, now, timeout_s):
            limit.reschedule(now)
            return
        due, handle = now + timeout_s, loop.call_later(timeout_s, end)

    handle = loop.call_later(timeout_s, end)
    try:
        yield
    finally:
        handle.cancel()
