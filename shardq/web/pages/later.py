"""Requests that wait for their time, and those that come again and again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shardq.cli.recurrent import id_of
from shardq.later.requests import Waiting
from shardq.model import Scheduled, key_of, split_key
from shardq.scheduling.schedule import next_times_us
from shardq.web.desk import Desk
from shardq.web.filtered import Filtered
from shardq.web.later import match_of
from shardq.web.paging import listed
from shardq.web.rendering import LISTED_BYTES, request_in

#: So many recurrent requests are shown.
_LISTED = 50


async def later(desk: Desk, request: Request) -> Response:
    wanted, sees = Filtered.of(request.query_params), await desk.may(request, "view_payloads")
    match = match_of(wanted.filters, sees_payloads=sees)
    again = list[Scheduled]()
    async with desk.lookout.looking() as observer:
        overview, behind = await observer.overview(), None
        while len(again) < _LISTED:
            page = await observer.scheduled(behind, _LISTED)
            again += page
            if (behind := page.after) is None:
                break
        found = await listed(Waiting(observer).each(wanted.handler, after=wanted.after), match, wanted.after)
    due_us = overview.as_dict().get("next_due_us")
    paused = {its.handler for its in overview.paused}
    return await desk.page(
        request,
        "later.html",
        counts=overview.counts,
        next_due_s=due_us / 1e6 if due_us else None,
        again=[
            (
                its,
                id_of(its),
                split_key(key_of(its.pipe))[0],
                [time_us / 1e6 for time_us in next_times_us(its.schedule, its.due_us)],
                request_in(its.message, LISTED_BYTES) if sees else None,
            )
            for its in again[:_LISTED]
        ],
        once=[(its.id, (its, request_in(its.message, LISTED_BYTES) if sees else None)) for its in found.items],
        paused=paused,
        listing=wanted.listing("later", found),
    )
