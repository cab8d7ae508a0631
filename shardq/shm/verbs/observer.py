"""Looking at a segment as a whole from outside: through a mapping for reading only, with neither slot nor guard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.parts import TubeParts
from shardq.shm.verbs.inspection import Inspection, Overview


class Observer:
    """Looks at a segment that is mapped by `Segment.observe`."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._slots = Slots(segment)

    def open(self) -> Callable[[], Overview]:
        """A function that looks at the segment. Raises as `open_lock_file`."""
        segment, slots = self._segment, self._slots
        slots.observe()
        sleepers = Sleepers(segment, slots)
        handlers, directory, fifos, _, delivery, claims, _ = TubeParts.over(
            segment, slots, sleepers, Journal(segment), Extents(segment), ExitLog(segment)
        )
        no_guard: AbstractContextManager[None] = nullcontext()
        return Inspection(segment, slots, handlers, directory, fifos, claims, delivery, sleepers, no_guard).overview

    def close(self, *, keep_lock_file: bool) -> None:
        """Unmap. Closing the lock file drops all locks that this process has on it, those of an attachment too."""
        if not keep_lock_file:
            self._slots.forget()
        self._segment.close()
