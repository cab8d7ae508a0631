"""The supervisor's view of a shared-memory segment: `supervisor.board.Board`, and what a successor needs."""

from __future__ import annotations

from typing import Any

from shardq.drivers.shared import SharedStorage
from shardq.handler import Handler
from shardq.model import Ending, key_of, split_key
from shardq.supervisor.board import LastSeen, Totals


class SegmentBoard:
    """A segment as the supervisor sees it."""

    def __init__(
        self, storage: SharedStorage, handlers: dict[str, type[Handler[Any]]], *, deferred: bool = False
    ) -> None:
        self._storage = storage
        self._store = storage.store
        self._handlers = handlers
        self._deferred = deferred

    def become_supervisor(self) -> bool:
        return self._store.supervision.become_supervisor()

    def supervisor_pid(self) -> int:
        return self._store.supervision.supervisor_pid()

    def bell(self) -> int:
        return self._store.doorbell.open()

    def silence(self) -> None:
        self._store.doorbell.silence()

    def quiet(self) -> bool:
        return self._store.waiting.quiet(deferred=self._deferred)

    def promote(self) -> int | None:
        return self._storage.promote_some()

    def totals(self) -> Totals:
        return Totals(*self._store.counts())

    def only_unserved(self) -> list[str]:
        pipes = self._store.pipes()
        return [] if any(split_key(key_of(pipe))[0] in self._handlers for pipe in pipes) else pipes

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
