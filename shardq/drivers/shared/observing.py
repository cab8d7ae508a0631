"""The observer of a segment, as coroutines, none of which suspends."""

from __future__ import annotations

from typing import Self

from shardq.drivers.shared.recording import decoded
from shardq.model import (
    MOST_ACTIONS,
    Action,
    Batch,
    Counts,
    Deferred,
    HandlerView,
    Pause,
    PipeFacts,
    Scheduled,
    TubeView,
)
from shardq.pages import PAGE_ITEMS, Page
from shardq.shm.observing.observer import PAGE_THREADS, Observer
from shardq.shm.observing.pending import Unread
from shardq.shm.registry import observe, stop_observing
from shardq.shm.verbs.overview import Overview, WorkerView

__all__ = ["Overview", "SharedObserver", "WorkerView"]


class SharedObserver:
    """`protocols.Observer` of a segment. Each look may raise `SegmentForeign`, `SegmentMissing` where the segment was
    removed since, and `StorageClosed` where the observer was closed.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer: Observer = observer
        self.deferrals = _Deferrals(observer)
        self._closed = False

    @classmethod
    def attach(cls, name: str) -> Self:
        """Raises `SegmentMissing`, `SegmentNotReady`, `SegmentVersionError`, `SegmentForeign`, `SegmentUntrusted`,
        `SegmentUnavailable`.
        """
        return cls(observe(name))

    @property
    def missed(self) -> int:
        return self._observer.missed

    async def overview(self) -> Overview:
        return self._observer.overview()

    async def tubes(self, after: int | None = None, limit: int = PAGE_THREADS) -> Page[TubeView]:
        return self._observer.tubes(after, limit)

    async def facts(self, pipe: str) -> PipeFacts:
        return self._observer.facts(pipe)

    async def handlers(self) -> list[HandlerView]:
        return self._observer.handlers()

    async def length(self, pipe: str) -> int:
        return self._observer.length(pipe)

    async def pipes(self, after: int | None = None, limit: int = PAGE_THREADS) -> Page[str]:
        return self._observer.pipes(after, limit)

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        return self._observer.read(pipe, limit, after)

    async def graves(self, after: int | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        return self._observer.graves(after, limit)

    async def scheduled(self, after: Unread | None = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        return self._observer.scheduled(after, limit)

    async def backlog(self) -> Counts:
        return self._observer.counts()

    async def pauses(self) -> list[Pause]:
        return self._observer.pauses()

    async def actions(self, limit: int = MOST_ACTIONS) -> list[Action]:
        return decoded(self._observer.segment.name, self._observer.actions(limit))

    def close(self) -> None:
        """Unmap the segment."""
        if not self._closed:
            self._closed = True
            stop_observing(self._observer)


class _Deferrals:
    """`protocols.DeferralsSeen` of a segment."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    async def page(self, after: Unread | str | None = None, limit: int = PAGE_ITEMS) -> Page[Deferred]:
        return self._observer.deferred(after, limit)
