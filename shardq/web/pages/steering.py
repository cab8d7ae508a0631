"""Puts dead letters back, edits them, and drops them. A page says the number first, and the action keeps to it."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shardq.auditing import Deed
from shardq.deadletters import DeadLetters, Letters
from shardq.errors import ConfigurationError, RequestError, ShardqError
from shardq.exporting import Export, new_file_name
from shardq.letters.chosen import Chosen, count_of, numbers_of, pages
from shardq.letters.edited import Edit
from shardq.letters.exported import lines
from shardq.protocols import Storage
from shardq.web.acting import act
from shardq.web.desk import Desk, form_of, one
from shardq.web.letters import letter_of, match_of, request_of
from shardq.web.wish import Wish

#: What can be asked for, and how it is called.
_VERBS = {"requeue": "Put back", "drop": "Drop"}


async def ask(desk: Desk, request: Request) -> Response:
    """Say how many letters an action would hit."""
    query = request.query_params
    verb = query.get("what", "")
    if verb not in _VERBS:
        raise ConfigurationError("choose what is to be done")
    wish = Wish.of({name: query.getlist(name) for name in query})
    return await _asked(desk, request, verb, wish, changed=False)


async def requeue(desk: Desk, request: Request) -> Response:
    fields = await form_of(request)
    ahead = "head" in fields

    async def work(letters: DeadLetters, chosen: Chosen, done: Deed) -> None:
        async for page in pages(letters, chosen):
            for buried in page:
                done.count += await letters.requeue(buried, ahead=ahead)

    return await _bulk(desk, request, "requeue", fields, work)


async def drop(desk: Desk, request: Request) -> Response:
    path = os.path.join(desk.site.exports, new_file_name("dropped"))

    async def work(letters: DeadLetters, chosen: Chosen, done: Deed) -> None:
        with Export(path) as export:
            async for page in pages(letters, chosen):
                export.add(lines(page))
                done.count += await letters.drop(*page)

    return await _bulk(desk, request, "drop", await form_of(request), work, path)


async def edit(desk: Desk, request: Request) -> Response:
    """Put a request back as it was edited. Its letter stays until the edited request is stored, in the same step."""
    fields = await form_of(request)
    if not await desk.may(request, "view_payloads"):
        raise ConfigurationError("this takes the right view_payloads as well")
    buried = await letter_of(desk.lookout, one(fields, "id"))
    before = json.loads(msgspec.json.encode(request_of(buried.letter)))
    try:
        after = json.loads(one(fields, "request"))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"what was edited is no JSON: {error}; nothing is changed") from error
    message, ahead = Edit(before, after, free=False).applied(buried.letter.message), "head" in fields

    deed = desk.deed(request, "dead edit", buried.id, one(fields, "reason"))

    async def work(storage: Storage) -> None:
        deed.count = int(await DeadLetters(storage).requeue(buried, ahead=ahead, message=message))

    await act(desk, work, deed)
    done = deed.count
    return await desk.page(request, "done.html", verb="edit", count=done, path=None, error=None, left=1 - done)


async def _chosen(wish: Wish, letters: Letters, *, sees_payloads: bool) -> dict[str, list[int]]:
    """The letters that it is about now."""
    match = match_of(wish.filters, sees_payloads=sees_payloads)
    numbers: dict[str, set[int]] = {}
    for wanted in wish.ids or (wish.handler or None,):
        for handler, its in (await numbers_of(letters, wanted, match)).items():
            numbers.setdefault(handler, set()).update(its)
    return {handler: sorted(its) for handler, its in numbers.items()}


async def _bulk(
    desk: Desk,
    request: Request,
    verb: str,
    fields: Mapping[str, Sequence[str]],
    work: Callable[[DeadLetters, Chosen, Deed], Awaitable[None]],
    path: str | None = None,
) -> Response:
    """Do it to the letters that were told of, but not to more. Where there are more by now, ask again."""
    wish, told = Wish.of(fields), _told(fields)
    sees = await desk.may(request, "view_payloads")
    done = desk.deed(request, f"dead {verb}", wish.target, next(iter(fields.get("reason", ())), ""))

    async def choose_and_work(storage: Storage) -> tuple[int, str | None]:
        letters = DeadLetters(storage)
        found = await _chosen(wish, letters, sees_payloads=sees)
        chosen = {
            handler: kept
            for handler, its in found.items()
            if (kept := [number for number in its if number <= told.through.get(handler, -1)])
        }
        count = count_of(chosen)
        if count > told.count:
            return count, None
        try:
            if chosen:
                await work(letters, chosen, done)
        except ShardqError as error:
            return count, str(error)
        return count, ""

    count, error = await act(desk, choose_and_work, done)
    if error is None:
        return await _asked(desk, request, verb, wish, changed=True)
    return await desk.page(
        request,
        "done.html",
        verb=verb,
        count=done.count,
        path=path if done.count else None,
        error=error,
        left=count - done.count,
    )


async def _asked(desk: Desk, request: Request, verb: str, wish: Wish, *, changed: bool) -> Response:
    sees = await desk.may(request, "view_payloads")
    async with desk.lookout.looking() as observer:
        chosen = await _chosen(wish, Letters(observer), sees_payloads=sees)
    through = {handler: numbers[-1] for handler, numbers in chosen.items()}
    return await desk.page(
        request,
        "ask.html",
        verb=verb,
        name=_VERBS[verb],
        wish=wish,
        count=count_of(chosen),
        handlers={handler: len(numbers) for handler, numbers in chosen.items()},
        through=json.dumps(through),
        changed=changed,
    )


class _Told(msgspec.Struct):
    """What the page said before."""

    count: int
    through: dict[str, int]
    """The last letter of each handler that there was."""


def _told(fields: Mapping[str, Sequence[str]]) -> _Told:
    try:
        return _Told(int(fields["count"][0]), msgspec.json.decode(fields["through"][0], type=dict[str, int]))
    except (KeyError, ValueError, RecursionError) as error:
        raise ConfigurationError("begin on the page of dead letters, which says how many they are") from error
