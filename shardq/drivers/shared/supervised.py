"""A shared-memory segment as its supervisor sees it, and as the last process that leaves it does."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from shardq.drivers.shared.storage import SharedStorage
from shardq.errors import SegmentBusy, SegmentForeign
from shardq.model import INBOX, AtWork, Counts, Died, Ending, Stand, key_of, split_key
from shardq.supervised import LastSeen

log = logging.getLogger("shardq.supervisor")

#: How long a supervisor waits for the guard each time, and how soon it tries again to move what is due.
PATIENCE_S, _AGAIN_US = 0.02, 200_000
#: After how long the supervisor logs that a process does not leave the guard.
_REPORTED_S = 1.0


class SupervisedSegment:
    """`Supervised` over a segment. While another process is stopped inside the guard, the supervisor does not wait for
    it: until that process goes on or ends, `quiet` is false and `promote` moves nothing.

    `handlers` are the names of those that the family serves. `deferred` says whether `quiet` is false also while
    requests wait for their time.
    """

    look_s = 0.0

    def __init__(
        self, storage: SharedStorage, handlers: Collection[str] = frozenset(), *, deferred: bool = False
    ) -> None:
        self.storage = storage
        self._store = storage.store
        self._handlers = handlers
        self._deferred = deferred
        self._busy_since: float | None = None
        self._reported = False

    def check_stays(self) -> None:
        """Raise `StorageMoved` where what the segment held is elsewhere, or on its way there."""
        self._store.gate.check_stays()

    @property
    def stand(self) -> Stand:
        """How the segment stands, as far as a move is concerned."""
        return self._store.gate.stand()

    def become_supervisor(self, *, again: bool = False) -> bool:
        """Whether this process is now the one supervisor of the segment, until it ends. `again`: it was that before it
        executed itself anew.
        """
        return self._store.supervision.become_supervisor(again=again)

    def supervisor_pid(self) -> int:
        """Pid of the process that supervises the segment, or did so last."""
        return self._store.supervision.supervisor_pid()

    @property
    def hold(self) -> tuple[int, int]:
        """What `SharedStorage.attach_again` takes: the descriptor that holds this process's slot, and its number."""
        return self._store.hold

    @property
    def private(self) -> bool:
        """Whether the segment ends with its supervisor, whatever is in it."""
        return self._store.supervision.private

    @property
    def removed(self) -> bool:
        """Whether the segment has no name any more."""
        return self._store.segment.removed

    def other_pids(self) -> list[int]:
        """Pids of the other living processes that are attached."""
        return self._store.supervision.other_pids()

    def close_if_unused(self, *, lose_requests: bool = False) -> bool:
        """Have the segment accept nothing any more, provided that no other process is attached and it holds nothing, or
        `lose_requests`. Returns whether it closed. Raises `SegmentBusy`.
        """
        return self._store.supervision.close_if_unused(lose_requests=lose_requests)

    def last_to_leave(self) -> bool:
        """As `close_if_unused`, provided also that there is no supervisor. A process that gets False must detach then,
        so that the last of several that ask is alone. Raises `SegmentBusy`.
        """
        return self._store.supervision.last_to_leave()

    def bell(self) -> int:
        return self._store.doorbell.open()

    def silence(self) -> None:
        self._store.doorbell.silence()

    def quiet(self) -> bool:
        try:
            return self._store.waiting.quiet(deferred=self._deferred)
        except SegmentBusy:
            return False

    def idle(self) -> bool:
        try:
            return self._store.waiting.idle()
        except SegmentBusy:
            return False

    def at_work(self) -> Sequence[AtWork]:
        with suppress(SegmentForeign):  # a worker that reads the damage tells of it
            return self.storage.workers()
        return ()

    def promote(self) -> int | None:
        try:
            due_us = self.storage.promote_some()
        except SegmentBusy:
            self._note_busy()
            return time.time_ns() // 1000 + _AGAIN_US
        self._busy_since, self._reported = None, False
        self._store.supervision.have_my_death_noticed()
        return due_us

    def counts(self) -> Counts:
        try:
            return self._store.inspection.counts()
        except SegmentBusy:
            return self._store.inspection.overview().counts

    def only_unserved(self) -> list[str]:
        unserved, after = list[str](), None
        try:
            paused = {its.handler for its in self._store.pausing.standing()}
            # Results are for callers, and workers drop those without one.
            served = {INBOX, *self._handlers} - paused
            if paused and any(its.requests for its in self.at_work()):
                return []
            while True:
                page = self._store.reading.pipes(after)
                if any(split_key(key_of(pipe))[0] in served for pipe in page):
                    return []
                unserved += page
                after = page.after
                if after is None:
                    return unserved
        except SegmentBusy:
            return []

    def wake_workers(self) -> None:
        self._store.supervision.ring_sleepers()

    def note_death(self, pid: int, ending: Ending) -> LastSeen:
        return LastSeen(*self._store.supervision.note_death(pid, ending))

    def count_death(self, how: Died) -> None:
        self._store.supervision.count_death(how)

    def excuse(self, pid: int) -> None:
        self._store.supervision.excuse(pid)

    def condemn(self, pid: int) -> None:
        self._store.supervision.condemn(pid)

    def deadlines(self) -> dict[int, int]:
        return self._store.supervision.deadlines()

    def renewals(self) -> list[int]:
        return self._store.supervision.renewals()

    def arrived(self) -> list[int]:
        return self._store.supervision.workers()

    def strangers(self) -> list[int]:
        return self._store.supervision.workers()

    def _note_busy(self) -> None:
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        held = None if self._reported or now - self._busy_since < _REPORTED_S else self._store.inspection.held()
        if held:
            self._reported = True
            log.warning("a process does not leave the guard", extra={"pid": held.pid, "stopped": held.stopped})
