"""Work that goes on where the task that waits for it is cancelled, be it once or at each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")

#: Event loops keep no task that is under way.
_tasks = set[asyncio.Task[Any]]()


def behind(work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
    """A task for the work, which its caller need not keep."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
