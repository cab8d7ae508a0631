"""Memory that a segment holds and does not use, so that accepted messages can be worked off when /dev/shm is full.

Behind the extents lies a range of which nothing is ever read. The memory it has is the reserve: a sixteenth of the
capacity from the segment's creation on, more while the letters of large messages need it. An operation that may use the
reserve and finds none in /dev/shm gives memory of this range back, and takes it at once for its own use. As memory
becomes free again, the reserve is made whole before other operations get any.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shardq.shm import words as at
from shardq.shm.segment import Segment, reserve_of, whole_pages
from shardq.shm.words import PAGE

#: How often to try again where another program takes what was given back for an operation.
_TRIES = 4


class Reserve:
    """The reserve of a segment. All methods want the guard held."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        self._capacity = segment.layout.storing_bytes
        self._start, self.least = reserve_of(segment.layout)
        self.half = self.least // 2

    def left_by(self, share: int) -> int:
        """How many bytes an operation with this share leaves in the reserve."""
        if share == at.ALL:
            return 0
        if share == at.HAND_OVER:
            return max(self.half // 2, self._words[at.KEPT_BYTES])
        kept = max(self.half, self._words[at.KEPT_BYTES])
        return kept if share == at.FOLLOW_UP else kept + max(self.half, self._words[at.WANTED_BYTES])

    def is_whole(self, share: int) -> bool:
        """Whether the reserve has all that an operation with this share must leave in it. Where it has less, it is made
        whole first, if there is memory for that.
        """
        wanted, had = self.left_by(share), self._words[at.RESERVED_BYTES]
        if had >= wanted:
            return True
        for goal in map(whole_pages, (self.left_by(at.GENERAL), wanted)):
            if self._segment.used_bytes + goal <= self._capacity and self._grow(goal):
                return True
        return False

    def fit(self) -> None:
        """Give back the memory that the reserve has beyond what must be left in it."""
        wanted = whole_pages(self.left_by(at.GENERAL))
        if self._words[at.RESERVED_BYTES] > wanted:
            self._shrink(wanted)

    def make_place(self, used_bytes: int) -> None:
        """Have no more than the capacity leaves beside so many bytes in use."""
        most = max(0, self._capacity - used_bytes) // PAGE * PAGE
        if self._words[at.RESERVED_BYTES] > most:
            self._shrink(most)

    def lend(self, start: int, nbytes: int, share: int) -> bool:
        """Give a range memory at the cost of the reserve. False: an operation with this share may not have so much."""
        for _ in range(_TRIES):
            left = self._words[at.RESERVED_BYTES] - nbytes
            if left < self.left_by(share):
                return False
            self._shrink(left)
            if self._segment.allocate(start, nbytes):
                return True
        return False

    def mend(self) -> None:
        """Give back what lies behind the bytes that count: a process may have died between the word and the memory."""
        had = whole_pages(self._words[at.RESERVED_BYTES])
        self._segment.give_back(self._start + had, self._segment.layout.total_bytes - self._start - had)

    def _grow(self, goal: int) -> bool:
        """Have whole pages up to so many bytes."""
        had = self._words[at.RESERVED_BYTES]
        with self._declared():
            if not self._segment.allocate(self._start + had, goal - had):
                return False
            self._words[at.RESERVED_BYTES] = goal
        return True

    def _shrink(self, goal: int) -> None:
        with self._declared():
            # The word first: memory that is not counted is harmless.
            self._words[at.RESERVED_BYTES] = goal
            self.mend()

    @contextmanager
    def _declared(self) -> Iterator[None]:
        """Have `mend` called where this process dies within: there may be no other intent that would cause it."""
        former = self._words[at.INTENT_PENDING]
        self._words[at.INTENT_PENDING] = former or 1
        yield
        self._words[at.INTENT_PENDING] = former
