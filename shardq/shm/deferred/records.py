"""Pending records as they stand in memory: reading them.

words | pipe, schedule | record, as in a tube
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shardq.model import numbers_in
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.deferred.due_heap import DueHeap
from shardq.shm.journal import Journal
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.memory.record import Record
from shardq.shm.memory.slabs import Slabs
from shardq.shm.segment import Segment
from shardq.shm.words import WORD


class Key(NamedTuple):
    """What the id of a message says. No record that waits changes its place, and no number comes back."""

    due_us: int
    number: int
    address: int
    """Of its record."""


def key_in(its_id: str) -> Key:
    """Raises `ConfigurationError` for what is no id."""
    return Key(*numbers_in(its_id, 3))


@dataclass(slots=True)
class PendingRecord:
    """A pending record and where it stands."""

    address: int
    due_us: int
    scheduled_us: int
    """When it has to come; it is due later where there was no room for it."""
    first: int
    """Number of its first message."""
    pipe: str
    schedule: str
    messages: Record

    @property
    def heap(self) -> int:
        return at.RECURRENT_HEAP if self.schedule else at.DEFERRED_HEAP


class PendingRecords:
    """The records in both heaps. All methods want the guard held."""

    def __init__(self, segment: Segment, journal: Journal, extents: Extents) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self.heaps = (
            DueHeap(segment, journal, extents, at.DEFERRED_HEAP),
            DueHeap(segment, journal, extents, at.RECURRENT_HEAP),
        )
        self.cells = Slabs(segment, journal, extents, self.held)

    def read(self, address: int) -> PendingRecord:
        """The record at an address."""
        word = address >> 3
        texts = self._words[word + at.PENDING_TEXTS]
        pipe_bytes, schedule_bytes = texts & 0xFFFF, texts >> 16
        start = address + at.PENDING_WORDS * WORD
        middle, end = start + pipe_bytes, start + pipe_bytes + schedule_bytes
        _, most = self.cells.memory_around(address)
        if padded(end) + record.HEADER_BYTES > most:
            raise damaged(self._segment.name, f"there is no request that waits at {address}")
        messages = record.read(self._segment, padded(end))
        if messages.format != record.MESSAGES or messages.end > most or not messages.count:
            raise damaged(self._segment.name, f"the request that waits at {address} has no messages")
        return PendingRecord(
            address,
            self._words[word + at.PENDING_DUE_US],
            self._words[word + at.PENDING_SCHEDULED_US],
            self._words[word + at.PENDING_FIRST],
            self._bytes[start:middle].decode(),
            self._bytes[middle:end].decode(),
            messages,
        )

    def current(self, found: PendingRecord) -> bool:
        """Whether the record is still there, and due when it was."""
        if not self.stands(found.address):
            return False
        now = self.read(found.address)
        return (now.first, now.due_us) == (found.first, found.due_us)

    def living_count(self, found: PendingRecord) -> int:
        """How many of its messages are not cancelled."""
        return found.messages.count - record.cancelled_bits(self._segment, found.messages).bit_count()

    def living_messages(self, found: PendingRecord, start: int = 0, most: int | None = None) -> list[tuple[int, bytes]]:
        """Number and bytes of its messages that are not cancelled, of at most so many from that place on."""
        cancelled = record.cancelled_bits(self._segment, found.messages)
        if found.messages.count == 1:
            return [] if cancelled else [(found.first, record.message(self._segment, found.messages, 0))]
        count = found.messages.count - start if most is None else most
        every = record.cut(self._segment, found.messages, start, count).messages
        return [(found.first + n, message) for n, message in enumerate(every, start) if not cancelled >> n & 1]

    def message(self, found: PendingRecord, number: int) -> bytes:
        """Its message of this number."""
        return record.message(self._segment, found.messages, number - found.first)

    def cancelled_with(self, found: PendingRecord, number: int) -> tuple[int, int]:
        """The word that cancels the message of this number, and the value it must get."""
        return record.cancelled_with(self._segment, found.messages, number - found.first)

    def stands(self, address: int) -> bool:
        """Whether there is a pending record at that address, which may be any address."""
        return self.cells.holds(address) and self.held(address)

    def held(self, address: int) -> bool:
        """Whether the pending record at that address, whose words can be read, is in a heap."""
        return any(heap.holds(address) for heap in self.heaps)


def padded(nbytes: int) -> int:
    """As many bytes, in whole words."""
    return nbytes + 7 & ~7
