"""The segment as its supervisor sees it: whose it is, who uses it, when it may go. It touches no messages."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

from shardq.shm import layout as at
from shardq.shm.deaths import Deaths
from shardq.shm.doorbell import Doorbell
from shardq.shm.segment import Segment
from shardq.shm.slots import SUPERVISOR_BYTE, Slots


class Supervision:
    """Taking and leaving a segment."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        doorbell: Doorbell,
        deaths: Deaths,
        section: AbstractContextManager[None],
    ) -> None:
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._slots = slots
        self._doorbell = doorbell
        self._deaths = deaths
        self._section = section

    def become_supervisor(self) -> bool:
        """Whether this process is now the one supervisor of the segment, until it ends."""
        if not self._slots.try_lock(SUPERVISOR_BYTE):
            return False
        self._words[at.CLOSED] = 0  # a supervisor may have died between closing and removing it
        self._words[at.SUPERVISOR_PID] = os.getpid()
        self._words[at.SUPERVISOR_SLOT] = self._slots.mine + 1
        self._words[at.WATCHED] = 0
        self._words[at.EPOCH] += 1
        return True

    def supervisor_pid(self) -> int:
        """Pid of the process that supervises the segment, or did so last."""
        return self._words[at.SUPERVISOR_PID]

    @property
    def private(self) -> bool:
        """Whether the segment ends with its supervisor, whatever is in it."""
        return bool(self._words[at.PRIVATE])

    def others(self) -> list[int]:
        """Slots of the other living processes that are attached."""
        return [slot for slot in range(self._layout.slots) if slot != self._slots.mine and self._slots.occupied(slot)]

    def close_if_unused(self, *, lose_requests: bool = False) -> bool:
        """Accept nothing any more, provided that nobody else is attached, and that nothing is queued, in hand or dead
        unless it may be lost.
        """
        with self._section:
            words = self._words
            empty = words[at.ACCEPTED] == words[at.HANDLED] and words[at.BURIED] == words[at.UNBURIED]
            if self.others() or not (empty or lose_requests):
                return False
            self._words[at.CLOSED] = 1
            return True

    def ring_sleepers(self) -> None:
        """Wake all sleepers to look for themselves, without the guard: for a supervisor that saw a death."""
        for slot in range(self._layout.slots):
            if self._bytes[self._layout.sleep_map + slot] in (at.ASLEEP, at.CALLED):
                self._doorbell.ring(slot)
