"""One FIFO: records in a chain of extents, written at the tail (`fifo_writer`) and acknowledged at the head.

Two stores count. The store of TUBE_TAIL, the address of the last record, makes all records written before it part of
the tube. The store of TUBE_HEAD_SEQUENCE acknowledges all messages with lower numbers. All other facts follow from
these two words and the records: the length, the next sequence number, the extents in use, and whether it is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from shardq.model import EMPTY, Batch
from shardq.model.trace import untraced
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.journal import Journal
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.memory.record import Record
from shardq.shm.memory.record_chain import RecordChains
from shardq.shm.segment import Segment
from shardq.shm.tubes.marks import Marks

#: Words, and the values that a commit stores in them.
Stores = Sequence[tuple[int, int]]


class Fifos:
    """Reads tube entries, acknowledges, and takes messages out. The caller is inside the guard, and has declared an
    intent for the tube's thread before it changes any.
    """

    def __init__(self, segment: Segment, journal: Journal, extents: Extents) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._journal = journal
        self._extents = extents
        self.chains = RecordChains(segment, extents)
        self._read_last = 0, 0, 0
        """Of the message that `read_on` read last: its tube, its number, and where its record is."""
        self._marks = Marks()
        self._found_last = 0, 0, 0
        """Of the message that `find` found last: its tube, the number behind it, and where its record is."""

    def read(self, tube: int, limit: int) -> Batch:
        """At most `limit` messages from the head."""
        return self.read_out(self.find(tube, limit))

    def read_out(self, batch: Batch) -> Batch:
        """The batch with its messages. Wants no guard where they are handed out to the caller."""
        return record.read_out(self._segment, batch)

    def find(self, tube: int, limit: int) -> Batch:
        """As `read`, with messages that `read_out` reads."""
        word = self._layout.tube_word(tube)
        head = self._words[word + at.TUBE_HEAD_SEQUENCE]
        if limit <= 0 or self.is_empty(tube):
            return EMPTY
        if self._words[word + at.TUBE_CANCELLED]:
            return self.read_on(tube, limit, head - 1)
        slices: list[record.Slice] = []
        for found in self.chains.records(tube):
            index = max(0, head - found.sequence)
            number = min(limit, found.count - index)
            slices.append((found, index, number))
            limit -= number
            if not limit:
                break
        batch = record.unread(slices)
        self._found_last = tube, batch.through, found.address
        return batch

    def read_on(self, tube: int, limit: int, after: int) -> Batch:
        """As `read`, of the messages with numbers above `after`."""
        head = self._words[self._layout.tube_word(tube) + at.TUBE_HEAD_SEQUENCE]
        known, above = after >= head and self._read_last[:2] == (tube, after), max(head, after + 1)
        slices: list[Batch] = []
        for found in self.chains.records(tube, self._read_last[2] if known else self._marks.before(tube, above, head)):
            if found.next_sequence <= above:
                continue
            for n, message in self._live_messages(found, above):
                if len(slices) == limit:
                    return record.joined(slices)
                sequence = found.sequence + n
                slices.append(Batch(sequence, sequence + 1, 1, (len(message),), message))
                self._read_last = tube, sequence, found.address
                self._marks.note(tube, sequence, found.address)
        return record.joined(slices)

    def pop(self, tube: int, through: int, others: Stores = (), counters: Sequence[int] = (at.HANDLED,)) -> int:
        """Acknowledge all messages with numbers below `through`; each of the counters counts them. The same commit
        makes the stores of `others`. Returns how many messages it acknowledged.
        """
        word = self._layout.tube_word(tube)
        head, through = self._words[word + at.TUBE_HEAD_SEQUENCE], min(through, self.next_sequence(tube))
        if through <= head:
            return 0
        gone = through - head - self._cancelled_between(tube, head, through)
        counted = [self._journal.moved(counter, gone) for counter in counters]
        self._journal.commit((word + at.TUBE_HEAD_SEQUENCE, through), *counted, *others)
        # The record of the last message stands until the head is settled: so the chain is followed from there.
        known = self._found_last[:2] == (tube, through)
        self.settle(tube, self._found_last[2] if known else 0)
        return gone

    def cancel(self, tube: int, messages: Sequence[bytes], *, handed_stay: bool) -> int:
        """Take out the messages that equal these. With `handed_stay`, those in a worker's hands stay. Returns how many
        it took out.
        """
        wanted, taken = frozenset(map(untraced, messages)), 0
        word = self._layout.tube_word(tube)
        handed = self._words[word + at.TUBE_HANDED] if handed_stay else 0
        above = max(self._words[word + at.TUBE_HEAD_SEQUENCE], handed)
        if self._words[word + at.TUBE_STAYED] < handed:
            self._words[word + at.TUBE_STAYED] = handed
        for found in list(self.chains.records(tube)):
            hits = [n for n, message in self._live_messages(found, above) if untraced(message) in wanted]
            taken += len(hits)
            self._cancel_in(tube, found, hits)
        if taken:
            self.settle(tube)
        return taken

    def cancel_one(self, tube: int, sequence: int, counters: Sequence[int]) -> bool:
        """Take out the message of this number; each of the counters counts it. False: it is gone already."""
        place = self.place_of(tube, sequence)
        if place is None:
            return False
        self._journal.commit(place, *(self._journal.moved(counter, 1) for counter in counters))
        self.settle(tube)
        return True

    def place_of(self, tube: int, sequence: int) -> tuple[int, int] | None:
        """The word that takes out the message of this number, and the value it must get. None: it is gone already."""
        head = self._words[self._layout.tube_word(tube) + at.TUBE_HEAD_SEQUENCE]
        if sequence < head:
            return None
        for found in self.chains.records(tube, self._marks.before(tube, sequence, head)):
            n = sequence - found.sequence
            if 0 <= n < found.count and not record.cancelled_bits(self._segment, found) >> n & 1:
                self._words[self._layout.tube_word(tube) + at.TUBE_CANCELLED] = 1
                return record.cancelled_with(self._segment, found, n)
        return None

    def contains(self, tube: int, message: bytes) -> bool:
        """Whether an equal message is in the tube."""
        head = self._words[self._layout.tube_word(tube) + at.TUBE_HEAD_SEQUENCE]
        message = untraced(message)
        return any(
            message == untraced(candidate)
            for found in self.chains.records(tube)
            if self._bytes.find(message, found.payload, found.end) >= 0
            for _, candidate in self._live_messages(found, head)
        )

    def has_stayed(self, tube: int, message: bytes) -> bool:
        """Whether an equal message was in a worker's hands when `cancel` took out others, and is still there."""
        word = self._layout.tube_word(tube)
        head, stayed = self._words[word + at.TUBE_HEAD_SEQUENCE], self._words[word + at.TUBE_STAYED]
        first = takewhile(lambda found: found.sequence < stayed, self.chains.records(tube) if head < stayed else ())
        message = untraced(message)
        return any(message == untraced(its) for found in first for _, its in self._live_messages(found, head))

    def span(self, tube: int) -> int:
        """How many numbers there are from the head on, those of messages that were taken out included."""
        head: int = self._words[self._layout.tube_word(tube) + at.TUBE_HEAD_SEQUENCE]
        return self.next_sequence(tube) - head

    def length(self, tube: int) -> int:
        return self.length_below(tube, self.next_sequence(tube))

    def length_below(self, tube: int, through: int) -> int:
        """How many messages have numbers below `through`."""
        head = self._words[self._layout.tube_word(tube) + at.TUBE_HEAD_SEQUENCE]
        return max(0, through - head) and through - head - self._cancelled_between(tube, head, through)

    def handed(self, tube: int) -> int:
        """How many messages are in a worker's hands."""
        return self.length_below(tube, self._words[self._layout.tube_word(tube) + at.TUBE_HANDED])

    def is_empty(self, tube: int) -> bool:
        head, following = self._words[self._layout.tube_word(tube) + at.TUBE_HEAD_SEQUENCE], self.next_sequence(tube)
        if head < following:
            return False
        if head > following:
            raise damaged(self._segment.name, f"tube {tube} has its head at {head}, and ends before {following}")
        return True

    def head(self, tube: int) -> int:
        return self._words[self._layout.tube_word(tube) + at.TUBE_HEAD_SEQUENCE]

    def next_sequence(self, tube: int) -> int:
        """Sequence number of the next message that will be appended."""
        word = self._layout.tube_word(tube)
        tail = self._words[word + at.TUBE_TAIL]
        return record.next_behind(self._segment, tail) if tail else self._words[word + at.TUBE_NEXT_SEQUENCE]

    def oldest_us(self, tube: int) -> int:
        """When the message at the head was accepted, Unix microseconds, 0: the tube is empty."""
        return 0 if self.is_empty(tube) else next(self.chains.records(tube)).accepted_us

    def settle(self, tube: int, start: int = 0) -> None:
        """Bring all that follows from the head in line with it. It also finishes what a dead process left half done.
        `start`: a record of the tube before the head, from which on to look for the one that holds it.
        """
        word = self._layout.tube_word(tube)
        if not self._words[word + at.TUBE_TAIL]:
            return
        self._skip_cancelled(tube)
        if self.is_empty(tube):
            before = self.chains.extents_of(tube)
            # The number is stored first: once the tail is gone, no other word tells it.
            self._words[word + at.TUBE_NEXT_SEQUENCE] = self.next_sequence(tube)
            self._words[word + at.TUBE_CANCELLED] = 0
            self._words[word + at.TUBE_INDEXED] = 0
            self._words[word + at.TUBE_TAIL] = 0
            self.chains.release(before)
            return
        former, head = self._words[word + at.TUBE_HEAD_RECORD], next(self.chains.records(tube, start)).address
        if head != former:
            left = self.chains.extents_between(former, head)[:-1]
            self._words[word + at.TUBE_HEAD_RECORD] = head
            self.chains.release(left)
            self._extents.punch(former, head)

    def _live_messages(self, found: Record, above: int) -> list[tuple[int, bytes]]:
        """Position and bytes of a record's messages that are not cancelled, from sequence number `above` on."""
        cancelled = record.cancelled_bits(self._segment, found)
        start = max(0, above - found.sequence)
        return [
            (n, message)
            for n, message in enumerate(record.cut(self._segment, found, 0, found.count).messages[start:], start)
            if not cancelled >> n & 1
        ]

    def _cancel_in(self, tube: int, found: Record, positions: Sequence[int]) -> None:
        if positions:
            self._words[self._layout.tube_word(tube) + at.TUBE_CANCELLED] = 1
        for group in sorted({n >> 6 for n in positions}):
            place = (found.cancelled >> 3) + group
            bits = [n & 63 for n in positions if n >> 6 == group]
            value = self._words[place] | sum(1 << bit for bit in bits)
            self._journal.commit((place, value), self._journal.moved(at.HANDLED, len(bits)))

    def _cancelled_between(self, tube: int, start: int, end: int) -> int:
        """How many messages with sequence numbers in [start, end) are cancelled."""
        if not self._words[self._layout.tube_word(tube) + at.TUBE_CANCELLED]:
            return 0
        total = 0
        for found in self.chains.records(tube):
            if found.sequence >= end:
                break
            low, high = max(start, found.sequence) - found.sequence, min(end, found.next_sequence) - found.sequence
            if high > low:
                total += (record.cancelled_bits(self._segment, found) >> low & (1 << high - low) - 1).bit_count()
        return total

    def _skip_cancelled(self, tube: int) -> None:
        """Move the head past cancelled messages, so that a tube with a head has something to handle."""
        word = self._layout.tube_word(tube)
        if not self._words[word + at.TUBE_CANCELLED]:
            return
        head = self._words[word + at.TUBE_HEAD_SEQUENCE]
        for found in self.chains.records(tube):
            head = max(head, found.sequence)
            live = ~record.cancelled_bits(self._segment, found) >> head - found.sequence
            head = min(head + (live & -live).bit_length() - 1, found.next_sequence)
            if head < found.next_sequence:
                break
        self._words[word + at.TUBE_HEAD_SEQUENCE] = head
