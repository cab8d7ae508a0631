"""Which processes to ring once the guard is left, and which of them need no further ring.

A process that is called may wait for a processor for a while, in which many appends come. A ring costs 30 us and more,
so this process rings it once until it looks for work. It looks inside the guard, and the attempts to enter that are
numbered: so a ring stands as long as the number of the last attempt is the same. What others rang does not count. A
process that called it may have died before it rang.
"""

from __future__ import annotations

from shardq.shm import words as at
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment

#: Of a process that is rung and not called. No attempt is like that.
_NOT_CALLED = -1


class Bells:
    """The rings of this process. Methods want the guard held unless they say otherwise."""

    def __init__(self, segment: Segment, slots: Slots) -> None:
        self._bytes = segment.bytes
        self._words = segment.words
        self._sleep_map = segment.layout.sleep_map
        self._slots = slots
        self._due: dict[int, int] = {}
        """By slot, the last attempt of a process that is called."""
        self._rung: dict[int, int] = {}
        """By slot, its last attempt when this process called it. Until its next one the ring stands."""

    def add(self, slot: int) -> None:
        """Ring the process of that slot."""
        self._due.setdefault(slot, _NOT_CALLED)

    def call(self, slot: int) -> None:
        """Call a sleeping process to look for work, and ring it, unless a ring of this process stands."""
        place, attempt = self._sleep_map + slot, self._words[self._slots.word(slot) + at.SLOT_ATTEMPT]
        if self._bytes[place] == at.CALLED and self._rung.get(slot) == attempt:
            return
        self._bytes[place] = at.CALLED
        self._due[slot] = attempt

    def take(self) -> dict[int, int]:
        """The slots to ring now, with what `rang` wants to know of each."""
        due, self._due = self._due, {}
        return due

    def rang(self, slot: int, attempt: int) -> None:
        """The process was rung. Wants no guard."""
        self._rung[slot] = attempt
