"""Dead letters: their groups, those of a filter, and one."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shardq.deadletters import DeadLetter
from shardq.letters.frames import kind_of, last_frame
from shardq.web.desk import Desk
from shardq.web.filtered import Filtered
from shardq.web.guarding import MOST_BYTES
from shardq.web.letters import letter_of, listed, match_of, request_of
from shardq.web.rendering import ALONE_BYTES, MOST_SHOWN, as_text, request_in

#: Room that a form needs for all that is not the request: the id, and a reason of characters of four bytes.
_OTHER_FIELDS = 4 * 1024


async def dead(desk: Desk, request: Request) -> Response:
    query = request.query_params
    wanted, sees = Filtered.of(query), await desk.may(request, "view_payloads")
    async with desk.lookout.looking() as observer:
        counts = await observer.backlog()
    if not (wanted.handler or wanted.filters or "all" in query):
        return await desk.page(request, "groups.html", grouped=await desk.groups.found(), counts=counts)
    match = match_of(wanted.filters, sees_payloads=sees)
    found = await listed(desk.lookout, wanted.handler, match, wanted.after)
    shown = found.items if sees else [replace(its, letter=_without_payload(its.letter)) for its in found.items]
    return await desk.page(
        request,
        "letters.html",
        listing=wanted.listing("dead", found, all="1"),
        letters=[(its.id, its) for its in shown],
        counts=counts,
    )


async def letter(desk: Desk, request: Request) -> Response:
    buried = await letter_of(desk.lookout, request.query_params.get("id", ""))
    sees = await desk.may(request, "view_payloads")
    its = buried.letter if sees else _without_payload(buried.letter)
    text = _text_of(its) if sees else ""
    return await desk.page(
        request,
        "letter.html",
        id=buried.id,
        letter=its,
        frame=last_frame(buried.letter.traceback),
        text=text[:MOST_SHOWN],
        is_cut=len(text) > MOST_SHOWN,
        editable=sees and len(its.message) <= ALONE_BYTES and _fits_a_form(text),
        whole=text,
        module=its.handler.partition("/")[0],
    )


async def message(desk: Desk, request: Request) -> Response:
    """All of a request, as a file."""
    buried = await letter_of(desk.lookout, request.query_params.get("id", ""))
    text = msgspec.json.encode(request_of(buried.letter))
    headers = {"Content-Disposition": f'attachment; filename="request-{buried.number}.json"'}
    return Response(text, media_type="application/json", headers=headers)


def _fits_a_form(text: str) -> bool:
    """Whether a form takes it, in which a byte has three characters, and a line ends with two bytes."""
    return 3 * (len(text.encode()) + text.count("\n")) <= MOST_BYTES - _OTHER_FIELDS


def _text_of(its: DeadLetter) -> str:
    return as_text(request_in(its.message, ALONE_BYTES, its.secrets))


def _without_payload(its: DeadLetter) -> DeadLetter:
    """What may be seen without the right to see what is in requests and errors."""
    return msgspec.structs.replace(its, error=kind_of(its), traceback="")
