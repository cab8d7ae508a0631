"""Requests that wait for their time."""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response

from shardq.encoding.generic import readable
from shardq.errors import ScheduleError
from shardq.model import Scheduled
from shardq.scheduling.schedule import next_us
from shardq.web.desk import Desk

#: So many recurrent requests are shown, and so many of their times.
_LISTED, _TIMES = 50, 5


async def later(desk: Desk, request: Request) -> Response:
    sees = await desk.may(request, "view_payloads")
    found = list[Scheduled]()
    async with desk.lookout.looking() as observer:
        overview, after = await observer.overview(), None
        while len(found) < _LISTED:
            page = await observer.scheduled(after, _LISTED)
            found += page
            if (after := page.after) is None:
                break
    rows = [(its, times_of(its), readable(its.message) if sees else None) for its in found[:_LISTED]]
    due_us = overview.as_dict().get("next_due_us")
    due_s = due_us / 1e6 if due_us else None
    return await desk.page(request, "later.html", counts=overview.counts, rows=rows, next_due_s=due_s)


def times_of(scheduled: Scheduled) -> list[float]:
    """When it comes next and then, Unix seconds. Only the next one where its schedule cannot be read."""
    times = [scheduled.due_us]
    with suppress(ScheduleError):
        while len(times) < _TIMES and (due_us := next_us(scheduled.schedule, times[-1], times[-1])) is not None:
            times.append(due_us)
    return [due_us / 1e6 for due_us in times]
