"""Requests that wait for their time, and those that come again and again."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from shardq.cli.recurrent import id_of
from shardq.encoding.generic import readable
from shardq.later.requests import Waiting
from shardq.model import Scheduled, key_of, split_key
from shardq.scheduling.schedule import next_times_us
from shardq.web.desk import Desk
from shardq.web.later import match_of
from shardq.web.paging import listed

#: So many recurrent requests are shown.
_LISTED = 50


async def later(desk: Desk, request: Request) -> Response:
    query, sees = request.query_params, await desk.may(request, "view_payloads")
    handler, filters = query.get("handler") or None, [its for its in query.getlist("match") if its.strip()]
    after, match = query.get("after") or None, match_of(filters, sees_payloads=sees)
    again = list[Scheduled]()
    async with desk.lookout.looking() as observer:
        overview, behind = await observer.overview(), None
        while len(again) < _LISTED:
            page = await observer.scheduled(behind, _LISTED)
            again += page
            if (behind := page.after) is None:
                break
        found = await listed(Waiting(observer).each(handler, after=after), match, after)
    due_us = overview.as_dict().get("next_due_us")
    paused = {its.handler for its in overview.paused}
    same = [("handler", handler or ""), *(("match", its) for its in filters)]
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
                readable(its.message) if sees else None,
            )
            for its in again[:_LISTED]
        ],
        once=[(its, readable(its.message) if sees else None) for its in found.items],
        paused=paused,
        handler=handler,
        filters=filters,
        found=found,
        further=f"later?{urlencode([*same, ('after', found.after)])}" if found.after else None,
        first=f"later?{urlencode(same)}" if after else None,
    )
