"""Pauses handlers, one or all, and has them go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shardq.auditing import target_of
from shardq.errors import ConfigurationError, HandlerError
from shardq.model import INBOX, KEPT_PIPE, MOST_PAUSES, When
from shardq.protocols import Storage
from shardq.text.wording import counted
from shardq.web.acting import act
from shardq.web.desk import Desk, form_of, one
from shardq.web.looking import overview_of

#: For how many seconds the page offers to pause a handler, and in words. The first one has no end.
SPANS = {"": "until it is resumed", "300": "for five minutes", "3600": "for an hour", "86400": "for a day"}


async def ask(desk: Desk, request: Request) -> Response:
    """Ask for how long, and why: `?handler=`, or `?all=1` for all that are not paused."""
    query = request.query_params
    everything = "all" in query
    handlers = await _goes_on(desk) if everything else _named({"handler": query.getlist("handler")})
    return await desk.page(request, "pause.html", handlers=handlers, everything=everything, spans=SPANS)


async def pause(desk: Desk, request: Request) -> Response:
    fields = await form_of(request)
    handlers, span, reason = _named(fields), one(fields, "span"), one(fields, "reason").strip()
    if span not in SPANS:
        raise ConfigurationError("choose one of the spans for which a handler can be paused here")
    until = When(after_us=int(span) * 1_000_000) if span else None

    deed, refused = desk.deed(request, "pause", target_of(handlers, ()), reason), list[str]()

    async def work(storage: Storage) -> None:
        for handler in handlers:
            try:
                await storage.pause(handler, until, reason)
                deed.count += 1
            except HandlerError as error:
                refused.append(str(error))

    await act(desk, work, deed)
    if refused:
        desk.lookout.forget()
        others = f"; {counted(deed.count, 'other is', 'others are')} paused" if len(handlers) > 1 else ""
        raise ConfigurationError(f"{'; '.join(refused)}{others}")
    return _back(desk, fields)


async def resume(desk: Desk, request: Request) -> Response:
    fields = await form_of(request)
    handlers = _named(fields)
    deed = desk.deed(request, "resume", target_of(handlers, ()))

    async def work(storage: Storage) -> None:
        for handler in handlers:
            deed.count += await storage.resume(handler)

    await act(desk, work, deed)
    return _back(desk, fields)


async def _goes_on(desk: Desk) -> list[str]:
    """The handlers that are known and not paused. Raises `ConfigurationError` where they cannot be paused together."""
    desk.lookout.forget()
    sample = await desk.lookout.now()
    paused = {its.handler for its in overview_of(sample).paused}
    async with desk.lookout.looking() as observer:
        workers = (await observer.facts(KEPT_PIPE)).workers or ()
    served = {name for worker in workers for name in worker.handlers or ()}
    known = {its.handler for its in sample.handlers if "/" in its.handler}  # those beyond the first 254 have no name
    found = sorted((known | served) - paused - {INBOX})
    if not found:
        raise ConfigurationError("there is no handler to pause: none is known, or all are paused")
    if len(found) + len(paused) > MOST_PAUSES:
        raise ConfigurationError(
            f"there are {len(found)} handlers to pause, and no more than {MOST_PAUSES} are paused at one time: choose "
            f"some on the page of handlers"
        )
    return found


def _named(fields: Mapping[str, Sequence[str]]) -> list[str]:
    """The handlers that are meant, each once."""
    handlers = [name for name in dict.fromkeys(fields.get("handler", ())) if name]
    if not handlers:
        raise ConfigurationError("choose a handler on the page of handlers")
    return handlers


def _back(desk: Desk, fields: Mapping[str, Sequence[str]]) -> Response:
    """To where it was asked for, which shows what became of it."""
    desk.lookout.forget()
    return RedirectResponse("./" if "all" in fields else "handlers", 303)
