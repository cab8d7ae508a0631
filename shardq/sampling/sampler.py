"""Takes looks at a storage, and says what changed between them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from shardq.connect import observe
from shardq.errors import SegmentMissing, SegmentNotReady, ShardqError, StorageMoved, StorageUnavailable
from shardq.protocols import Observer, Overviewed
from shardq.sampling.history import History, Point
from shardq.sampling.spans import Flow, HandlerSample, Look, flow_between, handler_samples, is_continued
from shardq.sampling.tubes import Round, Tubes

#: What says that there is nothing to look at now, and may be later.
GONE = SegmentMissing, SegmentNotReady, StorageMoved, StorageUnavailable


@dataclass(frozen=True, slots=True)
class Sample:
    """A storage as one look found it, and what went through since the look before."""

    at_unix_s: float
    """When, Unix seconds."""
    state: Literal["served", "unserved", "gone"]
    """`unserved`: no family serves it; `gone`: it cannot be looked at now."""
    gone: ShardqError | None
    """Why it cannot be looked at. Then the others are empty."""
    overview: Overviewed | None
    flow: Flow | None
    """In all. None: there is no former look that this one continues."""
    handlers: tuple[HandlerSample, ...]
    tubes: Tubes


class Sampler:
    """Looks at the storage of a URL, as often as it is asked to, from one event loop. Close it when done.

    A storage that is gone is looked for again at each look: families may die, restart and make their storage anew.
    Rates begin anew then, and are never negative.
    """

    def __init__(
        self,
        url: str,
        *,
        span_s: float = 0.0,
        budget_s: float = 0.02,
        opened: Callable[[str], Observer] = observe,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        """`span_s`: a look is compared with the one so long before, where there is one; with 0 with the one just
        before. `budget_s`: for about how long a look goes through tubes.
        """
        self._url = url
        self._span_s = span_s
        self._budget_s = budget_s
        self._opened = opened
        self._clock = clock
        self._unix_clock = unix_clock
        self._observer: Observer | None = None
        self._life = 0
        self._looks = deque[Look]()
        self._history = History()
        self._base: Look | None = None
        self._round = Round(budget_s, clock)

    @property
    def history(self) -> Sequence[Point]:
        """The last hour, a point for each ten seconds in which a look was taken, the oldest first."""
        return self._history.points

    @property
    def missed(self) -> int:
        """How many threads and tubes were left out since the storage was found, because they changed too fast."""
        return self._observer.missed if self._observer else 0

    async def look(self) -> Sample:
        """The storage as it is now. Raises what `observe` and its looks raise, but for what says that the storage is
        gone, or cannot be reached.
        """
        try:
            return await self._seen()
        except GONE as error:
            self.close()
            return self._unseen(error)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the storage. A later look finds it again."""
        if self._observer:
            self._observer.close()
        self._observer = None

    async def _seen(self) -> Sample:
        observer = self._found()
        overview = await observer.overview()
        handlers = {view.handler: view for view in await observer.handlers()}
        look = Look(self._clock(), self._life, overview.counts, handlers)
        tubes = await self._round.look(observer)
        before = self._before(look)
        sample = Sample(
            self._unix_clock(),
            "served" if overview.is_served else "unserved",
            None,
            overview,
            flow_between(before, look) if before else None,
            handler_samples(before, look, tubes.by_handler, overview.crew),
            tubes,
        )
        self._remember(look, sample)
        return sample

    def _unseen(self, error: ShardqError) -> Sample:
        at_s, at_unix_s = self._clock(), self._unix_clock()
        self._looks.clear()
        self._base = None
        if self._history.is_due(at_s):
            self._history.add(at_s, Point(at_unix_s, None, None, None))
        return Sample(at_unix_s, "gone", error, None, None, (), Tubes())

    def _found(self) -> Observer:
        if self._observer is None:
            self._observer = self._opened(self._url)
            self._life += 1
            self._round = Round(self._budget_s, self._clock)
        return self._observer

    def _before(self, look: Look) -> Look | None:
        """The look that this one is compared with; it is kept for later ones."""
        if self._looks and not is_continued(self._looks[-1], look):
            self._looks.clear()
        while len(self._looks) > 1 and look.at_s - self._looks[1].at_s >= self._span_s:
            self._looks.popleft()
        before = self._looks[0] if self._looks else None
        self._looks.append(look)
        return before

    def _remember(self, look: Look, sample: Sample) -> None:
        if not self._history.is_due(look.at_s):
            return
        base, self._base = self._base, look
        flow = flow_between(base, look) if base and is_continued(base, look) else None
        self._history.add(look.at_s, Point(sample.at_unix_s, look.counts, sample.tubes.all.lag_s, flow))
