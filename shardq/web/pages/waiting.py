"""Cancels requests that wait for their time, has them come now, and skips or ends recurrent ones."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from secrets import token_hex

from starlette.requests import Request
from starlette.responses import Response

from shardq.auditing import Deed
from shardq.cli.deferred.coming import again
from shardq.errors import ConfigurationError
from shardq.exporting import Export, new_file_name
from shardq.later.exported import lines
from shardq.later.requests import Later, Waiting
from shardq.model import Deferred
from shardq.protocols import Readable, Storage
from shardq.recurrent import recurring_of
from shardq.scheduling.schedule import next_times_us
from shardq.text.wording import counted
from shardq.web.acting import act
from shardq.web.bulk import EXPORTS_ADVICE, Bulk, Fields
from shardq.web.desk import Desk, Undo, form_of, one
from shardq.web.later import chosen, recurrent
from shardq.web.wish import Wish

#: What can be asked for of one that comes again and again, and how it is called.
_SINGLE = {"skip": "Skip the next time of", "end": "End"}
#: So many are acted upon in one step.
_AT_ONCE = 256
#: So many questions are remembered, the latest.
_QUESTIONS = 16


class _Deferred(Bulk[Sequence[Deferred]]):
    group, page, question = "later", "later", "ask-later.html"
    verbs = {"cancel": "Cancel", "run": "Run now"}  # noqa: RUF012 - never changed
    undo = Undo("shardq later restore FILE", "has them wait again")

    def __init__(self) -> None:
        self._questions: dict[str, array[int]] = {}
        """Of which requests each question told: hashes of their ids, in order. An id does not say when its request
        came, so no other bound keeps those out that came later.
        """

    async def chosen(self, wish: Wish, readable: Readable, *, sees_payloads: bool) -> Sequence[Deferred]:
        return await chosen(wish, Waiting(readable), sees_payloads=sees_payloads)

    def by_handler(self, chosen: Sequence[Deferred]) -> Mapping[str, int]:
        return Counter(its.handler for its in chosen)

    def said(self, chosen: Sequence[Deferred]) -> dict[str, str]:
        question = token_hex(8)
        self._questions[question] = array("q", sorted(hash(its.id) for its in chosen))
        if len(self._questions) > _QUESTIONS:
            del self._questions[next(iter(self._questions))]
        return {"question": question}

    def told(self, chosen: Sequence[Deferred], fields: Fields) -> Sequence[Deferred]:
        asked = self._questions.get(next(iter(fields.get("question", ())), ""))
        if asked is None:
            raise self.unusable()
        return [its for its in chosen if _is_in(asked, hash(its.id))]

    def done(self, verb: str, count: int) -> str:
        return f"{counted(count, 'request')} {'cancelled' if verb == 'cancel' else 'came now'}."

    def gone(self, count: int) -> str:
        return f"{count:,} had come meanwhile, or were taken out by others."


def _is_in(ordered: array[int], wanted: int) -> bool:
    place = bisect_left(ordered, wanted)
    return place < len(ordered) and ordered[place] == wanted


_DEFERRED = _Deferred()
ask = _DEFERRED.ask


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

    async def work(storage: Storage, found: Sequence[Deferred], done: Deed) -> None:
        later = Later(storage)
        with Export(path, EXPORTS_ADVICE) as export:
            for start in range(0, len(found), _AT_ONCE):
                some = found[start : start + _AT_ONCE]
                export.add(lines(some))
                done.count += await later.cancel(*some)

    return await _DEFERRED.act(desk, request, "cancel", work, path)


async def run(desk: Desk, request: Request) -> Response:
    async def work(storage: Storage, found: Sequence[Deferred], done: Deed) -> None:
        later = Later(storage)
        for its in found:
            done.count += await later.run(its)

    return await _DEFERRED.act(desk, request, "run", work)


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
