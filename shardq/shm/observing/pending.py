"""The requests that wait for their time, or come again and again, read while they come due.

A record that waits has a number that no other one ever gets, and its place in the heap says that it is there. So it is
found again by both, wherever the heap has moved it.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from shardq.pages import Page
from shardq.shm import words as at
from shardq.shm.deferred.records import Key
from shardq.shm.memory import record
from shardq.shm.memory.record import MESSAGES
from shardq.shm.observing.copies import Copies, living
from shardq.shm.observing.steadily import NOWHERE, Moving, steadily
from shardq.shm.words import WORD

_COUNTS = (at.HEAP_COUNT, at.RECURRENT_HEAP_COUNT)
_WORDS = struct.Struct(f"<{at.PENDING_WORDS}Q")


class Waits(NamedTuple):
    """A request that waits."""

    pipe: str
    message: bytes
    schedule: str
    due_us: int
    number: int
    address: int
    """Of its record."""


class Unread(NamedTuple):
    """What is left of a listing."""

    records: Sequence[tuple[int, int]]
    """Number and address, in their order."""
    number: int = 0
    """Below this one nothing of the first of them is listed."""


class PendingSeen:
    """Reads the heaps."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._segment = copies.segment

    def page(self, heap: int, after: Unread | Key | None, limit: int) -> tuple[Page[Waits], int]:
        """About so many of a heap, the next due first; and how many records changed too fast to be read. `after`: of
        the page before, or what an id says.
        """
        (records, above), missed = (after, 0) if isinstance(after, Unread) else self._in_order(heap, after)
        page, read = Page[Waits](), 0
        while read < len(records) and len(page) < max(1, limit):
            number, address = records[read]
            try:
                found = steadily(
                    self._segment.name,
                    lambda number=number, address=address: self._messages(heap, number, address),  # type: ignore[misc]
                    lambda address=address: self._words_at(address),  # type: ignore[misc]
                )
                page += [its for its in found if its.number >= above]
            except Moving:
                missed += 1
            read, above = read + 1, 0
        page.after = Unread(records[read:], above) if read < len(records) else None
        return page, missed

    def _in_order(self, heap: int, behind: Key | None) -> tuple[Unread, int]:
        """Each record from the one on that may have something behind that key, the next due first; and how many there
        are that could not be read.
        """
        count = min(self._copies.words[_COUNTS[heap]], self._copies.layout.heap_bytes // WORD)
        found, missed = list[tuple[int, int, int]](), 0
        places = self._segment.copied(self._copies.layout.heap(heap), count * WORD)
        for place, address in enumerate(array("Q", places)):
            if not address:  # the heap has become smaller, or was never that large
                missed += count - place
                break
            try:
                words = self._words_at(address)
            except NOWHERE:
                missed += 1
            else:
                found.append((words[at.PENDING_DUE_US], words[at.PENDING_FIRST], address))
        found.sort()
        first = bisect_right(found, behind[:2], key=lambda its: its[:2]) if behind else 0
        # The record before may have further messages, which are due at the same time.
        if behind and first and found[first - 1][0] == behind.due_us:
            return Unread([its[1:] for its in found[first - 1 :]], behind.number + 1), missed
        return Unread([its[1:] for its in found[first:]]), missed

    def _messages(self, heap: int, number: int, address: int) -> list[Waits]:
        """What the record of this number says, if it is still there."""
        words = self._words_at(address)
        place = words[at.PENDING_PLACE]
        if words[at.PENDING_FIRST] != number or place * WORD >= self._copies.layout.heap_bytes:
            return []
        if self._segment.copied(self._copies.layout.heap(heap) + place * WORD, WORD) != address.to_bytes(
            WORD, "little"
        ):
            return []
        texts = words[at.PENDING_TEXTS]
        start, middle = address + _WORDS.size, address + _WORDS.size + (texts & 0xFFFF)
        end = middle + (texts >> 16)
        most = self._end_of(address)
        if end + record.HEADER_BYTES > most:
            raise ValueError(f"there is no request that waits at {address}")
        found = record.parsed(end + 7 & ~7, self._segment.copied(end + 7 & ~7, record.HEADER_BYTES))
        if found.format != MESSAGES or not found.count or found.end > most:
            raise ValueError(f"the request that waits at {address} has no messages")
        pipe = self._segment.copied(start, middle - start).decode()
        schedule = self._segment.copied(middle, end - middle).decode()
        due_us, messages = words[at.PENDING_DUE_US], living(self._copies.messages(found), 0)
        return [Waits(pipe, message, schedule, due_us, its_number, address) for its_number, message in messages]

    def _words_at(self, address: int) -> tuple[int, ...]:
        self._copies.extent_at(address)
        return _WORDS.unpack(self._segment.copied(address, _WORDS.size))

    def _end_of(self, address: int) -> int:
        extent = self._copies.extent_at(address)
        return self._copies.start_of(extent) + self._copies.class_of(extent).size
