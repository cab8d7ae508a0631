"""The tubes with requests in them: a map of all, and how they are."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from shardq.model import TubeView
from shardq.web.looking import Lookout, Meter

#: So many cells a map of them has at most.
CELLS = 512


class Cell(NamedTuple):
    """Some threads that stand beside one another, as the worst of them is."""

    threads: int
    worst: TubeView


class Heat(NamedTuple):
    """All tubes that are not empty, some in each cell, in an order that stays."""

    unix_s: float
    tubes: int
    cells: Sequence[Cell]


async def scan(lookout: Lookout, meter: Meter) -> Heat:
    """Look at all tubes. Raises what looks raise."""
    unix_s = time.time()
    views = [view async for view in _all(lookout, meter)]
    width = max(1, -(-len(views) // CELLS))
    rows = (views[start : start + width] for start in range(0, len(views), width))
    cells = [Cell(len(row), max(row, key=lambda view: view.oldest_age_s or 0.0)) for row in rows]
    return Heat(unix_s, len(views), cells)


def state_of(view: TubeView) -> str:
    """Why its requests run, or do not."""
    if view.worker_pid:
        return f"worker {view.worker_pid} has it"
    if view.unserved:
        return "no worker that looks for work has a handler for it"
    if view.rests_s:
        return "it rests: a request waits for its next attempt, its handler did not start, or there was no room"
    return "it waits for a worker that is free" if view.unserved is not None else ""


async def _all(lookout: Lookout, meter: Meter) -> AsyncIterator[TubeView]:
    after = None
    while True:
        async with lookout.looking() as observer:
            page = await meter(observer.tubes(after))
        for view in page:
            yield view
        after = page.after
        if after is None:
            return
