"""Whether what waits for its time is whole: heaps, records, and the memory that these lie in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from shardq.shm import words as at
from shardq.shm.checking.look import Look, living
from shardq.shm.memory import record
from shardq.shm.memory.extents import LARGE, SLAB
from shardq.shm.memory.record import Record
from shardq.shm.memory.slabs import BITS_BYTES, CELLS_BEGIN, FIRST_SIZE, FULL, SIZES
from shardq.shm.segment import Segment
from shardq.shm.words import WORD
from shardq.text.wording import counted

#: How long a promotion without room rests, in microseconds.
_RETRY_US = 50_000


class PendingSeen(NamedTuple):
    """A record that waits for its time."""

    which: int
    due_us: int
    first: int
    address: int
    pipe: str
    schedule: str
    messages: Record
    scheduled_us: int
    """When it has to come; it is due later where there was no room for it."""

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.messages.count)


def pending_of(segment: Segment) -> list[PendingSeen]:
    """All records that wait, the first due first. Wants the guard held."""
    look = Pending(segment)
    return sorted((found for which in (0, 1) for found in look.heap(which)), key=lambda found: found[1:3])


def living_messages(segment: Segment, found: PendingSeen) -> list[bytes]:
    """Its messages that are not cancelled."""
    return [record.message(segment, found.messages, index) for index in living(segment, found.messages)]


class Pending(Look):
    """A look at heaps and cells."""

    def __init__(self, segment: Segment) -> None:
        super().__init__(segment)
        self.owners: dict[int, int] = {}
        """Owner word that each extent without a tube must have."""

    def records(self) -> list[PendingSeen]:
        """All records that wait."""
        records = list[PendingSeen]()
        with self.noting("what waits for its time"):
            records += [found for which in (at.DEFERRED_HEAP, at.RECURRENT_HEAP) for found in self.heap(which)]
            self._check_numbers(records)
            self._check_counts(records)
            self._check_cells(records)
            self._check_due(records)
        return records

    def heap(self, which: int) -> list[PendingSeen]:
        count, start = self.words[at.HEAP_COUNT + which], self.layout.heap(which)
        backed = self.words[at.HEAP_BACKED + which]
        if count * WORD > backed:
            raise ValueError(f"heap {which}: {count} records in {backed} bytes")
        found: list[PendingSeen] = []
        for place in range(count):
            address = self.words[start // WORD + place]
            said = self.words[(address >> 3) + at.PENDING_PLACE]
            self.expect(said == place, f"heap {which}: the record at {address} in place {place} says {said}")
            found.append(self._pending(which, address))
        for place in range(1, len(found)):
            above = found[place - 1 >> 1]
            self.expect(above[1:3] <= found[place][1:3], f"heap {which}: place {place} is due before the one above")
        return found

    def _pending(self, which: int, address: int) -> PendingSeen:
        fields = self.words[address >> 3 : (address >> 3) + at.PENDING_WORDS]
        due_us, first, texts = fields[at.PENDING_DUE_US], fields[at.PENDING_FIRST], fields[at.PENDING_TEXTS]
        self.expect(fields[at.PENDING_SCHEDULED_US] <= due_us, f"heap {which}: due at {due_us}, before it has to come")
        start = address + at.PENDING_WORDS * WORD
        middle, end = start + (texts & 0xFFFF), start + (texts & 0xFFFF) + (texts >> 16)
        pipe, schedule = self.bytes[start:middle].decode(), self.bytes[middle:end].decode()
        self.expect(bool(schedule) == (which == at.RECURRENT_HEAP), f"heap {which}: {pipe!r} by {schedule!r}")
        messages = self.record_at(end + 7 & ~7)
        self.expect(messages.format == record.MESSAGES, f"heap {which}: a jump at {address}")
        return PendingSeen(which, due_us, first, address, pipe, schedule, messages, fields[at.PENDING_SCHEDULED_US])

    def _check_numbers(self, records: list[PendingSeen]) -> None:
        numbers = sorted(number for found in records for number in found.numbers)
        self.expect(len(set(numbers)) == len(numbers), "pending messages share numbers")
        self.expect(not numbers or numbers[-1] < self.words[at.PENDING_NUMBER], "numbers of pending messages come back")

    def _check_counts(self, records: list[PendingSeen]) -> None:
        for which, word in enumerate((at.DEFERRED, at.RECURRENT)):
            living = sum(len(self.living(found.messages)) for found in records if found.which == which)
            said = self.words[word]
            self.expect(said == living, f"heap {which}: {counted(living, 'message')}, but {said} are counted")

    def _check_cells(self, records: list[PendingSeen]) -> None:
        """Each cell and each large extent that is lent holds one record of a heap."""
        addresses = {found.address: found for found in records}
        self.expect(len(addresses) == len(records), "two pending records at one address")
        for extent in self.marked(self.layout.extent_map, self.layout.extents):
            owner = self.words[self.layout.extent_owners_word + extent]
            if owner in (SLAB + 1, LARGE + 1):
                self.owners[extent] = owner
            end = self.start_of(extent) + self.words[self.layout.extent_backed_word + extent]
            for address in self._lent(extent, owner):
                kept = addresses.pop(address, None)
                self.expect(kept is not None, f"extent {extent}: memory at {address} is lent to no pending record")
                room = self._room_of(extent, owner, address)
                self.expect(
                    kept is None or kept.messages.end <= min(room, end),
                    f"the record at {address} has too little memory",
                )
        self.expect(not addresses, f"pending records in memory that no tube owns: {sorted(addresses)}")

    def _lent(self, extent: int, owner: int) -> Iterator[int]:
        start = self.start_of(extent)
        if owner == LARGE + 1:
            yield start
        if owner != SLAB + 1:
            return
        size, said = self.words[start >> 3], self.bytes[self.layout.extent_map + extent]
        if size not in SIZES:
            self.wrongs.append(f"slab {extent}: cells of {size} bytes")
            return
        bits = int.from_bytes(self.bytes[start + WORD : start + WORD + BITS_BYTES], "little")
        most = (self.layout.classes[at.SLAB_CLASS].size - CELLS_BEGIN) // size
        expected = FULL if bits.bit_count() == most else FIRST_SIZE + SIZES.index(size)
        self.expect(said == expected, f"slab {extent}: the map says {said}, not {expected}")
        self.expect(bits > 0, f"slab {extent} is empty")
        self.expect(bits >> most == 0, f"slab {extent}: bits beyond its {most} cells")
        yield from (start + CELLS_BEGIN + n * size for n in range(most) if bits >> n & 1)

    def _room_of(self, extent: int, owner: int, address: int) -> int:
        start = self.start_of(extent)
        if owner == SLAB + 1:
            return address + self.words[start >> 3]
        return start + self.class_of(extent).size - record.HEADER_BYTES

    def _check_due(self, records: list[PendingSeen]) -> None:
        first, said = min((found.due_us for found in records), default=0), self.words[at.NEXT_DUE_US]
        latest = max(first, time.time_ns() // 1000 + _RETRY_US)
        self.expect(not records or 0 < said <= latest, f"first due at {first}, said is {said}")
