"""The tubes that are not empty, looked at in rounds: a storage may have more of them than one look has time for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

from shardq.model import TubeView, is_inbox, key_of, split_key
from shardq.protocols import Observer

#: How many tubes each of the two lists has.
LISTED = 100

#: What tubes are put in order by.
_Measure = Callable[[TubeView], float]


@dataclass(frozen=True, slots=True)
class Queued:
    """What a handler has in its tubes."""

    tubes: int = 0
    """Those that are not empty."""
    requests: int = 0
    """Those in hand included."""
    lag_s: float | None = None
    """How long ago the oldest of them was accepted. None: there is none, or the storage does not say."""
    unserved: int = 0
    """Tubes that no worker has a handler for."""
    resting: int = 0
    """Tubes whose thread is not offered to workers for a while."""

    def with_others(self, others: Queued) -> Queued:
        """The same of both."""
        lags = [lag for lag in (self.lag_s, others.lag_s) if lag is not None]
        return Queued(
            self.tubes + others.tubes,
            self.requests + others.requests,
            max(lags, default=None),
            self.unserved + others.unserved,
            self.resting + others.resting,
        )

    def with_tubes(self, views: Sequence[TubeView]) -> Queued:
        """The same with further tubes."""
        its = Queued(
            len(views),
            sum(view.queued for view in views),
            max((view.oldest_age_s for view in views if view.oldest_age_s is not None), default=None),
            sum(1 for view in views if view.unserved),
            sum(1 for view in views if view.rests_s),
        )
        return self.with_others(its)


@dataclass(frozen=True, slots=True)
class Tubes:
    """What a round over all tubes found."""

    all: Queued = Queued()
    by_handler: Mapping[str, Queued] = field(default_factory=dict)
    longest: tuple[TubeView, ...] = ()
    """At most 100, those with most requests first."""
    oldest: tuple[TubeView, ...] = ()
    """At most 100, those whose oldest request waits longest first. Empty where the storage does not say."""
    is_complete: bool = False
    """Whether all tubes were looked at. False only before the first round has ended."""


class Round:
    """Looks at some tubes after the others, and shows the last round that is complete."""

    def __init__(self, budget_s: float, clock: Callable[[], float]) -> None:
        """`budget_s`: for about how long one look goes on."""
        self._budget_s = budget_s
        self._clock = clock
        self._after: Any = None
        self._begun = Tubes()
        self._last: Tubes | None = None

    async def look(self, observer: Observer) -> Tubes:
        """Look on, at least at one page, and until the round or the budget ends."""
        ends = self._clock() + self._budget_s
        while True:
            page = await observer.tubes(self._after)
            self._begun = with_more(self._begun, page)
            self._after = page.after
            if self._after is None:
                self._last = completed(self._begun)
                self._begun = Tubes()
                return self._last
            if self._clock() >= ends:
                return self._last or self._begun


def with_more(tubes: Tubes, views: Iterable[TubeView]) -> Tubes:
    """The same with further tubes, without inboxes of callers."""
    views = [view for view in views if not is_inbox(view.pipe)]
    aged = [view for view in views if view.oldest_age_s is not None]
    by_handler = dict(tubes.by_handler)
    for handler, its in grouped(views).items():
        by_handler[handler] = by_handler.get(handler, Queued()).with_tubes(its)
    return Tubes(
        tubes.all.with_tubes(views),
        by_handler,
        tuple(largest(tubes.longest, views, length_of, LISTED)),
        tuple(largest(tubes.oldest, aged, lag_of, LISTED)),
    )


def completed(tubes: Tubes) -> Tubes:
    """The same as a round that has ended."""
    return Tubes(tubes.all, tubes.by_handler, tubes.longest, tubes.oldest, is_complete=True)


def handler_of(view: TubeView) -> str:
    """`module/Handler` of a tube."""
    return split_key(key_of(view.pipe))[0]


def grouped(views: Iterable[TubeView]) -> dict[str, list[TubeView]]:
    """The tubes of each handler."""
    found = dict[str, list[TubeView]]()
    for view in views:
        found.setdefault(handler_of(view), []).append(view)
    return found


def largest(listed: Sequence[TubeView], views: Iterable[TubeView], by: _Measure, limit: int) -> list[TubeView]:
    """A list of the largest tubes, the largest first, with some of these in it; of equal ones the earlier stay."""
    least = by(listed[-1]) if listed and len(listed) >= limit else -1.0
    # Most pages of a large storage have none that is large enough.
    larger = [view for view in views if by(view) > least]
    return nlargest(limit, (*listed, *larger), key=by) if larger else [*listed]


def length_of(view: TubeView) -> float:
    """How many requests a tube has."""
    return view.queued


def lag_of(view: TubeView) -> float:
    """For how many seconds its oldest request waits; 0 where the storage does not say."""
    return view.oldest_age_s or 0.0
