"""Pauses handlers, and has them go on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shardq.errors import ConfigurationError, HandlerError
from shardq.model import When
from shardq.protocols import Storage
from shardq.web.acting import act
from shardq.web.desk import Desk, form_of, one

#: For how many seconds the page offers to pause a handler, and in words. The first one has no end.
SPANS = {"": "until it is resumed", "300": "for five minutes", "3600": "for an hour", "86400": "for a day"}


async def ask(desk: Desk, request: Request) -> Response:
    """Ask for how long, and why."""
    return await desk.page(request, "pause.html", handler=_named(request.query_params.get("handler", "")), spans=SPANS)


async def pause(desk: Desk, request: Request) -> Response:
    fields = await form_of(request)
    handler, span, reason = _named(one(fields, "handler")), one(fields, "span"), one(fields, "reason").strip()
    if span not in SPANS:
        raise ConfigurationError("choose one of the spans for which a handler can be paused here")
    until = When(after_us=int(span) * 1_000_000) if span else None

    deed = desk.deed(request, "pause", handler, reason)

    async def work(storage: Storage) -> None:
        try:
            await storage.pause(handler, until, reason)
        except HandlerError as error:
            raise ConfigurationError(str(error)) from error
        deed.count = 1

    await act(desk, work, deed)
    return _back(desk)


async def resume(desk: Desk, request: Request) -> Response:
    handler = _named(one(await form_of(request), "handler"))
    deed = desk.deed(request, "resume", handler)

    async def work(storage: Storage) -> None:
        deed.count = int(await storage.resume(handler))

    await act(desk, work, deed)
    return _back(desk)


def _named(handler: str) -> str:
    if not handler:
        raise ConfigurationError("choose a handler on the page of handlers")
    return handler


def _back(desk: Desk) -> Response:
    """To the page of handlers, which shows what became of it."""
    desk.lookout.forget()
    return RedirectResponse("handlers", 303)
