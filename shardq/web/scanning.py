"""The tubes with requests in them: a map of all, and how they are."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from shardq.cli.render import age
from shardq.model import TubeView
from shardq.text.printable import printable
from shardq.text.wording import counted
from shardq.web.charts import heat_map
from shardq.web.looking import Lookout, Meter

#: So many cells a map of them has at most.
CELLS = 512


class Heat(NamedTuple):
    """All tubes that are not empty."""

    unix_s: float
    tubes: int
    cells: int
    chart: Markup | None
    """Some of them in each cell, in an order that stays. It is drawn once, and shown until the next one is done."""


async def scan(lookout: Lookout, meter: Meter) -> Heat:
    """Look at all tubes. Raises what looks raise."""
    unix_s = time.time()
    views = [view async for view in _all(lookout, meter)]
    width = max(1, -(-len(views) // CELLS))
    cells = [_cell(views[start : start + width]) for start in range(0, len(views), width)]
    return Heat(unix_s, len(views), len(cells), heat_map(cells) if cells else None)


def state_of(view: TubeView) -> str:
    """Why its requests run, or do not."""
    if view.worker_pid:
        return f"worker {view.worker_pid} has it"
    if view.unserved:
        return "no worker that looks for work has a handler for it"
    if view.rests_s:
        return "it rests: a request waits for its next attempt, its handler did not start, or there was no room"
    return "it waits for a worker that is free" if view.unserved is not None else ""


def _cell(views: Sequence[TubeView]) -> tuple[str, str, float]:
    """Some that stand beside one another, as the worst of them is: its address, a text, and its age in seconds."""
    worst = max(views, key=lambda view: view.oldest_age_s or 0.0)
    age_s = worst.oldest_age_s or 0.0
    among = f", the worst of {counted(len(views), 'tube')}" if len(views) > 1 else ""
    told = f"{printable(worst.pipe)}: {worst.queued:,} queued, the oldest for {age(age_s) or '0 s'}{among}"
    return f"thread?pipe={quote(worst.pipe, safe='')}", told, age_s


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
