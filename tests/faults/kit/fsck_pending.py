"""Whether what waits for its time, and the table of equal messages, are whole in a segment at rest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from shardq.shm import words as at
from shardq.shm.layout import ExtentClass
from shardq.shm.memory import record
from shardq.shm.memory.record import Record
from shardq.shm.segment import Segment
from shardq.shm.words import WORD

#: Owner words of extents that belong to no tube.
SLAB, LARGE = (1 << 40) + 1, (1 << 41) + 1
CELL_SIZES = (*range(96, 513, 32), 640, 768, 1024, 1536, 2048)
CELLS_BEGIN, FULL, FIRST_SIZE = 192, 255, 2
ADDRESS_BITS, UNLISTED = 47, (1 << 17) - 1
#: How long a promotion without room rests, in microseconds.
RETRY_US = 50_000


class Pending(NamedTuple):
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


def pending_of(segment: Segment) -> list[Pending]:
    """All records that wait, the first due first, read without the code that keeps them. Wants the guard held."""
    fsck = PendingFsck(segment)
    return sorted((found for which in (0, 1) for found in fsck.heap(which)), key=lambda found: found[1:3])


def living_messages(segment: Segment, found: Pending) -> list[bytes]:
    """Its messages that are not cancelled."""
    return [record.message(segment, found.messages, index) for index in _live(segment, found.messages)]


class PendingFsck:
    """One look over heaps, cells and the table of equal messages, in which no process is at work."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._complaints: list[str] = []
        self.owners: dict[int, int] = {}
        """Owner word that each extent without a tube must have."""

    def run(self, pipes: dict[int, str]) -> list[str]:
        """What is wrong, one line each. `pipes` names the tubes whose messages are work."""
        records = [found for which in (at.DEFERRED_HEAP, at.RECURRENT_HEAP) for found in self.heap(which)]
        self._check_numbers(records)
        self._check_counts(records)
        self._check_cells(records)
        self._check_due(records)
        self._check_table()
        for found in records:
            self._check_listed(found)
        for tube, pipe in pipes.items():
            self._check_indexed(tube, pipe)
        return self._complaints

    def _expect(self, holds: bool, complaint: str) -> None:
        if not holds:
            self._complaints.append(complaint)

    def heap(self, which: int) -> list[Pending]:
        count, start = self._words[at.HEAP_COUNT + which], self._layout.heap(which)
        backed = self._words[at.HEAP_BACKED + which]
        self._expect(count * WORD <= backed, f"heap {which}: {count} records in {backed} bytes")
        found: list[Pending] = []
        for place in range(count):
            address = self._words[start // WORD + place]
            said = self._words[(address >> 3) + at.PENDING_PLACE]
            self._expect(said == place, f"heap {which}: the record at {address} in place {place} says {said}")
            found.append(self._pending(which, address))
        for place in range(1, count):
            above = found[place - 1 >> 1]
            self._expect(above[1:3] <= found[place][1:3], f"heap {which}: place {place} is due before the one above")
        return found

    def _pending(self, which: int, address: int) -> Pending:
        fields = self._words[address >> 3 : (address >> 3) + at.PENDING_WORDS]
        due_us, first, texts = fields[at.PENDING_DUE_US], fields[at.PENDING_FIRST], fields[at.PENDING_TEXTS]
        self._expect(fields[at.PENDING_SCHEDULED_US] <= due_us, f"heap {which}: due at {due_us}, before it has to come")
        start = address + at.PENDING_WORDS * WORD
        middle, end = start + (texts & 0xFFFF), start + (texts & 0xFFFF) + (texts >> 16)
        pipe, schedule = self._bytes[start:middle].decode(), self._bytes[middle:end].decode()
        self._expect(bool(schedule) == (which == at.RECURRENT_HEAP), f"heap {which}: {pipe!r} by {schedule!r}")
        messages = record.read(self._segment, end + 7 & ~7)
        self._expect(messages.format == record.MESSAGES, f"heap {which}: no record at {address}")
        return Pending(which, due_us, first, address, pipe, schedule, messages, fields[at.PENDING_SCHEDULED_US])

    def _check_numbers(self, records: list[Pending]) -> None:
        numbers = sorted(number for found in records for number in found.numbers)
        self._expect(len(set(numbers)) == len(numbers), "pending messages share numbers")
        self._expect(
            not numbers or numbers[-1] < self._words[at.PENDING_NUMBER], "numbers of pending messages come back"
        )

    def _check_counts(self, records: list[Pending]) -> None:
        for which, word in enumerate((at.DEFERRED, at.RECURRENT)):
            living = sum(1 for found in records if found.which == which for _ in self._live(found.messages))
            self._expect(self._words[word] == living, f"heap {which}: {living} messages, counted {self._words[word]}")

    def _check_cells(self, records: list[Pending]) -> None:
        """Each cell and each large extent that is lent holds one record of a heap."""
        addresses = {found.address: found for found in records}
        self._expect(len(addresses) == len(records), "two pending records at one address")
        for extent in range(self._layout.extents):
            if not self._bytes[self._layout.extent_map + extent]:
                continue
            owner = self._words[self._layout.extent_owners_word + extent]
            if owner in (SLAB, LARGE):
                self.owners[extent] = owner
            end = self._start(extent) + self._words[self._layout.extent_backed_word + extent]
            for address in self._lent(extent, owner):
                kept = addresses.pop(address, None)
                self._expect(kept is not None, f"extent {extent}: memory at {address} is lent to no pending record")
                room = self._room_of(extent, owner, address)
                self._expect(
                    kept is None or kept.messages.end <= min(room, end),
                    f"the record at {address} has too little memory",
                )
        self._expect(not addresses, f"pending records in memory that no tube owns: {sorted(addresses)}")

    def _lent(self, extent: int, owner: int) -> Iterator[int]:
        start = self._start(extent)
        if owner == LARGE:
            yield start
        if owner != SLAB:
            return
        size, said = self._words[start >> 3], self._bytes[self._layout.extent_map + extent]
        if size not in CELL_SIZES:
            self._complaints.append(f"slab {extent}: cells of {size} bytes")
            return
        bits = int.from_bytes(self._bytes[start + WORD : start + WORD + 128], "little")
        most = (self._layout.classes[at.SLAB_CLASS].size - CELLS_BEGIN) // size
        expected = FULL if bits.bit_count() == most else FIRST_SIZE + CELL_SIZES.index(size)
        self._expect(said == expected, f"slab {extent}: the map says {said}, not {expected}")
        self._expect(bits > 0, f"slab {extent} is empty")
        self._expect(bits >> most == 0, f"slab {extent}: bits beyond its {most} cells")
        yield from (start + CELLS_BEGIN + n * size for n in range(most) if bits >> n & 1)

    def _room_of(self, extent: int, owner: int, address: int) -> int:
        start = self._start(extent)
        if owner == SLAB:
            return address + self._words[start >> 3]
        return start + _group_of(self._layout.classes, extent).size - record.HEADER_BYTES

    def _check_due(self, records: list[Pending]) -> None:
        first, said = min((found.due_us for found in records), default=0), self._words[at.NEXT_DUE_US]
        latest = max(first, time.time_ns() // 1000 + RETRY_US)
        self._expect(not records or 0 < said <= latest, f"first due at {first}, said is {said}")

    def _check_table(self) -> None:
        state, steps = self._words[at.EQUALITY_STATE], self._layout.equality_steps
        maps = self._bytes[self._layout.equality_map : self._layout.equality_map + 2 * steps]
        self._expect(set(maps) <= {0, 1}, "the map of equal messages has other bytes than 0 and 1")
        if not state:
            self._expect(not any(maps), "there is no table of equal messages, but memory for it")
            return
        for side, log in self._sides():
            taken = sum(1 for place in range(1 << log) if self._entry(side, place)[0])
            self._expect(8 * taken <= 7 * (1 << log), f"table {side}: {taken} of {1 << log} places are taken")
            self._expect(1 << log <= steps * at.EQUAL_STEP, f"table {side} has {1 << log} places")
        self._expect(state >> 16 <= (1 << (state >> 8 & 255)), f"{state >> 16} places moved of the former table")

    def _sides(self) -> list[tuple[int, int]]:
        """Side and log2 of the places of each table there is."""
        state = self._words[at.EQUALITY_STATE]
        current, former = (state & 1, state >> 1 & 127), (1 - (state & 1), state >> 8 & 255)
        return [side for side in (current, former) if side[1]]

    def _entry(self, side: int, place: int) -> tuple[int, int, int]:
        if not self._bytes[self._layout.equality_map + side * self._layout.equality_steps + place // at.EQUAL_STEP]:
            return 0, 0, 0
        word = self._layout.equality_table(side) // WORD + place * at.EQUAL_WORDS
        digest, its_record, number = self._words[word : word + at.EQUAL_WORDS]
        return digest, its_record, number

    def _entries(self, pipe: str, message: bytes) -> list[tuple[int, int]]:
        """Record and number of the entries that are found for a message."""
        key = self._bytes[at.EQUALITY_KEY * WORD : (at.EQUALITY_KEY + 2) * WORD]
        hashed = blake2b(f"{pipe}\0".encode() + message, digest_size=8, salt=key).digest()
        digest, found = int.from_bytes(hashed, "little") or 1, []
        for side, log in self._sides():
            for n in range(1 << log):
                stands, its_record, number = self._entry(side, digest + n & (1 << log) - 1)
                if not stands:
                    break
                if stands == digest:
                    found.append((its_record, number))
        return found

    def _check_listed(self, found: Pending) -> None:
        """Each living message is found by what it says."""
        for index in self._live(found.messages):
            number = found.first + index
            entries = self._entries(found.pipe, record.message(self._segment, found.messages, index))
            listed = (found.address, number) in entries
            unlisted = any(its_record >> ADDRESS_BITS == UNLISTED and said for its_record, said in entries)
            self._expect(listed or unlisted, f"pending message {number} of {found.pipe} is not among the equal ones")

    def _check_indexed(self, tube: int, pipe: str) -> None:
        """Each message below TUBE_INDEXED is found, or one behind it that stands for it."""
        word = self._layout.tube_word(tube)
        head, tail = self._words[word + at.TUBE_HEAD_SEQUENCE], self._words[word + at.TUBE_TAIL]
        below = self._words[word + at.TUBE_INDEXED] - 1
        if not tail:
            self._expect(below < 0, f"tube {tube} is empty, and {below} of its messages are among the equal ones")
            return
        last = record.read(self._segment, tail)
        self._expect(below <= last.next_sequence, f"tube {tube}: equal ones up to {below}, of {last.next_sequence}")
        address = self._words[word + at.TUBE_HEAD_RECORD]
        while below > head:
            found = record.read(self._segment, address)
            for index in self._live(found) if found.format == record.MESSAGES else ():
                number = found.sequence + index
                if head <= number < below:
                    entries = self._entries(pipe, record.message(self._segment, found, index))
                    listed = any(at_ >> ADDRESS_BITS == tube + 1 and number <= said for at_, said in entries)
                    self._expect(listed, f"message {number} of {pipe} is not among the equal ones")
            if address == tail:
                return
            address = found.next_record if found.format == record.JUMP else found.end

    def _live(self, found: Record) -> Iterable[int]:
        return _live(self._segment, found)

    def _start(self, extent: int) -> int:
        group = _group_of(self._layout.classes, extent)
        return group.base + (extent - group.first) * group.size


def _live(segment: Segment, found: Record) -> Iterable[int]:
    bits = int.from_bytes(segment.bytes[found.cancelled : found.ends], "little")
    return (n for n in range(found.count) if not bits >> n & 1)


def _group_of(classes: tuple[ExtentClass, ...], extent: int) -> ExtentClass:
    return next(group for group in reversed(classes) if extent >= group.first)
