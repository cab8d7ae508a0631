"""The observer of a segment: all looks, over one mapping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shardq.errors import SegmentMissing
from shardq.model import EMPTY, Batch, Counts, Deferred, HandlerView, Pause, PipeFacts, Scheduled, TubeView, id_of
from shardq.pages import PAGE_ITEMS, Page
from shardq.shm import words as at
from shardq.shm.actions import Actions, Told
from shardq.shm.deferred.records import key_in
from shardq.shm.looks import looking_at
from shardq.shm.observing.copies import Copies
from shardq.shm.observing.facts import Facts
from shardq.shm.observing.messages import Reader
from shardq.shm.observing.pending import PendingSeen, Unread
from shardq.shm.observing.steadily import NOWHERE, Moving
from shardq.shm.observing.tallies import Tallies
from shardq.shm.observing.threads import GRAVES, LIVING, Threads
from shardq.shm.observing.tubes import Tubes
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.pauses import pauses_seen
from shardq.shm.verbs.overview import Overview, Overviews

#: About how many threads a page has: many are copied at once.
PAGE_THREADS = 256


class Observer:
    """Looks at a segment that is mapped by `Segment.observe`. Get one from `registry`."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.missed = 0
        """How many threads, tubes and requests its looks left out so far because they changed too fast."""
        self._slots = slots = Slots(segment)
        copies = Copies(segment)
        self._reader, self._threads = Reader(copies), Threads(copies)
        self._tubes = Tubes(copies, self._reader, slots)
        self._pending, self._tallies = PendingSeen(copies), Tallies(copies)
        self._actions = Actions(segment)
        self._overviews = Overviews(segment, slots, Sleepers(segment, slots), self._key)
        self._facts = Facts(copies, self._threads, self._reader, slots, self._overviews)

    def open(self, lock: int | None = None) -> None:
        """Open the lock file, which says which processes live, or use this descriptor of it. Raises as
        `open_lock_file`.
        """
        self._slots.observe(lock)

    def close(self) -> int:
        """Unmap. Returns the descriptor of the lock file, which the caller closes where this process has no lock on
        that file.
        """
        self.segment.close()
        return self._slots.descriptor

    def overview(self) -> Overview:
        """The segment as a whole. Raises as all looks do: `SegmentForeign`, `SegmentMissing`, `StorageClosed`."""
        with self._looking():
            return self._overviews.overview()

    def counts(self) -> Counts:
        """The totals. While others work they are not of one instant."""
        with self._looking():
            return self._overviews.counts_seen()

    def tubes(self, after: int | None = None, limit: int = PAGE_THREADS) -> Page[TubeView]:
        """The tubes that are not empty of the next `limit` threads behind `after` that have work or a worker."""
        with self._looking():
            threads, last = self._threads.marked(LIVING, after, max(1, limit))
            paused = frozenset(its.handler for its in self._standing())
            views, missed = self._tubes.views(threads, paused)
            self.missed += missed
            return Page(views, last)

    def facts(self, pipe: str) -> PipeFacts:
        """What is known of a pipe. Raises `HandlerError` for what is no pipe."""
        with self._looking():
            found = self._facts.of(pipe)
            self.missed += found.moving
            return found

    def pipes(self, after: int | None = None, limit: int = PAGE_THREADS) -> Page[str]:
        """Names of tubes that are not empty, without graves."""
        page = self.tubes(after, limit)
        return Page([view.pipe for view in page], page.after)

    def graves(self, after: int | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        """Pipes of dead letters."""
        with self._looking():
            threads, last = self._threads.marked(GRAVES, after, max(1, limit))
            return Page([f"{key}/0" for thread in threads if (key := self._grave(thread))], last)

    def read(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        """At most `limit` requests from the head of a tube, those in front of it first; with `after` those of the tube
        behind the request of that number.
        """
        with self._looking():
            found = EMPTY
            try:
                tubes = self._threads.tubes(pipe)
            except Moving:
                self.missed += 1
                return found
            for tube in tubes if after is None else tubes[-1:]:
                batch, whole = self._reader.read(tube, limit - found.count, after)
                found = found.followed_by(batch)
                self.missed += not whole
            return found

    def length(self, pipe: str) -> int:
        """How many requests a tube has, those in hand included."""
        with self._looking():
            try:
                return sum(map(self._reader.length, self._threads.tubes(pipe)))
            except Moving:
                self.missed += 1
                return 0

    def scheduled(self, after: Unread | None = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        """Recurrent requests, the next due first."""
        with self._looking():
            page, missed = self._pending.page(at.RECURRENT_HEAP, after, limit)
            self.missed += missed
            return Page([Scheduled(its.pipe, its.message, its.schedule, its.due_us) for its in page], page.after)

    def deferred(self, after: Unread | str | None = None, limit: int = PAGE_ITEMS) -> Page[Deferred]:
        """Requests that wait for their time, the first due first. `after`: of the page before, or an id."""
        behind = key_in(after) if isinstance(after, str) else after
        with self._looking():
            page, missed = self._pending.page(at.DEFERRED_HEAP, behind, limit)
            self.missed += missed
            found = (
                Deferred(id_of(its.due_us, its.number, its.address), its.pipe, its.due_us, its.message) for its in page
            )
            return Page(found, page.after)

    def handlers(self) -> list[HandlerView]:
        """What was counted of each handler."""
        with self._looking():
            return self._tallies.views()

    def pauses(self) -> list[Pause]:
        """The handlers that are paused."""
        with self._looking():
            return self._standing()

    def actions(self, limit: int) -> list[Told]:
        """The last actions of operators, the latest first."""
        with self._looking():
            found = self._actions.seen(limit)
            self.missed += found is None
            return found or []

    def _standing(self) -> list[Pause]:
        found = pauses_seen(self.segment)
        self.missed += found is None
        return found or []

    @contextmanager
    def _looking(self) -> Iterator[None]:
        with looking_at(self.segment):
            if self.segment.removed:
                raise SegmentMissing(f"segment {self.segment.name!r} was removed: look for it again")
            yield

    def _key(self, thread: int) -> str | None:
        """The name of a thread for an overview, which shows the rest without it."""
        try:
            return self._threads.key(thread)
        except (Moving, *NOWHERE):
            return None

    def _grave(self, thread: int) -> str | None:
        """The name of a thread with dead letters. None: it has results."""
        try:
            return self._threads.key(thread) if self._threads.kind(thread) == at.LETTERS else None
        except Moving:
            self.missed += 1
            return None
