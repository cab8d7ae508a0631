"""The messages of a tube, read while workers take them.

Two facts make a copy good. A record stays where it is, unchanged, until the head of its tube is behind all of its
messages. And a number never comes back, in whichever tube. So of what was copied those messages count whose numbers are
not below the head as it stands after the copy.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice

from shardq.model import Batch
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.observing.copies import Copies, living
from shardq.shm.observing.steadily import NOWHERE, TRIES, steadily

#: In so many records at most it is counted what was taken out.
_MOST_COUNTED = 1 << 14
#: How many places are remembered where a page ended.
_MOST_PLACES = 256


class Reader:
    """Reads tubes by their entries."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._name = copies.segment.name
        self._places: dict[tuple[int, int], int] = {}
        """Where the record is of a message that ended a page, by tube and number."""

    def read(self, tube: int, limit: int, after: int | None) -> tuple[Batch, bool]:
        """At most `limit` messages from the head, or behind the message of a number; and whether this is all that was
        asked for. It is not where workers took messages faster than they could be copied.
        """
        best, unmoved = list[tuple[int, bytes]](), None
        for _ in range(TRIES):
            head = self._head(tube)
            try:
                found, unmoved = self._copied(tube, limit, after), None
            except NOWHERE as error:
                found, unmoved = [], error if self._head(tube) == head else None
            now = self._head(tube)
            kept = [its for its in found if its[0] >= now]
            if len(kept) == len(found) and unmoved is None and (found or now == head):
                return _batch(kept), True
            best = max(best, kept, key=len)
            os.sched_yield()
        if unmoved:
            raise damaged(self._name, str(unmoved)) from unmoved
        return _batch(best), False

    def length(self, tube: int) -> int:
        """How many messages a tube has, those in hand included. Raises `Moving`."""
        return steadily(self._name, lambda: self.length_of(self._copies.tube(tube)), lambda: self._head(tube))

    def length_of(self, words: tuple[int, ...]) -> int:
        """The same of a tube with these words."""
        return self._length_of(words, self._copies.through(words))

    def filled_of(self, words: tuple[int, ...]) -> tuple[int, int]:
        """The same, and when the message at its head was accepted; 0 for an empty tube."""
        head, tail = words[at.TUBE_HEAD_SEQUENCE], words[at.TUBE_TAIL]
        last = self._copies.record(tail) if tail else None
        length = self._length_of(words, last.next_sequence if last else words[at.TUBE_NEXT_SEQUENCE])
        if not length:
            return 0, 0
        # Most tubes have one record: the last one is that of the head.
        its = last if last and last.sequence <= head else next(self._copies.records(words))
        return length, its.accepted_us

    def _length_of(self, words: tuple[int, ...], through: int) -> int:
        head = words[at.TUBE_HEAD_SEQUENCE]
        if head > through:
            raise ValueError(f"a tube has its head at {head}, and ends before {through}")
        return through - head - (self._taken_out(words, head) if words[at.TUBE_CANCELLED] else 0)

    def _head(self, tube: int) -> int:
        """The word that moves before any memory of the tube is given back."""
        return self._copies.tube(tube)[at.TUBE_HEAD_SEQUENCE]

    def _copied(self, tube: int, limit: int, after: int | None) -> list[tuple[int, bytes]]:
        words = self._copies.tube(tube)
        head = words[at.TUBE_HEAD_SEQUENCE]
        if limit <= 0 or not self.length_of(words):
            return []
        above, found = head if after is None else max(head, after + 1), list[tuple[int, bytes]]()
        start = 0 if after is None or after < head else self._places.get((tube, after), 0)
        for its in self._copies.records(words, start):
            if its.next_sequence <= above:
                continue
            found += islice(living(self._copies.messages(its), above), limit - len(found))
            if found:
                self._remember(tube, found[-1][0], its.address)
            if len(found) == limit:
                break
        return found

    def _remember(self, tube: int, number: int, address: int) -> None:
        if len(self._places) >= _MOST_PLACES:
            self._places.pop(next(iter(self._places)))
        self._places[tube, number] = address

    def _taken_out(self, words: tuple[int, ...], head: int) -> int:
        total = 0
        for found in islice(self._copies.records(words), _MOST_COUNTED):
            total += (self._copies.cancelled_bits(found) >> max(0, head - found.sequence)).bit_count()
        return total


def _batch(found: Sequence[tuple[int, bytes]]) -> Batch:
    return Batch.of([message for _, message in found], sequences=[number for number, _ in found])
