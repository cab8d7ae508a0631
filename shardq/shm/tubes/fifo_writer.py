"""Writing behind the last message of a FIFO. The store of TUBE_TAIL, the address of the last record, makes all records
written before it part of the tube.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardq.errors import MessageTooLarge
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.journal import Journal
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.memory.record import HEADER_BYTES
from shardq.shm.segment import Segment
from shardq.shm.tubes.fifo import Fifos
from shardq.text.wording import counted

#: Larger appends are split into records of about this size, so that large extents serve single large messages only.
_PIECE_BYTES = 512 << 10
#: Messages of a sixteenth of the capacity surely fit an empty segment of 1 MiB or more, beside its tables and the room
#: for letters.
_ROOMY_BYTES, _SMALL_PART = 1 << 20, 16


class FifoWriter:
    """Writes to tube entries. The caller is inside the guard, and has declared an intent for the tube's thread."""

    def __init__(self, segment: Segment, journal: Journal, extents: Extents, fifos: Fifos) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._journal = journal
        self._extents = extents
        self._fifos = fifos
        self._chains = fifos.chains
        capacity = segment.layout.capacity_bytes
        self.surely_fits = capacity // _SMALL_PART if capacity >= _ROOMY_BYTES else 0
        """Messages of so many bytes fit an empty segment whatever else it has to keep."""

    @property
    def piece_bytes(self) -> int:
        """Bytes of the largest record of several messages."""
        return _PIECE_BYTES

    def append(
        self, parts: Sequence[tuple[int, Sequence[bytes]]], accepted_us: int, *, share: int = at.GENERAL
    ) -> bool:
        """Add messages to tubes: all of them, or none. No tube may be in two parts. Returns False where there is no
        room now. Raises `MessageTooLarge` where there never will be.
        """
        stores = self.write_keeping_room(parts, accepted_us, share=share)
        if stores:
            count = 0
            for _, messages in parts:
                count += len(messages)
            self._journal.commit(*stores, self._journal.moved(at.ACCEPTED, count))
        return bool(stores)

    def write_keeping_room(
        self, parts: Sequence[tuple[int, Sequence[bytes]]], accepted_us: int, *, share: int
    ) -> list[tuple[int, int]]:
        """As `write`, for messages that are new in the segment. It keeps room for the dead letter that each of them may
        become. Returns the stores that make the messages part of their tubes. It returns none where there is no room.
        Raises `MessageTooLarge`.
        """
        messages = parts[0][1] if len(parts) == 1 else [message for _, its in parts for message in its]
        nbytes = _size(messages)
        if nbytes > _PIECE_BYTES:
            self.check_size(messages)
        former = self._extents.keep_room(messages, share)
        stores: list[tuple[int, int]] = []
        try:
            if former is not None:
                stores = self.write_all(parts, accepted_us, share)
        finally:
            if not stores:
                self._extents.found_no_room(messages, nbytes, former, share)
        return stores

    def write(
        self,
        tube: int,
        messages: Sequence[bytes],
        accepted_us: int,
        *,
        share: int,
        growth: int | None = None,
    ) -> int:
        """Write the messages behind those of the tube. They are no part of the tube yet. Returns the value that makes
        them part of it when it is stored in TUBE_TAIL, or 0 where there is no room. What the segment has accepted may
        be larger than what it would accept now, as its tables grow. `growth`: the largest class of extents that the
        tube may take, if smaller ones would do.
        """
        word = self._layout.tube_word(tube)
        tail = self._words[word + at.TUBE_TAIL]
        place, sequence = 0, self._words[word + at.TUBE_NEXT_SEQUENCE]
        whole = _size(messages)
        if tail:
            place, sequence = record.behind(self._segment, tail)
            if whole <= _PIECE_BYTES and self._has_memory(tube, place, whole):
                record.write(self._segment, place, sequence, accepted_us, messages)
                return place  # the frequent case, which takes three quarters of the time of what follows
        growth = at.LARGEST_GROWTH_CLASS if growth is None else growth
        taken: list[int] = []
        first = 0
        for piece, nbytes in ((messages, whole),) if whole <= _PIECE_BYTES else self._pieces(messages):
            target = self._room(tube, place, nbytes, taken, share, growth)
            if not target:
                self._chains.release(taken)
                return 0
            if place and target != place:
                self._chains.link(place, target)
            place, first, tail = (
                record.write(self._segment, target, sequence, accepted_us, piece),
                first or target,
                target,
            )
            sequence += len(piece)
        if not self._words[word + at.TUBE_TAIL]:
            self._words[word + at.TUBE_HEAD_RECORD] = first
        return tail

    def write_all(
        self, parts: Sequence[tuple[int, Sequence[bytes]]], accepted_us: int, share: int
    ) -> list[tuple[int, int]]:
        """As `write`, for several tubes: the stores that make the messages part of them, none without room for all."""
        stores: list[tuple[int, int]] = []
        for tube, messages in parts:
            tail = self.write(tube, messages, accepted_us, share=share)
            if not tail:
                for other, _ in parts[: len(stores)]:
                    self._chains.sweep(other)
                return []
            stores.append((self._layout.tube_word(tube) + at.TUBE_TAIL, tail))
        return stores

    def adopt(self, tube: int, address: int, accepted_us: int) -> int:
        """Link a record, which stands in extents of its own, behind those of the tube. It is no part of the tube yet.
        Returns the value that makes it part of the tube when it is stored in TUBE_TAIL.
        """
        word = self._layout.tube_word(tube)
        tail = self._words[word + at.TUBE_TAIL]
        record.renew(self._segment, address, self._fifos.next_sequence(tube), accepted_us)
        if record.any_cancelled(self._segment, address):
            self._words[word + at.TUBE_CANCELLED] = 1
        if tail:
            self._chains.link(record.read(self._segment, tail).end, address)
        else:
            self._words[word + at.TUBE_HEAD_RECORD] = address
        return address

    def check_size(self, messages: Sequence[bytes]) -> None:
        """Raise `MessageTooLarge` for messages that not even an empty segment takes at once. The caller need not be
        inside the guard.
        """
        nbytes = _size(messages)
        if nbytes > self.surely_fits and nbytes > self._extents.largest_bytes(self._extents.kept_for(messages, nbytes)):
            raise MessageTooLarge(
                f"{counted(len(messages), 'message')} of {sum(map(len, messages))} bytes can never fit segment "
                f"{self._segment.name!r}, whose capacity is {self._layout.capacity_bytes}: "
                f"register fewer at a time, or give it more capacity"
            )

    def fits_in_place_of(self, tubes: Sequence[int], messages: Sequence[bytes]) -> bool:
        """Whether there is room for the messages once these tubes were empty."""
        stored = sum(self._extents.backed_bytes(extent) for tube in tubes for extent in self._chains.extents_of(tube))
        return self._extents.could_hold(_size(messages) + HEADER_BYTES, stored)

    def _pieces(self, messages: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], int]]:
        """The messages in runs of about `_PIECE_BYTES`, with the bytes of their records. A larger message is
        a run by itself.
        """
        start, filled = 0, 0
        for n, message in enumerate(messages):
            if n > start and filled + len(message) > _PIECE_BYTES:
                yield messages[start:n], _size(messages[start:n])
                start, filled = n, 0
            filled += len(message) + 5
        last = messages[start:] if start else messages
        yield last, _size(last)

    def _has_memory(self, tube: int, place: int, nbytes: int) -> bool:
        """Whether there is memory already for a record of `nbytes` at `place`, and a jump behind it."""
        extent_class, extent, start = self._extents.locate(place)
        end, backed = place + nbytes + HEADER_BYTES, self._extents.backed_bytes(extent)
        return end <= start + backed <= start + extent_class.size and self._extents.owner_of(extent) == tube

    def _room(self, tube: int, place: int, nbytes: int, taken: list[int], share: int, largest: int) -> int:
        """Address for a record of `nbytes` with memory behind it, at `place` or in another extent. 0: no room."""
        needed, growth = nbytes + HEADER_BYTES, 0  # the header of a later jump always fits behind the record
        if place:
            extent_class, extent, start = self._extents.locate(place)
            if self._extents.owner_of(extent) != tube:
                raise damaged(self._segment.name, f"tube {tube} ends at {place}, which is not its own")
            if place + needed <= start + extent_class.size:
                backed = self._extents.back(extent_class, extent, start, place + needed - start, share=share)
                return place if backed else 0
            growth = min(extent_class.number + 1, largest)
        address = self._extents.take(tube, needed, growth, share=share)
        if address:
            taken.append(self._extents.locate(address)[1])
        return address


def _size(messages: Sequence[bytes]) -> int:
    if type(messages) is record.Body:
        return HEADER_BYTES + (len(messages.content) + 7 & ~7)
    count = len(messages)
    return record.size_of(count, sum(map(len, messages)) if count != 1 else len(messages[0]))
