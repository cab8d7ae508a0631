"""Being a worker of a supervisor: what it says through its slot. No verb enters the guard."""

from __future__ import annotations

from collections.abc import Callable

from shardq.shm import words as at
from shardq.shm.processes.progress import OwnProgress
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.verbs.supervision import Supervision


class Membership:
    """Verbs of a worker process."""

    def __init__(self, segment: Segment, slots: Slots, supervision: Supervision) -> None:
        self._words = segment.words
        self._slot_word = segment.layout.slot_word(slots.mine)
        self._supervision = supervision
        self._progress = OwnProgress(segment, slots)

    def join(self, number: int) -> None:
        """Say that this process is the worker of that number, to its supervisor and to observers."""
        self._words[self._slot_word + at.SLOT_WORKER] = number
        self._supervision.ring_supervisor()

    @property
    def note_progress(self) -> Callable[[float, float | None, str], None]:
        """Says how far the batch in hand has come."""
        return self._progress.note

    def note_fork(self) -> None:
        """In a forked child: say nothing of the parent's batch."""
        self._progress.note_fork()

    def ask_renewal(self) -> None:
        """Ask the supervisor to replace this worker by a fresh process."""
        self._words[self._slot_word + at.SLOT_RENEWAL] = 1
        self._supervision.ring_supervisor()
