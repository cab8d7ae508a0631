"""Cancels requests that wait for their time, has them come now, and skips or ends recurrent ones."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from shardq.auditing import Deed
from shardq.cli.deferred.coming import again
from shardq.errors import ConfigurationError, ShardqError
from shardq.exporting import Export, new_file_name
from shardq.later.exported import lines
from shardq.later.requests import Later, Waiting
from shardq.model import Deferred
from shardq.protocols import Storage
from shardq.recurrent import recurring_of
from shardq.scheduling.schedule import next_times_us
from shardq.text.wording import counted
from shardq.web.acting import act
from shardq.web.desk import Desk, form_of, one
from shardq.web.later import chosen, recurrent
from shardq.web.wish import Wish

#: What can be asked for, and how it is called.
_BULK = {"cancel": "Cancel", "run": "Run now"}
_SINGLE = {"skip": "Skip the next time of", "end": "End"}
#: So many are acted upon in one step.
_AT_ONCE = 256


async def ask(desk: Desk, request: Request) -> Response:
    """Say how many requests that wait an action would hit."""
    query = request.query_params
    verb = query.get("what", "")
    if verb not in _BULK:
        raise ConfigurationError("choose what is to be done")
    wish = Wish.of({name: query.getlist(name) for name in query})
    return await _asked(desk, request, verb, wish, changed=False)


async def ask_recurrent(desk: Desk, request: Request) -> Response:
    """Say which recurrent request is meant, and when it comes."""
    query = request.query_params
    verb = query.get("what", "")
    if verb not in _SINGLE:
        raise ConfigurationError("choose what is to be done")
    async with desk.lookout.looking() as observer:
        its = await recurrent(again(observer), query.get("id", ""))
    times = [due_us / 1e6 for due_us in next_times_us(its.schedule, its.due_us)]
    return await desk.page(request, "ask-recurrent.html", verb=verb, name=_SINGLE[verb], its=its, times=times)


async def cancel(desk: Desk, request: Request) -> Response:
    path = os.path.join(desk.site.exports, new_file_name("cancelled"))

    async def work(later: Later, found: Sequence[Deferred], done: Deed) -> None:
        with Export(path) as export:
            for start in range(0, len(found), _AT_ONCE):
                some = found[start : start + _AT_ONCE]
                export.add(lines(some))
                done.count += await later.cancel(*some)

    return await _bulk(desk, request, "cancel", work, path)


async def run(desk: Desk, request: Request) -> Response:
    async def work(later: Later, found: Sequence[Deferred], done: Deed) -> None:
        for its in found:
            done.count += await later.run(its)

    return await _bulk(desk, request, "run", work)


async def skip(desk: Desk, request: Request) -> Response:
    """Skip the time that the page said, and no other."""
    fields = await form_of(request)
    said = one(fields, "due_us")
    if not said.isdecimal() or len(said) > 18:
        raise ConfigurationError("begin on the page Later, which says when the request comes")

    deed = desk.deed(request, "later skip", one(fields, "id"), one(fields, "reason"))

    async def work(storage: Storage) -> None:
        its = await recurrent(again(storage), one(fields, "id"))
        deed.count = int(await Later(storage).skip(recurring_of(its.as_scheduled._replace(due_us=int(said)))))

    await act(desk, work, deed)
    told = "It is left out once." if deed.count else "It came meanwhile, or was skipped by another."
    return await desk.told(request, told, back="later")


async def end(desk: Desk, request: Request) -> Response:
    """End the schedule of a recurrent request."""
    fields = await form_of(request)

    deed = desk.deed(request, "recurrent cancel", one(fields, "id"), one(fields, "reason"))

    async def work(storage: Storage) -> None:
        its = await recurrent(again(storage), one(fields, "id"))
        deed.count = await storage.unschedule(its.pipe, its.message)

    await act(desk, work, deed)
    return await desk.told(request, "It comes no more." if deed.count else "It was ended meanwhile.", back="later")


async def _bulk(
    desk: Desk,
    request: Request,
    verb: str,
    work: Callable[[Later, Sequence[Deferred], Deed], Awaitable[None]],
    path: str = "",
) -> Response:
    """Do it to those that are meant. Where they are more than the page said, ask again."""
    fields = await form_of(request)
    wish, said = Wish.of(fields), one(fields, "count")
    done = desk.deed(request, f"later {verb}", wish.target, one(fields, "reason"))
    if not said.isdecimal() or len(said) > 18:
        raise ConfigurationError("begin on the page Later, which says how many they are")
    sees = await desk.may(request, "view_payloads")

    async def choose_and_work(storage: Storage) -> tuple[int, str | None]:
        later = Later(storage)
        found = await chosen(wish, later, sees_payloads=sees)
        if len(found) > int(said):
            return len(found), None
        try:
            if found:
                await work(later, found, done)
        except ShardqError as error:
            return len(found), str(error)
        return len(found), ""

    count, error = await act(desk, choose_and_work, done)
    if error is None:
        return await _asked(desk, request, verb, wish, changed=True)
    what = "cancelled" if verb == "cancel" else "came now"
    left = max(int(said), count) - done.count
    told = f"{counted(done.count, 'request')} {what}."
    return await desk.told(
        request, told, back="later", error=error, path=path if done.count else "", gone=0 if error else left
    )


async def _asked(desk: Desk, request: Request, verb: str, wish: Wish, *, changed: bool) -> Response:
    sees = await desk.may(request, "view_payloads")
    async with desk.lookout.looking() as observer:
        found = await chosen(wish, Waiting(observer), sees_payloads=sees)
    handlers = dict[str, int]()
    for its in found:
        handlers[its.handler] = handlers.get(its.handler, 0) + 1
    return await desk.page(
        request,
        "ask-later.html",
        verb=verb,
        name=_BULK[verb],
        wish=wish,
        count=len(found),
        handlers=handlers,
        changed=changed,
    )
