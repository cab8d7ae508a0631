"""Makes dead letters of what is in a tube."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shardq.cli.dead.parking import park_in
from shardq.errors import ConfigurationError
from shardq.text.wording import counted
from shardq.web.acting import act
from shardq.web.desk import Desk, form_of, one
from shardq.web.pages.threads import tube_named


async def ask(desk: Desk, request: Request) -> Response:
    """Say how many requests would become dead letters."""
    return await _asked(desk, request, tube_named(request.query_params.get("pipe", "")), changed=False)


async def park(desk: Desk, request: Request) -> Response:
    """Park as many as the page said. Where there are more by now, ask again."""
    fields = await form_of(request)
    pipe, said = tube_named(one(fields, "pipe")), one(fields, "count")
    if not said.isdecimal() or len(said) > 18:
        raise ConfigurationError("begin on the page of the thread, which says how many requests it has")
    async with desk.lookout.looking() as observer:
        there = await observer.length(pipe)
    if there > int(said):
        return await _asked(desk, request, pipe, changed=True)
    deed = desk.deed(request, "park", pipe, one(fields, "reason"))
    await act(desk, lambda storage: park_in(storage, pipe, deed, int(said)), deed)
    return await desk.told(request, f"{counted(deed.count, 'request')} of {pipe} became dead letters.", back="dead")


async def _asked(desk: Desk, request: Request, pipe: str, *, changed: bool) -> Response:
    async with desk.lookout.looking() as observer:
        count = await observer.length(pipe)
    return await desk.page(request, "ask-park.html", pipe=pipe, count=count, changed=changed)
