"""Pending records in the order of their due times: two binary heaps of addresses, for deferred and recurrent messages.

Adding and removing cost O(log n) stores, and one store counts: that of the number of records. Before it, the record
that has to rise or sink afterwards is written down, with its place. Each step moves another record into that place
before it names the next place. So a process that mends a step cut short does that step again. (Binary heaps: J. W. J.
Williams, Algorithm 232, 1964.)
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from heapq import heappop, heappush
from struct import Struct

from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.words import PAGE, WORD

#: Due time and number of a pending record.
_KEY = Struct("<QQ")
_COUNTS = (at.HEAP_COUNT, at.RECURRENT_HEAP_COUNT)
_BACKED = (at.HEAP_BACKED, at.RECURRENT_HEAP_BACKED)

#: Memory that an empty heap keeps for the next record.
_KEPT_BYTES = 16 * PAGE


class DueHeap:
    """One of the two heaps. All methods want the guard held; those that change it, the pending intent declared."""

    def __init__(self, segment: Segment, journal: Journal, extents: Extents, which: int) -> None:
        self._segment = segment
        self._journal = journal
        self._words = segment.words
        self._bytes = segment.bytes
        self._extents = extents
        self.which = which
        self._start = segment.layout.heap(which)
        self._first_word = self._start // WORD
        self._most = segment.layout.heap_bytes // WORD
        self.count_word = _COUNTS[which]

    @property
    def count(self) -> int:
        """How many records there are."""
        count: int = self._words[self.count_word]
        if count * WORD > self._words[_BACKED[self.which]]:
            raise damaged(self._segment.name, f"{count} records wait in a heap that is too small")
        return count

    def first(self) -> int:
        """The record that is due first, 0: there is none."""
        if not self.count:
            return 0
        first: int = self._words[self._first_word]
        if first & 7 or self._words[(first >> 3) + at.PENDING_PLACE]:
            raise damaged(self._segment.name, f"the record at {first} is not the first of its heap")
        return first

    def first_key(self) -> tuple[int, ...]:
        """Due time and number of the record that is due first, which there must be."""
        return _KEY.unpack_from(self._bytes, self._words[self._first_word])

    def first_due_us(self) -> int:
        """When it is due, 0: there is none."""
        first = self.first()
        return self._words[(first >> 3) + at.PENDING_DUE_US] if first else 0

    def holds(self, record: int) -> bool:
        """Whether the record, whose words can be read, is in the heap."""
        place = self._words[(record >> 3) + at.PENDING_PLACE]
        return place < self.count and self._words[self._first_word + place] == record

    def key(self, record: int) -> tuple[int, int]:
        """Due time and number of a record, whose words can be read."""
        due_us, number = _KEY.unpack_from(self._bytes, record)
        return due_us, number

    def copied(self) -> Sequence[int]:
        """As `records`, in a moment however many there are."""
        return array("Q", self._words[self._first_word : self._first_word + self.count].tobytes())

    def records(self) -> list[int]:
        """All records, in no order."""
        return self._words[self._first_word : self._first_word + self.count].tolist()

    def due(self, now_us: int, most: int) -> list[int]:
        """At most so many of the records that are due, the first due first."""
        found, count, first = list[int](), self.count, self._first_word
        ahead = [(self.key(self._words[first]), 0)] if count else []
        while ahead and len(found) < most:
            (due_us, _), place = heappop(ahead)
            if due_us > now_us:
                break
            found.append(self._words[first + place])
            for child in range(2 * place + 1, min(2 * place + 3, count)):
                heappush(ahead, (self.key(self._words[first + child]), child))
        return found

    def make_room(self, *, share: int, beside: int = 0) -> bool:
        """Have memory for one more, `beside` others that are coming. False: there is no room."""
        count, backed = self.count + beside, self._words[_BACKED[self.which]]
        if (count + 1) * WORD <= backed:
            return True
        if count >= self._most:
            return False
        for step in (min(max(PAGE, backed), 1 << 20), PAGE):
            goal = min(backed + step, self._most * WORD)
            more = goal - backed > PAGE
            if self._extents.secure(self._start + backed, goal - backed, share=share, more_than_needed=more):
                self._words[_BACKED[self.which]] = goal
                return True
        return False

    def declare_added(self, records: Sequence[int]) -> None:
        """The records are about to be added: their places are the last ones, until the count is so much more and they
        are `settled`.
        """
        count = self.count
        for place, record in enumerate(records, count):
            self._move(record, place)
        self._declare(records[0], count, count + len(records), self._due_us(records[0]), count + 1)

    def declare_removed(self, record: int) -> None:
        """The record is about to be removed: once the count is one less, the last one takes its place."""
        place, left = self._words[(record >> 3) + at.PENDING_PLACE], self.count - 1
        last = self._words[self._first_word + left]
        if last != record:
            self._declare(last, place, left, self._due_us(last), left)

    def declare_due(self, record: int, due_us: int) -> None:
        """The record's due time is about to change."""
        self._declare(record, self._words[(record >> 3) + at.PENDING_PLACE], self.count, due_us, self.count)

    def settle(self) -> None:
        """Put the heap in order after a declared change, if that change happened. May be repeated."""
        record = self._words[at.SIFT_RECORD]
        if record and self._words[at.SIFT_HEAP] == self.which:
            if self.count == self._words[at.SIFT_COUNT] and self._due_us(record) == self._words[at.SIFT_DUE_US]:
                self._sift(record)
                self._sift_others()
            self._words[at.SIFT_RECORD] = 0
        if not self.count and self._words[_BACKED[self.which]] > _KEPT_BYTES:
            self._drop_memory()

    def _declare(self, record: int, place: int, count: int, due_us: int, following: int) -> None:
        words = self._words
        words[at.SIFT_HEAP] = self.which
        words[at.SIFT_PLACE] = place
        words[at.SIFT_COUNT] = count
        words[at.SIFT_DUE_US] = due_us
        words[at.SIFT_NEXT] = following
        # Last: only this store makes the other words count.
        words[at.SIFT_RECORD] = record

    def _due_us(self, record: int) -> int:
        return self._words[(record >> 3) + at.PENDING_DUE_US]

    def _sift_others(self) -> None:
        """Let the records behind the first one that was added rise as well, one after the other."""
        words, count = self._words, self.count
        while (place := words[at.SIFT_NEXT]) < count:
            record = words[self._first_word + place]
            self._journal.commit(
                (at.SIFT_RECORD, record),
                (at.SIFT_PLACE, place),
                (at.SIFT_DUE_US, self._due_us(record)),
                (at.SIFT_NEXT, place + 1),
            )
            self._sift(record)

    def _sift(self, record: int) -> None:
        """Let the record rise or sink from the place that was declared. Half the cost of a promotion, so all in one."""
        words, data, first, key = self._words, self._bytes, self._first_word, _KEY.unpack_from
        count = min(self.count, words[at.SIFT_NEXT])  # those behind are in no order yet
        place, its_key = words[at.SIFT_PLACE], key(data, record)
        while place:
            above = place - 1 >> 1
            moved = words[first + above]
            if key(data, moved) <= its_key:
                break
            self._move(moved, place)
            # Only after the move: until then the step can be done again.
            words[at.SIFT_PLACE] = place = above
        while (child := 2 * place + 1) < count:
            moved = words[first + child]
            least = key(data, moved)
            if child + 1 < count:
                right = words[first + child + 1]
                right_key = key(data, right)
                if right_key < least:
                    child, moved, least = child + 1, right, right_key
            if least >= its_key:
                break
            self._move(moved, place)
            words[at.SIFT_PLACE] = place = child
        self._move(record, place)

    def _move(self, record: int, place: int) -> None:
        self._words[self._first_word + place] = record
        self._words[(record >> 3) + at.PENDING_PLACE] = place

    def _drop_memory(self) -> None:
        # The word first: memory that is not counted is harmless, counting on memory that is gone is not.
        backed, self._words[_BACKED[self.which]] = self._words[_BACKED[self.which]], 0
        self._segment.give_back(self._start, backed)
