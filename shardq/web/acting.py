"""Takes part in the storage for an action. A thread does, as it waits where another process holds the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shardq.auditing import Deed, log, recorded
from shardq.cli.opened import opened, run
from shardq.errors import ShardqError
from shardq.protocols import Storage
from shardq.web.desk import Desk

_Done = TypeVar("_Done")


async def act(desk: Desk, work: Callable[[Storage], Awaitable[_Done]], deed: Deed) -> _Done:
    """Do it in the storage, after the actions that came before. `deed` is what `Desk.deed` made: where its `count` says
    in the end that something was done, that is recorded. Raises what `work` raises.
    """

    async def attached() -> _Done:
        with opened(desk.site.url) as storage:
            async with recorded(storage, deed):
                return await work(storage)

    async with desk.acting:
        return await asyncio.to_thread(lambda: run(attached()))


async def note(desk: Desk, deed: Deed) -> None:
    """Record what was done outside of the storage. Where the storage cannot be entered a warning says so, since it is
    done: a process that keeps the guard is a reason to kill it.
    """

    async def nothing(storage: Storage) -> None: ...

    try:
        await act(desk, nothing, deed)
    except ShardqError as error:
        log.warning("%s was done, and could not be recorded: %s", deed.what, error)
