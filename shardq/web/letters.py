"""Dead letters as pages show them: in groups, page by page, and one by one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

from shardq.deadletters import Buried, DeadLetter, Letters, Wanted
from shardq.encoding.generic import readable
from shardq.errors import ConfigurationError
from shardq.letters.frames import kind_of, last_frame
from shardq.letters.match import Match
from shardq.web import paging
from shardq.web.looking import Lookout, Meter, Seldom
from shardq.web.paging import Listed

#: Filters that tell nothing of what is in requests and errors.
_HARMLESS = ("type=", "older=", "newer=")


@dataclass
class Group:
    """Letters that failed alike."""

    handler: str
    kind: str
    frame: str
    is_exception: bool
    count: int = 0
    first_us: int = 0
    last_us: int = 0

    @property
    def filters(self) -> list[str]:
        """What finds them."""
        said = "".join(takewhile(str.isprintable, self.kind))
        kind = f"type={said}" if self.is_exception else f"error~{said}"
        return [*([kind] if said else []), *([f"frame~{self.frame}"] if self.frame else [])]


class Grouped(NamedTuple):
    """All groups, the largest first, and how many letters were looked at of how many."""

    groups: Sequence[Group]
    looked_at: int
    letters: int


class Groups:
    """The groups of a storage. Where letters came or went they are found anew before their time."""

    def __init__(self, lookout: Lookout) -> None:
        self._lookout = lookout
        self._seldom = Seldom(self._look)
        self._seen: tuple[int, ...] = ()

    async def found(self) -> Grouped | None:
        """None: it takes long, so ask again."""
        async with self._lookout.looking() as observer:
            counts = await observer.backlog()
        seen = counts.buried, counts.dead, counts.evicted
        if seen != self._seen:
            self._seen = seen
            self._seldom.outdated()
        return await self._seldom.found()

    def forget(self) -> None:
        """Find them anew when asked next: a viewer has changed them."""
        self._seldom.forget()

    async def _look(self, meter: Meter) -> Grouped:
        groups: dict[tuple[str, str, str], Group] = {}
        looked_at = 0
        async with self._lookout.looking() as observer:
            there = (await observer.backlog()).dead
            async with aclosing(Letters(observer).each()) as letters:
                while meter.spent_s < paging.BUDGET_S and (some := await meter(paging.some(letters))):
                    looked_at += len(some)
                    for buried in some:
                        _add(groups, buried.letter)
        return Grouped(sorted(groups.values(), key=lambda its: -its.count), looked_at, max(there, looked_at))


async def listed(lookout: Lookout, handler: str | None, match: Wanted, after: str | None) -> Listed[Buried]:
    """The next letters that fit. Raises what looks raise, and `ConfigurationError` for what is no id."""
    async with lookout.looking() as observer:
        return await paging.listed(Letters(observer).each(handler, after=after), match, after)


async def letter_of(lookout: Lookout, wanted: str) -> Buried:
    """One letter. Raises `ConfigurationError` where it is not there."""
    async with lookout.looking() as observer:
        found = await Letters(observer).get(wanted)
    if found is None:
        raise ConfigurationError(f"the dead letter {wanted} is not there any more")
    return found


def match_of(filters: Sequence[str], *, sees_payloads: bool) -> Match:
    """The filter. Raises `ConfigurationError`, also for what would tell more than may be seen."""
    wanted = [its for its in filters if its.strip()]
    if not sees_payloads and not all(its.startswith(_HARMLESS) for its in wanted):
        raise ConfigurationError("without the right view_payloads filter by type=, older= and newer= only")
    return Match(*wanted)


def request_of(letter: DeadLetter) -> Any:
    """The request, with masks in the place of its secrets."""
    return readable(letter.message, letter.secrets)


def _add(groups: dict[tuple[str, str, str], Group], letter: DeadLetter) -> None:
    key = letter.handler, kind_of(letter), last_frame(letter.traceback)
    group = groups.get(key)
    if group is None:
        is_exception = letter.reason in ("raised", "undecodable")
        group = groups[key] = Group(*key, is_exception, first_us=letter.last_failed_us)
    group.count += 1
    group.first_us = min(group.first_us, letter.last_failed_us)
    group.last_us = max(group.last_us, letter.last_failed_us)
