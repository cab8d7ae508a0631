"""A look at a storage for metrics.

Most of it are words that processes count in, whatever the storage holds. What is queued and dead by handler takes a
round over all threads that have some. With many of them that takes time. So who looks again and again goes on with the
round for a moment each time, and rests in between: rounds never take more than a twentieth of a core, however often one
asks, and meanwhile the figures of the former round stand.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shardq.connect import observe
from shardq.metrics.labels import labels_of
from shardq.model import Counts, CrewMember, HandlerView, key_of, split_key
from shardq.pages import each
from shardq.protocols import Observer
from shardq.sampling.tubes import Queued, Round, Tubes

#: For so long at most a round goes on in one look, and then rests for so many times as long.
SLICE_S, _REST = 0.25, 19


@dataclass(frozen=True, slots=True)
class Look:
    """What metrics are made of."""

    figures: Mapping[str, Any] = field(default_factory=dict)
    """The storage as a whole, as its driver describes it. Empty: it cannot be looked at."""
    crew: Sequence[CrewMember] = ()
    """Its workers."""
    handlers: Sequence[HandlerView] = ()
    """What was counted of each."""
    waiting: Mapping[str, Queued] = field(default_factory=dict)
    """By label. Empty before the first round has ended."""
    letters: Mapping[str, int] = field(default_factory=dict)
    """Dead letters by label."""
    paused: Mapping[str, bool] = field(default_factory=dict)
    """By label, whether a handler is paused."""


class Looks:
    """Looks at the storage that `url` names, as `shardq.observe` takes it. Each look opens it anew: it may have been
    removed and made again meanwhile. `slice_s` is for how long a look goes on with its round; by default until it has
    ended.
    """

    def __init__(self, url: str, slice_s: float = math.inf) -> None:
        self.url = url
        self._slice_s = slice_s
        self._round = Round(slice_s, time.monotonic)
        self._tubes = Tubes()
        self._letters: dict[str, int] = {}
        self._look_at = 0.0
        self._arrived = 0

    async def look(self) -> Look:
        """Raises what `shardq.observe` and looks raise: errors of `shardq.errors`."""
        observer = observe(self.url)
        try:
            overview, handlers = await observer.overview(), await observer.handlers()
            self._begin_anew_where_it_was_made_anew(overview.counts)
            figures, crew, counted = overview.as_dict(), overview.crew, {view.handler for view in handlers}
            paused = _paused({pause.handler for pause in await observer.pauses()}, counted)
            if time.monotonic() >= self._look_at:
                await self._go_on(observer)
        finally:
            observer.close()
        if not self._tubes.is_complete:
            return Look(figures, crew, handlers, paused=paused)
        return Look(figures, crew, handlers, *_labelled(self._tubes.by_handler, self._letters, counted), paused)

    def _begin_anew_where_it_was_made_anew(self, counts: Counts) -> None:
        """What the rounds found was of another storage where less ever came into this one."""
        arrived, before = counts.accepted + counts.replies, self._arrived
        if arrived < before:
            self._round, self._tubes, self._letters = Round(self._slice_s, time.monotonic), Tubes(), {}
            self._look_at = 0.0
        self._arrived = arrived

    async def _go_on(self, observer: Observer) -> None:
        """Go on with the round; at its end, look at the graves, of which a handler has one."""
        began, former = time.monotonic(), self._tubes
        self._tubes = await self._round.look(observer)
        if self._tubes.is_complete and self._tubes is not former:
            graves = [pipe async for pipe in each(observer.graves)]
            self._letters = {split_key(key_of(pipe))[0]: await observer.length(pipe) for pipe in graves}
        ended = time.monotonic()
        self._look_at = ended + _REST * (ended - began)


def _labelled(
    waiting: Mapping[str, Queued], letters: Mapping[str, int], counted: set[str]
) -> tuple[dict[str, Queued], dict[str, int]]:
    """The same by labels. Handlers that are counted are named also where nothing of them waits or is dead."""
    labels = labels_of({*waiting, *letters}, counted)
    by_waiting, by_letters = dict.fromkeys(counted, Queued()), dict.fromkeys(counted, 0)
    for name, its in waiting.items():
        by_waiting[labels[name]] = by_waiting.get(labels[name], Queued()).with_others(its)
    for name, count in letters.items():
        by_letters[labels[name]] = by_letters.get(labels[name], 0) + count
    return by_waiting, by_letters


def _paused(names: set[str], counted: set[str]) -> dict[str, bool]:
    """Whether handlers are paused, by labels: of those that are counted, and of those of these names."""
    return dict.fromkeys(counted, False) | dict.fromkeys(labels_of(names, counted).values(), True)
