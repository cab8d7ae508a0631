"""Puts dead letters back, edits them, and drops them."""

from __future__ import annotations

import json
import os

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shardq.auditing import Deed
from shardq.deadletters import DeadLetters, Letters
from shardq.errors import ConfigurationError, RequestError
from shardq.exporting import Export, new_file_name
from shardq.letters.chosen import Chosen, numbers_of, pages
from shardq.letters.edited import Edit
from shardq.letters.exported import lines
from shardq.protocols import Readable, Storage
from shardq.web.acting import act
from shardq.web.bulk import EXPORTS_ADVICE, Bulk, Fields
from shardq.web.desk import Desk, Undo, form_of, one
from shardq.web.letters import letter_of, match_of, request_of
from shardq.web.wish import Wish


class _Letters(Bulk[Chosen]):
    group, page, question = "dead", "dead", "ask-letters.html"
    verbs = {"requeue": "Put back", "drop": "Drop"}  # noqa: RUF012 - never changed
    undo = Undo("shardq dead requeue --from FILE", "puts them back")

    async def chosen(self, wish: Wish, readable: Readable, *, sees_payloads: bool) -> Chosen:
        match, letters = match_of(wish.filters, sees_payloads=sees_payloads), Letters(readable)
        numbers: dict[str, set[int]] = {}
        for wanted in wish.ids or (wish.handler or None,):
            for handler, its in (await numbers_of(letters, wanted, match)).items():
                numbers.setdefault(handler, set()).update(its)
        return {handler: sorted(its) for handler, its in numbers.items()}

    def by_handler(self, chosen: Chosen) -> dict[str, int]:
        return {handler: len(numbers) for handler, numbers in chosen.items()}

    def done(self, verb: str, count: int) -> str:
        return f"{count:,} {'dropped' if verb == 'drop' else 'put back'}"

    def gone(self, count: int) -> str:
        return f"{count:,} had gone meanwhile."

    def said(self, chosen: Chosen) -> dict[str, str]:
        """The last letter of each handler that there is."""
        return {"through": json.dumps({handler: numbers[-1] for handler, numbers in chosen.items()})}

    def told(self, chosen: Chosen, fields: Fields) -> Chosen:
        try:
            through = msgspec.json.decode(fields["through"][0], type=dict[str, int])
        except (KeyError, ValueError, RecursionError) as error:
            raise self.unusable() from error
        return {
            handler: kept
            for handler, its in chosen.items()
            if (kept := [number for number in its if number <= through.get(handler, -1)])
        }


_LETTERS = _Letters()
ask = _LETTERS.ask


async def requeue(desk: Desk, request: Request) -> Response:
    ahead = "head" in await form_of(request)

    async def work(storage: Storage, chosen: Chosen, done: Deed) -> None:
        letters = DeadLetters(storage)
        async for page in pages(letters, chosen):
            for buried in page:
                done.count += await letters.requeue(buried, ahead=ahead)

    return await _LETTERS.act(desk, request, "requeue", work)


async def drop(desk: Desk, request: Request) -> Response:
    path = os.path.join(desk.site.exports, new_file_name("dropped"))

    async def work(storage: Storage, chosen: Chosen, done: Deed) -> None:
        letters = DeadLetters(storage)
        with Export(path, EXPORTS_ADVICE) as export:
            async for page in pages(letters, chosen):
                export.add(lines(page))
                done.count += await letters.drop(*page)

    return await _LETTERS.act(desk, request, "drop", work, path)


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
    gone = "" if deed.count else _LETTERS.gone(1)
    return await desk.told(request, _LETTERS.done("edit", deed.count), back="dead", gone=gone)
