"""Helpers to watch coroutines without waiting for time to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds within which everything that must happen has happened on the slowest machine.
LIMIT_S = 30.0

#: Seconds after which something that must not happen counts as not happened. A test never needs it to be long.
NEVER_S = 0.05


#: Where verbs suspend although they need not wait: each says whether a storage of this process waits for an answer.
busy: list[Callable[[], bool]] = []
#: In so many rounds of the event loop what has an answer goes on.
_ROUNDS = 4


async def suspended(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start the coroutine and run it until it waits for something; fails if it finished at once."""
    task = asyncio.create_task(coroutine)
    await asyncio.wait({task}, timeout=0)
    async with asyncio.timeout(LIMIT_S):
        idle = 0
        while busy and not task.done() and idle < _ROUNDS:
            await asyncio.wait({task}, timeout=0)
            idle = 0 if any(is_busy() for is_busy in busy) else idle + 1
    assert not task.done(), f"finished instead of waiting: {task.result()!r}"
    return task


async def finished(task: asyncio.Task[T]) -> T:
    """The result of a task that must come to an end."""
    async with asyncio.timeout(LIMIT_S):
        return await task


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=LIMIT_S)
    assert task.cancelled()


async def eventually(happens: Callable[[], Any], what: str) -> None:
    """Wait until a function, or a coroutine function, says yes. Where an event tells of it, wait for that instead."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        said = happens()
        if await said if asyncio.iscoroutine(said) else said:
            return
        assert time.monotonic() < deadline, f"it did not happen that {what}"
        await asyncio.sleep(0.005)


async def in_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in another thread, on a loop of its own."""
    return await asyncio.to_thread(lambda: asyncio.run(work()))


def without_suspending(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that must not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("suspended")
