"""Takes part in the storage for an action. A thread does, as it waits where another process holds the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shardq.cli.opened import opened, run
from shardq.protocols import Storage
from shardq.web.desk import Desk

_Done = TypeVar("_Done")


async def act(desk: Desk, work: Callable[[Storage], Awaitable[_Done]]) -> _Done:
    """Do it in the storage, after the actions that came before. Raises what `work` raises."""

    async def attached() -> _Done:
        with opened(desk.site.url) as storage:
            return await work(storage)

    async with desk.acting:
        return await asyncio.to_thread(lambda: run(attached()))
