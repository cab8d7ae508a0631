"""The requests that come again and again, read while they come due.

A record that waits has a number that no other one ever gets, and its place in the heap says that it is there. So it is
found again by both, wherever the heap has moved it.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from shardq.model import Scheduled
from shardq.pages import Page
from shardq.shm import words as at
from shardq.shm.memory import record
from shardq.shm.memory.record import MESSAGES
from shardq.shm.observing.copies import Copies, living
from shardq.shm.observing.steadily import NOWHERE, Moving, steadily
from shardq.shm.words import WORD

_WORDS = struct.Struct(f"<{at.PENDING_WORDS}Q")


class Unread(NamedTuple):
    """What is left of a listing: number and address of records, in their order."""

    records: Sequence[tuple[int, int]]


class Recurrent:
    """Reads the heap of recurrent requests."""

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._segment = copies.segment
        self._heap = copies.layout.heap(at.RECURRENT_HEAP)

    def page(self, after: Unread | None, limit: int) -> tuple[Page[Scheduled], int]:
        """About so many, the next due first; and how many records changed too fast to be read."""
        records, missed = (after.records, 0) if after else self._in_order()
        page, read = Page[Scheduled](), 0
        while read < len(records) and len(page) < max(1, limit):
            number, address = records[read]
            try:
                page += steadily(
                    self._segment.name,
                    lambda number=number, address=address: self._messages(number, address),  # type: ignore[misc]
                    lambda address=address: self._words_at(address),  # type: ignore[misc]
                )
            except Moving:
                missed += 1
            read += 1
        page.after = Unread(records[read:]) if read < len(records) else None
        return page, missed

    def _in_order(self) -> tuple[Sequence[tuple[int, int]], int]:
        """Number and address of each record, the next due first; and how many there are that could not be read."""
        count = min(self._copies.words[at.RECURRENT_HEAP_COUNT], self._copies.layout.heap_bytes // WORD)
        found, missed = list[tuple[int, int, int]](), 0
        for place, address in enumerate(array("Q", self._segment.copied(self._heap, count * WORD))):
            if not address:  # the heap has become smaller, or was never that large
                return [its[1:] for its in sorted(found)], missed + count - place
            try:
                words = self._words_at(address)
            except NOWHERE:
                missed += 1
            else:
                found.append((words[at.PENDING_DUE_US], words[at.PENDING_FIRST], address))
        return [its[1:] for its in sorted(found)], missed

    def _messages(self, number: int, address: int) -> list[Scheduled]:
        """What the record of this number says, if it is still there."""
        words = self._words_at(address)
        place = words[at.PENDING_PLACE]
        if words[at.PENDING_FIRST] != number or place * WORD >= self._copies.layout.heap_bytes:
            return []
        if self._segment.copied(self._heap + place * WORD, WORD) != address.to_bytes(WORD, "little"):
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
        return [Scheduled(pipe, message, schedule, due_us) for _, message in messages]

    def _words_at(self, address: int) -> tuple[int, ...]:
        self._copies.extent_at(address)
        return _WORDS.unpack(self._segment.copied(address, _WORDS.size))

    def _end_of(self, address: int) -> int:
        extent = self._copies.extent_at(address)
        return self._copies.start_of(extent) + self._copies.class_of(extent).size
