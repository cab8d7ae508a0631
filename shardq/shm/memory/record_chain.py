"""How a tube's records hang together: from one to the next, over the extents that they are in.

Which extents a tube uses follows from its head, its tail and the links between; nothing else says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardq.errors import SegmentForeign
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.memory.record import JUMP, MESSAGES, Record
from shardq.shm.segment import Segment

#: After every so many extents it is checked whether one came twice.
_LOOK_BACK = 4096


class RecordChains:
    """The chains of all tubes. All methods want the guard held."""

    def __init__(self, segment: Segment, extents: Extents) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._extents = extents
        self._next_extent = segment.layout.extent_next_word

    def records(self, tube: int, start: int = 0) -> Iterator[Record]:
        """Records from the one that holds the head, or from the one at `start` behind it, to the last."""
        word = self._layout.tube_word(tube)
        tail, head = self._words[word + at.TUBE_TAIL], self._words[word + at.TUBE_HEAD_SEQUENCE]
        address = start or self._words[word + at.TUBE_HEAD_RECORD]
        begin = end = 0
        expected, jumped = -1, False
        while tail:
            if not begin <= address < end:
                begin, end = self._extents.memory_around(address)
            found = record.read(self._segment, address)
            if found.format == JUMP and not jumped:
                address, jumped = found.next_record, True
                continue
            # Numbers that only grow lead round no circle. What a record says of its size is added up by hand here:
            # this is done for each batch, twice.
            least = address + 4 * found.count + found.trace_bytes + found.payload_bytes
            if found.format != MESSAGES or least >= end or found.sequence != expected >= 0 or not found.count:
                raise self._damaged(f"there is no record of the tube at {address}")
            expected, jumped = found.next_sequence, False
            if expected > head:
                yield found
            if address == tail:
                return
            address = found.end

    def at(self, address: int) -> Record:
        """The record at an address, wherever that comes from."""
        found, (_, end) = record.read(self._segment, address), self._extents.memory_around(address)
        if found.format != MESSAGES or found.end > end or not found.count:
            raise self._damaged(f"there is no record at {address}")
        return found

    def extents_of(self, tube: int) -> list[int]:
        """The extents the tube uses, from head to tail."""
        word = self._layout.tube_word(tube)
        tail = self._words[word + at.TUBE_TAIL]
        if not tail:
            return []
        return self.extents_between(self._words[word + at.TUBE_HEAD_RECORD], tail)

    def extents_between(self, first: int, last: int) -> list[int]:
        """Extents of the chain from the one around address `first` to the one around `last`."""
        passed, end = [self._extents.locate(first)[1]], self._extents.locate(last)[1]
        while passed[-1] != end:
            passed.append(self._words[self._next_extent + passed[-1]] - 1)
            circular = not len(passed) % _LOOK_BACK and len(set(passed)) < len(passed)
            if not 0 <= passed[-1] < self._layout.extents or circular:
                raise self._damaged(f"the extents of a tube do not lead from {first} to {last}")
        return passed

    def spanned_bytes(self, tube: int) -> int:
        """Bytes from the record that holds the head to the end of the last one, with links and the space they skip."""
        word = self._layout.tube_word(tube)
        tail = self._words[word + at.TUBE_TAIL]
        if not tail:
            return 0
        head, end = self._words[word + at.TUBE_HEAD_RECORD], record.read(self._segment, tail).end
        *passed, _ = chain = self.extents_of(tube)
        sizes = sum(self._extents.size_of(extent) for extent in passed)
        return sizes + end - self._extents.start_of(chain[-1]) - (head - self._extents.start_of(chain[0]))

    def link(self, place: int, target: int) -> None:
        """Have the record at `target` come next behind what ends at `place`."""
        here, there = self._extents.locate(place)[1], self._extents.locate(target)[1]
        record.write_jump(self._segment, place, target)
        self._words[self._next_extent + here] = there + 1

    def release(self, extents: Sequence[int]) -> None:
        """Give back extents that no tube uses any more."""
        for extent in extents:
            self._extents.release(extent)

    def sweep(self, tube: int) -> None:
        """Release extents that a killed append or acknowledgement left outside the chain."""
        used = set(self.extents_of(tube))
        for extent in self._extents.owned_by(tube):
            if extent not in used:
                self._extents.discard(extent)

    def _damaged(self, what: str) -> SegmentForeign:
        """For contents that no death can leave behind: another program wrote into the segment."""
        return damaged(self._segment.name, what)
