"""Which messages of a pipe are equal to a given one: the entries of the table, and what stands behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shardq.model.trace import untraced
from shardq.shm import words as at
from shardq.shm.counters import none_to_come
from shardq.shm.deferred.records import PendingRecord, PendingRecords
from shardq.shm.journal import Journal
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.memory.record import Record
from shardq.shm.segment import Segment
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.unique_index import ADDRESS_BITS, UNLISTED, UniqueIndex

_ADDRESS = (1 << ADDRESS_BITS) - 1


class Asked(NamedTuple):
    """Messages for a pipe, no two of them equal, and their digests, which are those of all equal ones."""

    pipe: str
    messages: Sequence[bytes]
    digests: Sequence[int]


class EqualMessages:
    """Looks for equal messages. All methods want the guard held."""

    def __init__(
        self, segment: Segment, journal: Journal, extents: Extents, fifos: Fifos, records: PendingRecords
    ) -> None:
        self._segment = segment
        self._journal = journal
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._fifos = fifos
        self._records = records
        self._first_head = segment.layout.tube_word(0) + at.TUBE_HEAD_SEQUENCE
        self._tube_map = segment.layout.tube_map
        self.table = UniqueIndex(segment, extents, self._lasts)

    def forget(self) -> None:
        """Give the memory of the table back where no message is left that could be equal to another."""
        if none_to_come(self._words):
            self.table.forget()

    def pending(self, pipe: str, message: bytes, digest: int, *, recurrent: bool) -> list[tuple[PendingRecord, int]]:
        """Living messages equal to this one that wait for this pipe, with their numbers: deferred or recurrent ones."""
        entries, message = self.table.find(digest), untraced(message)
        if any(field >> ADDRESS_BITS == UNLISTED and number for field, number in entries):
            return self._pending_without_entries(pipe, message, digest, recurrent=recurrent)
        equal = {}
        for field, number in entries:
            if field >> ADDRESS_BITS or not self._lasts(field, number):
                continue
            found = self._records.read(field)
            index = number - found.first
            if index >= found.messages.count or record.is_cancelled(self._segment, found.messages, index):
                continue
            same = found.pipe == pipe and bool(found.schedule) == recurrent
            if same and untraced(self._records.message(found, number)) == message:
                equal[number] = found, number  # after a death an entry may stand twice
        return list(equal.values())

    def absent(
        self, pipe: str, messages: Sequence[bytes], digests: Sequence[int], tubes: Sequence[int]
    ) -> tuple[list[bytes], list[int]]:
        """Those of the messages, and their digests, that have no equal among the deferred ones, nor in these tubes as
        far as their messages are in the table.
        """
        unknown, known = self.table.are_unknown(digests), dict[int, Record]()
        fresh = [
            (message, digest)
            for message, digest, is_unknown in zip(messages, digests, unknown, strict=True)
            if is_unknown or not self._exists(pipe, tubes, message, digest, known)
        ]
        return [message for message, _ in fresh], [digest for _, digest in fresh]

    def _exists(self, pipe: str, tubes: Sequence[int], message: bytes, digest: int, known: dict[int, Record]) -> bool:
        waits, message = False, untraced(message)
        for field, number in self.table.find(digest):
            tube = (field >> ADDRESS_BITS) - 1
            if tube in tubes:
                if self._in_tube(tube, field, number, message, known):
                    return True
            elif tube < 0 or tube == UNLISTED - 1:
                waits = True
        return waits and bool(self.pending(pipe, message, digest, recurrent=False))

    def _in_tube(self, tube: int, field: int, number: int, message: bytes, known: dict[int, Record]) -> bool:
        """Whether the message is what the entry names. `known` keeps the records that were read: messages of one call
        often stand in one record.
        """
        if not self._lasts(field, number):
            return False
        found = known.get(field)
        if found is None:
            found = known[field] = self._fifos.chains.at(field & _ADDRESS)
        index = number - found.sequence
        # A death may have left an entry without its number.
        if not 0 <= index < found.count or untraced(record.message(self._segment, found, index)) != message:
            return False
        # The entry names the last of several equal messages. Where that was taken out, a worker may have an earlier
        # one in hand.
        return not record.is_cancelled(self._segment, found, index) or self._fifos.has_stayed(tube, message)

    def _pending_without_entries(
        self, pipe: str, message: bytes, digest: int, *, recurrent: bool
    ) -> list[tuple[PendingRecord, int]]:
        """As `pending`, by looking at all pending records: so many messages are equal that not all have entries."""
        equal = [
            (found, number)
            for heap in self._records.heaps
            for found in map(self._records.read, heap.records())
            if found.pipe == pipe and self._bytes.find(message, found.messages.payload, found.messages.end) >= 0
            for number, candidate in self._records.living_messages(found)
            if untraced(candidate) == message
        ]
        if not equal:
            self.table.list_all(digest)
        return [(found, number) for found, number in equal if bool(found.schedule) == recurrent]

    def _lasts(self, field: int, number: int) -> bool:
        """Whether what an entry of the table names may still be there: neither acknowledged nor gone."""
        tube = (field >> ADDRESS_BITS) - 1
        if 0 <= tube < self._layout.tubes:
            # Numbers never come back, so of another tube in the same place all are higher.
            head = self._words[self._first_head + tube * at.TUBE_WORDS]
            return head <= number and self._bytes[self._tube_map + tube] != 0
        if tube >= 0:
            return number > 0  # there may be some without entries
        # One that is just coming is in no heap yet. Of another record in the same place all numbers are higher.
        coming = field == self._words[at.PENDING_CELL] or field in self._journal.coming
        stands = coming or self._records.stands(field)
        return stands and self._words[(field >> 3) + at.PENDING_FIRST] <= number


def tube_field(tube: int, address: int) -> int:
    """What an entry of the table has for a record of a tube."""
    return tube + 1 << ADDRESS_BITS | address
