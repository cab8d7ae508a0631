"""Actions on many at once: on what is ticked, or on all that a filter hits. A page says the number first, and the
action keeps to it: where they are more by then, it asks again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from shardq.auditing import Deed
from shardq.errors import ConfigurationError, ShardqError
from shardq.protocols import Readable, Storage
from shardq.web.acting import act
from shardq.web.desk import MENU, Desk, Undo, form_of, one
from shardq.web.wish import Wish

_Chosen = TypeVar("_Chosen")

#: For a user whose file cannot be written.
EXPORTS_ADVICE = "have the page write to another folder: `shardq web --exports FOLDER`"

Fields = Mapping[str, Sequence[str]]
#: Does it to what was chosen, and counts in the deed.
Work = Callable[[Storage, _Chosen, Deed], Awaitable[None]]


class Bulk(ABC, Generic[_Chosen]):
    """What many of can be chosen."""

    group: str
    """How the commands begin that do the same."""
    page: str
    """Where they are listed."""
    question: str
    """The template that says how many an action would hit."""
    verbs: Mapping[str, str]
    """What can be asked for, and how it is called."""
    undo: Undo

    @abstractmethod
    async def chosen(self, wish: Wish, readable: Readable, *, sees_payloads: bool) -> _Chosen:
        """Those that are meant now. Raises `ConfigurationError` for what is no id and no filter."""

    @abstractmethod
    def by_handler(self, chosen: _Chosen) -> Mapping[str, int]:
        """How many they are."""

    @abstractmethod
    def done(self, verb: str, count: int) -> str:
        """What is told of so many in the end."""

    @abstractmethod
    def gone(self, count: int) -> str:
        """What is told of so many that were not there any more."""

    def said(self, chosen: _Chosen) -> dict[str, str]:
        """What the question says of them beside their number, for `told` to read it again."""
        return {}

    def told(self, chosen: _Chosen, fields: Fields) -> _Chosen:
        """Those of them that the question told of. Raises `ConfigurationError` for fields of no question."""
        return chosen

    async def ask(self, desk: Desk, request: Request) -> Response:
        """Say how many an action would hit."""
        query = request.query_params
        verb = query.get("what", "")
        if verb not in self.verbs:
            raise ConfigurationError("choose what is to be done")
        return await self._asked(desk, request, verb, Wish.of({name: query.getlist(name) for name in query}))

    async def act(self, desk: Desk, request: Request, verb: str, work: Work[_Chosen], path: str = "") -> Response:
        """Do it to those that were told of. `path`: the file that has what goes."""
        fields = await form_of(request)
        wish, most = Wish.of(fields), self._count_in(fields)
        done = desk.deed(request, f"{self.group} {verb}", wish.target, one(fields, "reason"))
        sees = await desk.may(request, "view_payloads")

        async def choose_and_work(storage: Storage) -> tuple[int, str | None]:
            found = self.told(await self.chosen(wish, storage, sees_payloads=sees), fields)
            count = self._count_of(found)
            if count > most:
                return count, None
            try:
                if count:
                    await work(storage, found, done)
            except ShardqError as error:
                return count, str(error)
            return count, ""

        count, error = await act(desk, choose_and_work, done)
        if error is None:
            return await self._asked(desk, request, verb, wish, changed=True)
        left = 0 if error else max(most, count) - done.count
        return await desk.told(
            request,
            self.done(verb, done.count),
            back=self.page,
            error=error,
            gone=self.gone(left) if left else "",
            path=path if done.count else "",
            undo=self.undo,
        )

    def unusable(self) -> ConfigurationError:
        """What is raised for a form that does not come of a question."""
        return ConfigurationError(f"begin on the page {MENU[self.page]}, which says how many they are")

    async def _asked(self, desk: Desk, request: Request, verb: str, wish: Wish, *, changed: bool = False) -> Response:
        sees = await desk.may(request, "view_payloads")
        async with desk.lookout.looking() as observer:
            found = await self.chosen(wish, observer, sees_payloads=sees)
        return await desk.page(
            request,
            self.question,
            back=self.page,
            verb=verb,
            name=self.verbs[verb],
            wish=wish,
            count=self._count_of(found),
            handlers=self.by_handler(found),
            said=self.said(found),
            changed=changed,
        )

    def _count_in(self, fields: Fields) -> int:
        said = next(iter(fields.get("count", ())), "")
        if not said.isdecimal() or len(said) > 18:
            raise self.unusable()
        return int(said)

    def _count_of(self, chosen: _Chosen) -> int:
        return sum(self.by_handler(chosen).values())
