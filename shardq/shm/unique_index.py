"""Which messages are equal to a given one: hash tables of hints.

An entry names where a message is or was. The message itself tells whether it is still there, and equal. So an entry
that a death or an acknowledgement left behind does no harm, and entries are not taken out one by one. When half of a
table is taken, another one is begun on the other side, as large as the living entries need. It is given all of its
memory first, a piece at each insertion. Each insertion then moves a few living entries over. Until all are moved, both
tables are searched. Where there is no memory for another table, each insertion takes dead entries out of a few places
instead, and the table may become seven eighths full.

Everything about the tables is packed into one word, so that every change of it is one store:

    side | log2(places of the current table) << 1 | log2(places of the former one) << 8 | progress << 16

The progress is how many places of the former table are moved. Without a former table it is twice the places of the
current one that are swept, or twice the steps of the next one that have memory, + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from struct import unpack

from shardq.errors import SegmentForeign
from shardq.model.trace import untraced
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.words import EQUAL_STEP, EQUAL_STEP_BYTES, EQUAL_WORDS, WORD

#: An entry's record field has the tube entry + 1 above the address; 0: a pending record.
ADDRESS_BITS = 47
#: Stands for a tube in an entry that says that there may be pending messages of this digest without an entry.
UNLISTED = (1 << 17) - 1
#: About how many pending messages of one digest have entries: each new one has to pass by all others.
_MOST_ALIKE = 16
#: A table is begun with three places or more for each living entry and at least a quarter of the former one's. Each
#: insertion empties so many places of the former, times how much of it is left in terms of the new one: then the former
#: is empty before the new one is half full.
_MOVED_PER_PART, _LEAST_MOVED = 10, 2
#: Among how many insertions tables are not changed.
_INSERTED_AT_ONCE = 64
#: How many steps of the next table get memory with one insertion: about a third of a millisecond.
_BACKED_AT_ONCE = 32
#: Of how many places dead entries are taken out for each inserted one, and at once where the table is full.
_SWEPT_PER_ENTRY, _SWEPT_WHEN_FULL = 8, 1024
#: How many entries are looked at to learn what part of them is living.
_SAMPLE = 128
#: No search passes so many places of a table that is at most seven eighths full.
_MOST_PASSED = 1 << 17
_SMALLEST_LOG = EQUAL_STEP.bit_length() - 1


class UniqueIndex:
    """The tables. All methods want the guard held. `lasts` tells of an entry's record and number whether what it names
    may still be there.
    """

    def __init__(self, segment: Segment, extents: Extents, lasts: Callable[[int, int], bool]) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = layout = segment.layout
        self._extents = extents
        self._lasts = lasts
        self._tables = [layout.equality_table(side) // WORD for side in (0, 1)]
        self._maps = [layout.equality_map + side * layout.equality_steps for side in (0, 1)]
        # Read here: a thread that wants digests may find the segment closed by another one.
        self._salt = bytes(segment.bytes[at.EQUALITY_KEY * WORD : (at.EQUALITY_KEY + 2) * WORD])
        self._most_log = (segment.layout.equality_steps * EQUAL_STEP).bit_length() - 1

    def digests(self, pipe: str, messages: Sequence[bytes]) -> Sequence[int]:
        """The digest of each message of the pipe, which stands for it in the tables. Wants no guard."""
        start, digests = blake2b(f"{pipe}\0".encode(), digest_size=WORD, salt=self._salt), []
        for message in messages:
            state = start.copy()
            state.update(untraced(message))
            digests.append(state.digest())
        numbers = unpack(f"<{len(digests)}Q", b"".join(digests))
        return numbers if 0 not in numbers else [number or 1 for number in numbers]  # 0 is that of a free place

    def find(self, digest: int) -> list[tuple[int, int]]:
        """Record and number of the entries with this digest, living or not."""
        state, found = self._state, list[tuple[int, int]]()
        if state:
            self._find_in(state & 1, state >> 1 & 127, digest, found)
            if state >> 8 & 255:
                self._find_in(1 - (state & 1), state >> 8 & 255, digest, found)
        return found

    def list_all(self, digest: int) -> None:
        """All pending messages of the digest have entries, or there are none."""
        state = self._state
        for side, log in ((state & 1, state >> 1 & 127), (1 - (state & 1), state >> 8 & 255)):
            if log:
                self._list_all_in(side, log, digest)

    def are_unknown(self, digests: Sequence[int]) -> list[bool]:
        """For each digest whether there is certainly no entry: a quick look that answers for most of what is new."""
        words, data, state = self._words, self._bytes, self._state
        if not state:
            return [True] * len(digests)
        table, steps, mask = self._tables[state & 1], self._maps[state & 1], (1 << (state >> 1 & 127)) - 1
        unknown = [
            not data[steps + (digest & mask) // EQUAL_STEP] or not words[table + (digest & mask) * EQUAL_WORDS]
            for digest in digests
        ]
        if not state >> 8 & 255:
            return unknown
        side, mask = 1 - (state & 1), (1 << (state >> 8 & 255)) - 1
        table, steps = self._tables[side], self._maps[side]
        return [
            is_unknown
            and (not data[steps + (digest & mask) // EQUAL_STEP] or not words[table + (digest & mask) * EQUAL_WORDS])
            for digest, is_unknown in zip(digests, unknown, strict=True)
        ]

    def insert(self, digests: Sequence[int], record: int, first: int, *, share: int) -> bool:
        """Add entries for messages of a record, whose numbers are `first` and those that follow. False: there is no
        room; some may be added.
        """
        for start in range(0, len(digests), _INSERTED_AT_ONCE):
            some = digests[start : start + _INSERTED_AT_ONCE]
            if not (self._make_place(len(some), share) and self._insert_some(some, record, first + start, share)):
                return False
        return True

    def _insert_some(self, digests: Sequence[int], record: int, first: int, share: int) -> bool:
        """The inner loop of adding: most find their place free, and what that costs is felt by each."""
        words, state = self._words, self._words[at.EQUALITY_STATE]
        side, log = state & 1, state >> 1 & 127
        table, steps, mask = self._tables[side], self._maps[side], (1 << log) - 1
        # Counted before: a count that is too low would let the table become full, and a search in it never end.
        words[at.EQUALITY_ENTRIES] += len(digests)
        for number, digest in enumerate(digests, first):
            place = digest & mask
            word = table + place * EQUAL_WORDS
            if not self._bytes[steps + place // EQUAL_STEP] or words[word]:
                words[at.EQUALITY_ENTRIES] -= 1
                if not self._insert_in(side, log, digest, record, number, share):
                    words[at.EQUALITY_ENTRIES] -= first + len(digests) - 1 - number
                    return False
                continue
            words[word + at.EQUAL_NUMBER] = number
            words[word + at.EQUAL_RECORD] = record
            words[word] = digest
        return True

    def forget(self) -> None:
        """Give back all memory. For when no message is left that could be equal to another."""
        steps, state = self._layout.equality_steps, self._words[at.EQUALITY_STATE]
        if not state:
            return
        for side in (0, 1):
            self._forget_side(side, steps)
        self._words[at.EQUALITY_STATE] = 0
        self._words[at.EQUALITY_ENTRIES] = 0

    @property
    def _state(self) -> int:
        state: int = self._words[at.EQUALITY_STATE]
        if max(state >> 1 & 127, state >> 8 & 255) > self._most_log:
            raise self._damaged()
        return state

    def _damaged(self) -> SegmentForeign:
        return damaged(self._segment.name, "the table of equal messages is no such table")

    def _find_in(self, side: int, log: int, digest: int, found: list[tuple[int, int]]) -> None:
        words, table, steps, mask = self._words, self._tables[side], self._maps[side], (1 << log) - 1
        place = digest & mask
        for _ in range(_MOST_PASSED):
            if not self._bytes[steps + place // EQUAL_STEP]:
                return
            word = table + place * EQUAL_WORDS
            stands = words[word]
            if stands == digest:
                found.append((words[word + at.EQUAL_RECORD], words[word + at.EQUAL_NUMBER]))
            elif not stands:
                return
            place = place + 1 & mask
        raise self._damaged()

    def _insert_in(self, side: int, log: int, digest: int, record: int, number: int, share: int) -> bool:
        words, table, steps, mask = self._words, self._tables[side], self._maps[side], (1 << log) - 1
        place, same, passed, tube = digest & mask, 0, 0, record >> ADDRESS_BITS
        word = table + place * EQUAL_WORDS
        while self._bytes[steps + place // EQUAL_STEP] and (stands := words[word]):
            if stands == digest and words[word + at.EQUAL_RECORD] >> ADDRESS_BITS == tube:
                same += 1
                # Of equal messages in a tube the last one stays longest, so it stands for all.
                if tube or self._is_or_was(word, record, number, checked=same > _MOST_ALIKE):
                    # An entry moved from the former table may be older than the one that was added here since.
                    if not tube or number >= words[word + at.EQUAL_NUMBER]:
                        self._put(word, record, number)
                    return True
            place, passed = place + 1 & mask, passed + 1
            word = table + place * EQUAL_WORDS
            if passed > _MOST_PASSED:
                raise self._damaged()
        if same > _MOST_ALIKE and tube != UNLISTED:
            return self._insert_in(side, log, digest, UNLISTED << ADDRESS_BITS, 1, share)
        if not (self._bytes[steps + place // EQUAL_STEP] or self._back(side, place // EQUAL_STEP, 1, share)):
            return False
        words[at.EQUALITY_ENTRIES] += 1
        self._put(word, record, number)
        # The digest last: until it stands, no search finds the entry.
        words[word] = digest
        return True

    def _list_all_in(self, side: int, log: int, digest: int) -> None:
        words, table, steps, mask = self._words, self._tables[side], self._maps[side], (1 << log) - 1
        place, passed = digest & mask, 0
        while self._bytes[steps + place // EQUAL_STEP] and (stands := words[table + place * EQUAL_WORDS]):
            if (passed := passed + 1) > _MOST_PASSED:
                raise self._damaged()
            word = table + place * EQUAL_WORDS
            if stands == digest and words[word + at.EQUAL_RECORD] >> ADDRESS_BITS == UNLISTED:
                words[word + at.EQUAL_NUMBER] = 0
            place = place + 1 & mask

    def _put(self, word: int, record: int, number: int) -> None:
        if self._words[word + at.EQUAL_RECORD] != record:
            # A death between the stores leaves an entry that names nothing, until the message is put in once more.
            self._words[word + at.EQUAL_NUMBER] = 0
            self._words[word + at.EQUAL_RECORD] = record
        self._words[word + at.EQUAL_NUMBER] = number

    def _is_or_was(self, word: int, record: int, number: int, *, checked: bool) -> bool:
        """Whether the entry there is this one already; with `checked`, also where it names nothing any more."""
        stands = self._words[word + at.EQUAL_RECORD], self._words[word + at.EQUAL_NUMBER]
        return stands == (record, number) or (checked and not self._lasts(*stands))

    def _make_place(self, count: int, share: int) -> bool:
        """See that the current table is at most about half full with so many more entries, and that a former one is
        emptied in time. False: there is no room.
        """
        state, entries = self._state, self._words[at.EQUALITY_ENTRIES]
        if not state:
            self._words[at.EQUALITY_ENTRIES] = 0
            self._words[at.EQUALITY_STATE] = _SMALLEST_LOG << 1
            return True
        places = 1 << (state >> 1 & 127)
        former = state >> 8 & 255
        if former:
            return self._move(4 << former if 4 * entries > 3 * places else self._moved_for(count, state), share)
        if 2 * (entries + count) < places:
            return True
        is_swept = state >> 16 and not state >> 16 & 1
        if not is_swept and self._prepare_next(state, entries, share):
            return True
        is_full = 8 * (entries + count) > 7 * places
        self._sweep(_SWEPT_WHEN_FULL if is_full else _SWEPT_PER_ENTRY * count)
        return 8 * (self._words[at.EQUALITY_ENTRIES] + count) <= 7 * places

    def _prepare_next(self, state: int, entries: int, share: int) -> bool:
        """Give the next table some of its memory, and begin it once it has all. False: there is no room for it."""
        former, side = state >> 1 & 127, 1 - (state & 1)
        log, backed = self._new_log(state & 1, former, entries), state >> 17
        left = (1 << log) // EQUAL_STEP - backed
        if not backed:
            self._forget_side(side, self._layout.equality_steps)
        if left > 0 and not self._back_some(side, backed, left, log, share):
            self._forget_side(side, self._layout.equality_steps)
            self._words[at.EQUALITY_STATE] = state & 0xFFFF
            return False
        if left > _BACKED_AT_ONCE:
            self._words[at.EQUALITY_STATE] = state & 0xFFFF | (backed + _BACKED_AT_ONCE) << 17 | 1 << 16
            return True
        if left < 0:  # fewer entries live than when it got its first memory
            self._forget_steps(side, backed + left, -left)
        self._words[at.EQUALITY_STATE] = side | log << 1 | former << 8
        self._words[at.EQUALITY_ENTRIES] = 0
        return True

    def _back_some(self, side: int, backed: int, left: int, log: int, share: int) -> bool:
        """Give some of the steps that are left memory. False: there is no room for all of them."""
        if log > self._most_log or not self._extents.could_hold(left * EQUAL_STEP_BYTES, share=share):
            return False
        return self._back(side, backed, min(left, _BACKED_AT_ONCE), share)

    def _new_log(self, side: int, log: int, entries: int) -> int:
        """Size of the next table, by a sample of what part of the entries is living."""
        seen = living = place = 0
        while seen < _SAMPLE and place < 1 << log:
            digest, record, number = self._entry(side, place)
            if digest:
                seen += 1
                living += self._lasts(record, number)
            place += 1
        wanted = 3 * entries * living // max(1, seen)
        return max(_SMALLEST_LOG, log - 2, min(log + 2, max(1, wanted - 1).bit_length()))

    def _moved_for(self, count: int, state: int) -> int:
        """How many places of the former table so many insertions empty: about evenly over the time until the current
        one is half full, so that no insertion is much slower than another.
        """
        left = (1 << (state >> 8 & 255)) - (state >> 16)
        return count * max(_LEAST_MOVED, _MOVED_PER_PART * left >> (state >> 1 & 127))

    def _move(self, count: int, share: int) -> bool:
        """Move the living entries of so many places of the former table. False: there is no room for them."""
        words, lasts, state = self._words, self._lasts, self._words[at.EQUALITY_STATE]
        side, log, former, moved = state & 1, state >> 1 & 127, state >> 8 & 255, state >> 16
        table, steps, place, end = self._tables[1 - side], self._maps[1 - side], moved, min(moved + count, 1 << former)
        into, into_steps, mask = self._tables[side], self._maps[side], (1 << log) - 1
        while place < end:
            if not self._bytes[steps + place // EQUAL_STEP]:
                place = (place // EQUAL_STEP + 1) * EQUAL_STEP
                continue
            word = table + place * EQUAL_WORDS
            digest = words[word]
            if digest:
                record, number = words[word + at.EQUAL_RECORD], words[word + at.EQUAL_NUMBER]
                target = digest & mask
                there = into + target * EQUAL_WORDS
                if not lasts(record, number):
                    pass
                elif self._bytes[into_steps + target // EQUAL_STEP] and not words[there]:
                    words[at.EQUALITY_ENTRIES] += 1
                    words[there + at.EQUAL_NUMBER] = number
                    words[there + at.EQUAL_RECORD] = record
                    words[there] = digest
                elif not self._insert_in(side, log, digest, record, number, share):
                    words[at.EQUALITY_STATE] = state & 0xFFFF | place << 16
                    return False
            place += 1
        if place < 1 << former:
            words[at.EQUALITY_STATE] = state & 0xFFFF | place << 16
            return True
        words[at.EQUALITY_STATE] = state & 0xFF
        self._forget_side(1 - side, (1 << former) // EQUAL_STEP)
        return True

    def _entry(self, side: int, place: int) -> tuple[int, int, int]:
        if not self._bytes[self._maps[side] + place // EQUAL_STEP]:
            return 0, 0, 0
        word = self._tables[side] + place * EQUAL_WORDS
        return self._words[word], self._words[word + at.EQUAL_RECORD], self._words[word + at.EQUAL_NUMBER]

    def _sweep(self, count: int) -> None:
        """Take the dead entries of so many places out of the current table, which is the only one."""
        state = self._words[at.EQUALITY_STATE]
        side, log, place = state & 1, state >> 1 & 127, state >> 17
        end = min(place + count, 1 << log)
        while place < end:
            digest, record, number = self._entry(side, place)
            if digest and not self._lasts(record, number):
                self._take_out(side, (1 << log) - 1, place)
            else:
                place += 1
        self._words[at.EQUALITY_STATE] = state & 0xFFFF | (place << 17 if place < 1 << log else 0)

    def _take_out(self, side: int, mask: int, hole: int) -> None:
        """Empty a place. Entries behind it that a search would miss then come nearer; a death leaves one twice."""
        words, table, place = self._words, self._tables[side], hole
        for _ in range(_MOST_PASSED):
            place = place + 1 & mask
            digest, record, number = self._entry(side, place)
            if not digest:
                words[table + hole * EQUAL_WORDS] = 0
                # Afterwards: the count may be too high, not too low.
                words[at.EQUALITY_ENTRIES] -= 1
                return
            if place - digest & mask >= place - hole & mask:
                word = table + hole * EQUAL_WORDS
                words[word + at.EQUAL_NUMBER] = 0
                words[word + at.EQUAL_RECORD] = record
                words[word] = digest
                words[word + at.EQUAL_NUMBER] = number
                hole = place
        raise self._damaged()

    def _back(self, side: int, step: int, count: int, share: int) -> bool:
        """Give so many steps memory, and empty them: a process that died may have left them full."""
        start, nbytes = self._layout.equality_table(side) + step * EQUAL_STEP_BYTES, count * EQUAL_STEP_BYTES
        if not self._extents.secure(start, nbytes, share=share):
            return False
        self._bytes[start : start + nbytes] = bytes(nbytes)
        first = self._maps[side] + step
        self._bytes[first : first + count] = b"\1" * count
        return True

    def _forget_side(self, side: int, steps: int) -> None:
        first = self._maps[side]
        if self._bytes.find(b"\1", first, first + steps) >= 0:
            self._forget_steps(side, 0, steps)

    def _forget_steps(self, side: int, step: int, count: int) -> None:
        # The map first: memory that is not counted is harmless, counting on memory that is gone is not.
        first = self._maps[side] + step
        self._bytes[first : first + count] = bytes(count)
        start = self._layout.equality_table(side) + step * EQUAL_STEP_BYTES
        self._segment.give_back(start, count * EQUAL_STEP_BYTES)
