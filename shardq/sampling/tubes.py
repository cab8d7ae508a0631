"""The tubes that are not empty, looked at in rounds: a storage may have more of them than one look has time for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

from shardq.model import TubeView, is_inbox, key_of, split_key
from shardq.protocols import Observer

#: How many tubes each of the two lists has.
LISTED = 100


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
    views = tuple(view for view in views if not is_inbox(view.pipe))
    by_handler = dict(tubes.by_handler)
    for view in views:
        handler = handler_of(view)
        by_handler[handler] = with_tube(by_handler.get(handler, Queued()), view)
    aged = (view for view in (*tubes.oldest, *views) if view.oldest_age_s is not None)
    total = tubes.all
    for view in views:
        total = with_tube(total, view)
    return Tubes(
        total,
        by_handler,
        tuple(nlargest(LISTED, (*tubes.longest, *views), key=lambda view: view.queued)),
        tuple(nlargest(LISTED, aged, key=lambda view: view.oldest_age_s or 0.0)),
    )


def completed(tubes: Tubes) -> Tubes:
    """The same as a round that has ended."""
    return Tubes(tubes.all, tubes.by_handler, tubes.longest, tubes.oldest, is_complete=True)


def handler_of(view: TubeView) -> str:
    """`module/Handler` of a tube."""
    return split_key(key_of(view.pipe))[0]


def with_tube(queued: Queued, view: TubeView) -> Queued:
    """The same with a further tube."""
    its = Queued(1, view.queued, view.oldest_age_s, int(bool(view.unserved)), int(bool(view.rests_s)))
    return queued.with_others(its)
