"""Looks at the storage for all viewers together: at most once a second, and never without a viewer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any, Generic, TypeVar

from shardq.connect import observe
from shardq.errors import (
    SegmentError,
    ShardqError,
    StorageBusy,
    StorageClosed,
    StorageDamaged,
    StorageMoved,
    StorageRefused,
    StorageUnavailable,
)
from shardq.protocols import Observer, Overviewed
from shardq.sampling import Point, Sample, Sampler

_Found = TypeVar("_Found")

_OF_STORAGE = (
    SegmentError,
    StorageUnavailable,
    StorageRefused,
    StorageDamaged,
    StorageMoved,
    StorageClosed,
    StorageBusy,
)
"""Errors of a storage that is gone, or cannot be looked at."""

#: Seconds between two looks.
_EVERY_S = 1.0
#: Over how many seconds rates are taken.
_RATES_S = 5.0
#: Which part of the time long looks may take, the same where what they found changes or where they fail, and how long a
#: viewer waits for the first one.
_PART, _HURRIED_PART, _PATIENCE_S = 0.01, 0.1, 2.0


class Lookout:
    """Has what looks at a storage. Where a look fails, the next one attaches anew."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._sampler = Sampler(url, span_s=_RATES_S, budget_s=_EVERY_S * _PART)
        self._observer: Observer | None = None
        self._last: Sample | None = None
        self._next_at = 0.0
        self._turn = asyncio.Lock()

    @property
    def history(self) -> Sequence[Point]:
        """The last hour, as far as there was a viewer."""
        return self._sampler.history

    async def now(self) -> Sample:
        """The storage as it is, or was less than a second ago. Raises what looks raise."""
        async with self._turn:
            if self._last is None or time.monotonic() >= self._next_at:
                self._last, self._next_at = await self._sampler.look(), time.monotonic() + _EVERY_S
            if self._last.gone:
                raise self._last.gone
            return self._last

    def forget(self) -> None:
        """Look anew when asked next: something was changed."""
        self._next_at = 0.0

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Observer]:
        """The observer, which all viewers share. Where an error is of the storage, the next look attaches anew. Where a
        viewer asked for what cannot be, others read on. Raises what `observe` raises.
        """
        if self._observer is None:
            self._observer = observe(self.url)
        try:
            yield self._observer
        except _OF_STORAGE:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the storage."""
        observer, self._observer, self._last = self._observer, None, None
        self._sampler.close()
        if observer:
            observer.close()


def overview_of(sample: Sample) -> Overviewed:
    """The storage as a whole, in a sample that `Lookout.now` returned: that of a storage that is gone it raises."""
    assert sample.overview is not None
    return sample.overview


def figures_of(seen: Overviewed) -> dict[str, Any]:
    """What a storage says of itself, by names, for templates. `as_dict` copies all of its workers for that."""
    described: Any = seen
    return {field.name: getattr(seen, field.name) for field in fields(described)}


class Meter:
    """Counts the seconds that a long look takes, without those in which it lets others go on."""

    def __init__(self) -> None:
        self.spent_s = 0.0

    async def __call__(self, part: Awaitable[_Found]) -> _Found:
        """A part of the look; others go on after it."""
        began = time.perf_counter()
        found = await part
        self.spent_s += time.perf_counter() - began
        await asyncio.sleep(0)
        return found


class Seldom(Generic[_Found]):
    """A long look, whose result is shown until the next one is done. All of them together take a hundredth of the time,
    a tenth where what they found changes, and none begins while no page asks.
    """

    def __init__(self, look: Callable[[Meter], Awaitable[_Found]]) -> None:
        self._look = look
        self._task: asyncio.Task[None] | None = None
        self._last: _Found | None = None
        self._error: ShardqError | None = None
        self._next_at = 0.0
        self._soonest_at = 0.0
        """When the next look may begin where what the last one found is not so any more."""
        self._is_outdated = False
        """Whether what the look under way finds is not so any more."""

    async def found(self) -> _Found | None:
        """What the last look found. None: the first one takes long, so ask again. Raises what it raised."""
        if self._task is None and time.monotonic() >= self._next_at:
            self._task = asyncio.create_task(self._run())
        if self._task and self._last is None:
            await asyncio.wait((self._task,), timeout=_PATIENCE_S)
        if self._error:
            raise self._error
        return self._last

    def outdated(self) -> None:
        """Look anew when asked next, as soon as time is left for that: what was found is not so any more."""
        self._is_outdated = self._task is not None
        if time.monotonic() >= self._soonest_at:
            self.forget()
        else:
            self._next_at = min(self._next_at, self._soonest_at)

    def forget(self) -> None:
        """Look anew when asked next: a viewer has changed what was found."""
        self._last, self._next_at, self._is_outdated = None, 0.0, self._task is not None

    async def _run(self) -> None:
        meter, self._is_outdated = Meter(), False
        try:
            self._last, self._error = await self._look(meter), None
        except ShardqError as error:
            self._last, self._error = None, error
        finally:
            now = time.monotonic()
            self._task, self._soonest_at = None, now + meter.spent_s / _HURRIED_PART
            hurries = self._is_outdated or self._error
            self._next_at = self._soonest_at if hurries else now + max(_EVERY_S, meter.spent_s / _PART)
