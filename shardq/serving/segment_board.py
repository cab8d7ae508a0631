"""The supervisor's view of a shared-memory segment: `supervisor.board.Board`, and what a successor needs."""

from __future__ import annotations

import logging
import time
from typing import Any

from shardq.drivers.shared.storage import SharedStorage
from shardq.errors import SegmentBusy
from shardq.handler import Handler
from shardq.model import Ending, key_of, split_key
from shardq.supervisor.board import LastSeen, Totals

log = logging.getLogger("shardq.supervisor")

#: How long a supervisor waits for the guard each time, and how soon it tries again to move what is due.
PATIENCE_S, _AGAIN_US = 0.02, 200_000
#: After how long the supervisor logs that a process does not leave the guard.
_REPORTED_S = 1.0


class SegmentBoard:
    """A segment as the supervisor sees it. While another process is stopped inside the guard, the supervisor does not
    wait for it: until that process goes on or ends, `quiet` is false and `promote` moves nothing.
    """

    def __init__(
        self, storage: SharedStorage, handlers: dict[str, type[Handler[Any]]], *, deferred: bool = False
    ) -> None:
        self._storage = storage
        self._store = storage.store
        self._handlers = handlers
        self._deferred = deferred
        self._busy_since: float | None = None
        self._reported = False

    def become_supervisor(self) -> bool:
        return self._store.supervision.become_supervisor()

    def supervisor_pid(self) -> int:
        return self._store.supervision.supervisor_pid()

    def bell(self) -> int:
        return self._store.doorbell.open()

    def silence(self) -> None:
        self._store.doorbell.silence()

    def quiet(self) -> bool:
        try:
            return self._store.waiting.quiet(deferred=self._deferred)
        except SegmentBusy:
            return False

    def promote(self) -> int | None:
        try:
            due_us = self._storage.promote_some()
        except SegmentBusy:
            self._note_busy()
            return time.time_ns() // 1000 + _AGAIN_US
        self._busy_since, self._reported = None, False
        self._store.supervision.have_my_death_noticed()
        return due_us

    def totals(self) -> Totals:
        try:
            return Totals(*self._store.counts())
        except SegmentBusy:
            view = self._store.inspection.overview()
            return Totals(view.accepted, view.handled, view.buried, view.dead, view.deferred, view.recurrent)

    def only_unserved(self) -> list[str]:
        unserved, after = list[str](), None
        try:
            while True:
                page = self._store.pipes(after)
                if any(split_key(key_of(pipe))[0] in self._handlers for pipe in page):
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
