"""Pending messages are added, go to their tube when they are due, and are taken out.

A pending record holds the messages of one append to one tube. When it is due, its messages are written to their tube,
and the record leaves the heap in the same commit. A large record has extents of its own: these become the tube's.
"""

from __future__ import annotations

from collections.abc import Sequence

from shardq.errors import DirectoryFull, MessageTooLarge
from shardq.shm import words as at
from shardq.shm.counters import none_queued, nothing_stored
from shardq.shm.deferred.due_heap import DueHeap
from shardq.shm.deferred.records import PendingRecord, PendingRecords, padded
from shardq.shm.journal import Journal
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import NO_ROOM, NOT_FOUND, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.fifo_writer import FifoWriter
from shardq.shm.verbs.equal_messages import Asked, EqualMessages
from shardq.shm.words import WORD
from shardq.text.wording import counted

_COUNTERS = (at.DEFERRED, at.RECURRENT)


class Transfer:
    """Operations on pending records. All methods want the guard held."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        extents: Extents,
        directory: Directory,
        fifos: Fifos,
        writer: FifoWriter,
        claims: Claims,
        records: PendingRecords,
        equals: EqualMessages,
        sleepers: Sleepers,
    ) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._journal = journal
        self._extents = extents
        self._directory = directory
        self._fifos = fifos
        self._writer = writer
        self._claims = claims
        self._records = records
        self._heaps, self._cells = records.heaps, records.cells
        self._equals = equals
        self._sleepers = sleepers

    def add(
        self,
        parts: Sequence[Asked],
        schedule: str,
        due_us: int,
        now_us: int,
        *,
        share: int,
        followers: Sequence[tuple[int, int]] = (),
        less: int = 0,
    ) -> bool:
        """Add messages, all or none. False: there is no room now. Raises `MessageTooLarge` where even an empty segment
        has none. `followers`: words and their values that the same commit stores, which takes out `less` other
        messages.
        """
        self._journal.declare_pending()
        messages = [message for part in parts for message in part.messages]
        former, stores = self._extents.keep_room(messages, share), list[tuple[int, int]]()
        if former is not None:
            due = [(part, due_us) for part in parts]
            stores = self.write(due, schedule, now_us, share=share, less=less)
        if not stores:
            nbytes = record.size_of(len(messages), sum(map(len, messages)))
            self._extents.found_no_room(messages, nbytes, former, share)
            self._journal.clear_pending()
            self._check_ever(messages, nbytes)
            return False
        self._journal.commit(*stores, *followers)
        self.settle(schedule)
        return True

    def write(
        self, parts: Sequence[tuple[Asked, int]], schedule: str, now_us: int, *, share: int, less: int = 0
    ) -> list[tuple[int, int]]:
        """Write messages, each part with its due time, as records that are in no heap yet. Returns the stores that put
        the records there and count the messages, `less` of them excepted. It returns none where there is no room. Once
        the stores are made, `settle`.
        """
        heap = self._heap(schedule)
        addresses = self._all_written(heap, parts, schedule, now_us, share)
        if not addresses:
            return []
        heap.declare_added(addresses)
        count = sum(len(part.messages) for part, _ in parts)
        added = self._journal.moved(_COUNTERS[heap.which], count - less)
        return [(heap.count_word, heap.count + len(addresses)), added]

    def settle(self, schedule: str) -> None:
        """Put the heap of such records in order after the stores of `write`."""
        self._heap(schedule).settle()
        self._cells.keep()
        self.note_due()
        self._journal.clear_pending()

    def promote(self, found: PendingRecord, now_us: int) -> int:
        """Move the messages of a deferred record to their tube. Returns its entry, NO_ROOM: there is no room for that
        now, NOT_FOUND: all were cancelled.
        """
        address, count = found.address, self._records.living_count(found)
        if not count:
            self._remove(found)
            return NOT_FOUND
        share = self._share_of_due(at.FOLLOW_UP)
        place = self._place(found.pipe, share)
        if place is None:
            return NO_ROOM
        thread, tube = place
        self._journal.declare(thread)
        self._journal.declare_pending()
        large = self._cells.is_large(address)
        if large:
            self._cells.hand_over(address, tube)
            tail = self._writer.adopt(tube, found.messages.address, now_us)
        else:
            messages = [message for _, message in self._records.living_messages(found)]
            tail = self._writer.write(tube, messages, now_us, share=share)
        if tail:
            heap = self._heaps[at.DEFERRED_HEAP]
            self._cells.announce(address)
            heap.declare_removed(address)
            left = at.DEFERRED, self._words[at.DEFERRED] - count
            self._arrive(thread, tube, tail, count, (heap.count_word, heap.count - 1), left)
            heap.settle()
            if large:
                self._fifos.settle(tube)
                self._cells.keep()
            else:
                self._cells.give_back(address)
        self._journal.clear_pending()
        self._journal.clear()
        return tube if tail else NO_ROOM

    def bring(self, found: PendingRecord, number: int, now_us: int) -> int:
        """Move one message of a deferred record to its tube, before its time. Returns as `promote`."""
        if self._records.living_count(found) == 1:
            return self.promote(found, now_us)
        share = self._share_of_due(at.FOLLOW_UP)
        place = self._place(found.pipe, share)
        if place is None:
            return NO_ROOM
        thread, tube = place
        self._journal.declare(thread)
        self._journal.declare_pending()
        message = record.message(self._segment, found.messages, number - found.first)
        tail = self._writer.write(tube, [message], now_us, share=share)
        if tail:
            cancelled = self._records.cancelled_with(found, number)
            self._arrive(thread, tube, tail, 1, cancelled, self._journal.moved(at.DEFERRED, -1))
        self._journal.clear_pending()
        self._journal.clear()
        return tube if tail else NO_ROOM

    def recur(self, found: PendingRecord, next_due_us: int | None, now_us: int) -> bool:
        """Copy the messages of a recurrent record to their tube; it is due again then, None: never. False: there is no
        room for that now.
        """
        messages = self._records.living_messages(found)
        share = self._share_of_due(at.GENERAL)
        place = self._place(found.pipe, share) if messages else None
        if not messages:
            self._remove(found)
            return True
        if place is None:
            return False
        thread, tube = place
        self._journal.declare(thread)
        self._journal.declare_pending()
        heap, count = self._heaps[at.RECURRENT_HEAP], len(messages)
        tail = self._writer.write(tube, [message for _, message in messages], now_us, share=share)
        if tail and next_due_us is not None:
            heap.declare_due(found.address, next_due_us)
            word = found.address >> 3
            scheduled = word + at.PENDING_SCHEDULED_US, next_due_us
            self._arrive(thread, tube, tail, count, (word + at.PENDING_DUE_US, next_due_us), scheduled)
            heap.settle()
        elif tail:
            self._cells.announce(found.address)
            heap.declare_removed(found.address)
            left = at.RECURRENT, self._words[at.RECURRENT] - count
            self._arrive(thread, tube, tail, count, (heap.count_word, heap.count - 1), left)
            heap.settle()
            self._cells.give_back(found.address)
        self._journal.clear_pending()
        self._journal.clear()
        return bool(tail)

    def put_off(self, found: PendingRecord, due_us: int) -> None:
        """Have a recurrent record looked at again at `due_us`. The time at which it has to come does not change."""
        self._journal.declare_pending()
        heap = self._heaps[at.RECURRENT_HEAP]
        heap.declare_due(found.address, due_us)
        self._words[(found.address >> 3) + at.PENDING_DUE_US] = due_us
        heap.settle()
        self._journal.clear_pending()

    def skip(self, found: PendingRecord, next_due_us: int) -> None:
        """Have a recurrent record come at another time than it has to."""
        self._journal.declare_pending()
        heap, word = self._heaps[at.RECURRENT_HEAP], found.address >> 3
        heap.declare_due(found.address, next_due_us)
        self._journal.commit((word + at.PENDING_DUE_US, next_due_us), (word + at.PENDING_SCHEDULED_US, next_due_us))
        heap.settle()
        self._journal.clear_pending()

    def cancel(self, found: PendingRecord, number: int) -> None:
        """Take out one message."""
        self._journal.declare_pending()
        cancelled = self._records.cancelled_with(found, number)
        self._journal.commit(cancelled, self._journal.moved(_COUNTERS[found.heap], -1))
        self._equals.forget()
        self._journal.clear_pending()
        self.drop_if_empty(found)

    def drop_if_empty(self, found: PendingRecord) -> None:
        """Remove a record whose messages are all cancelled."""
        if not self._records.living_count(found):
            self._remove(found)

    def note_due(self) -> None:
        """Write the first due time into the header. Where it is earlier than before, wake the process that waits for
        it.
        """
        former, first = self._words[at.NEXT_DUE_US], self._first_due_us()
        self._words[at.NEXT_DUE_US] = first
        if first and (not former or first < former):
            self._sleepers.call_timer(first)

    def mend(self) -> None:
        """Finish or undo what a death left half done. May be repeated."""
        for heap in self._heaps:
            heap.settle()
        self._cells.mend(self._tube_using)
        self._words[at.NEXT_DUE_US] = self._first_due_us()

    def _heap(self, schedule: str) -> DueHeap:
        return self._heaps[at.RECURRENT_HEAP if schedule else at.DEFERRED_HEAP]

    def _first_due_us(self) -> int:
        return min(filter(None, (heap.first_due_us() for heap in self._heaps)), default=0)

    def _tube_using(self, extent: int) -> int:
        """The tube whose records are in the extent, of the tubes that the dead process was changing; -1: none."""
        for thread in filter(self._directory.linked, self._journal.threads):
            for tube in self._directory.tubes_of(thread):
                if extent in self._fifos.chains.extents_of(tube):
                    return tube
        return -1

    def _all_written(
        self, heap: DueHeap, parts: Sequence[tuple[Asked, int]], schedule: str, now_us: int, share: int
    ) -> list[int]:
        """Addresses of new records that are in no heap yet, with their messages in the table. An empty list: there is
        not room for all.
        """
        addresses = list[int]()
        for part, due_us in parts:
            if addresses:
                self._journal.note_coming(addresses[-1])
            address = 0
            if heap.make_room(share=share, beside=len(addresses)):
                address = self._written(part, schedule, (due_us, now_us), share)
            if not address:
                for other in addresses:
                    self._cells.free(other)
                self._cells.keep()
                return []
            addresses.append(address)
        return addresses

    def _written(self, part: Asked, schedule: str, times_us: tuple[int, int], share: int) -> int:
        """Address of a new record that is in no heap yet, with its messages in the table. 0: there is no room."""
        pipe, messages, digests = part
        texts = pipe.encode(), schedule.encode()
        start = padded(at.PENDING_WORDS * WORD + sum(map(len, texts)))
        # A jump has to fit behind it, should a tube take it over.
        nbytes = start + record.size_of(len(messages), sum(map(len, messages))) + record.HEADER_BYTES
        address = self._cells.take(nbytes, share=share)
        if not address:
            return 0
        word, first = address >> 3, self._words[at.PENDING_NUMBER]
        self._words[at.PENDING_NUMBER] = first + len(messages)
        due_us, accepted_us = times_us
        self._words[word + at.PENDING_DUE_US] = self._words[word + at.PENDING_SCHEDULED_US] = due_us
        self._words[word + at.PENDING_FIRST] = first
        self._words[word + at.PENDING_TEXTS] = len(texts[0]) | len(texts[1]) << 16
        behind = address + at.PENDING_WORDS * WORD
        self._bytes[behind : behind + sum(map(len, texts))] = b"".join(texts)
        record.write(self._segment, address + start, first, accepted_us, messages)
        if not self._equals.table.insert(digests, address, first, share=share):
            self._cells.give_back(address)
            return 0
        return address

    def _check_ever(self, messages: Sequence[bytes], nbytes: int) -> None:
        """Raise `MessageTooLarge` where the segment is empty, and /dev/shm had room enough."""
        kept = self._extents.kept_for(messages, nbytes)
        if nothing_stored(self._segment) and self._segment.free_bytes > 2 * nbytes + kept + at.TABLE_STEP:
            raise MessageTooLarge(
                f"{counted(len(messages), 'message')} of {sum(map(len, messages))} bytes can never wait in segment "
                f"{self._segment.name!r}, whose capacity is {self._layout.capacity_bytes}: register fewer at a time, "
                f"or give it more capacity"
            )

    def _remove(self, found: PendingRecord) -> None:
        """Remove a record without messages."""
        self._journal.declare_pending()
        heap = self._heaps[found.heap]
        self._cells.announce(found.address)
        heap.declare_removed(found.address)
        self._journal.commit((heap.count_word, heap.count - 1))
        heap.settle()
        self._cells.give_back(found.address)
        self._journal.clear_pending()

    def _arrive(self, thread: int, tube: int, tail: int, count: int, *followers: tuple[int, int]) -> None:
        """Make messages part of their tube, in the commit that also does the stores of `followers`."""
        accepted = self._journal.moved(at.ACCEPTED, count)
        self._journal.commit((self._layout.tube_word(tube) + at.TUBE_TAIL, tail), accepted, *followers)
        self._claims.work_arrived(thread)
        self._claims.tallies.accepted_in(thread, count)

    def _share_of_due(self, share: int) -> int:
        """The share that due messages may use: this one, which leaves room for burying queued messages. Where nothing
        is queued, nothing could make room for due messages, so they may use all there is.
        """
        return at.ALL if none_queued(self._words) else share

    def _place(self, pipe: str, share: int) -> tuple[int, int] | None:
        """Thread and tube entry of a pipe, made where there is none. None: there is no room for that now."""
        try:
            thread, tube = self._directory.add_tube(pipe, share=share)
        except DirectoryFull:
            thread = tube = NO_ROOM
        if tube == NO_ROOM:
            self._journal.clear()
            return None
        return thread, tube
