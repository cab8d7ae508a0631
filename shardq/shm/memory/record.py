"""How messages lie in memory: one record for the messages of one append.

     0        2        4                 8                                16
    +--------+--------+-----------------+---------------------------------+
    | format | flags  | count           | payload bytes                   |
    +--------+--------+-----------------+---------------------------------+
    | sequence of the first message     | accepted, Unix microseconds     |
    +-----------------------------------+---------------------------------+
    | trace bytes     | reserved        | next record (format JUMP only)  |
    +-----------------+-----------------+---------------------------------+
    | cancelled: one bit per message, in whole words                      |
    | ends: where each message ends in the payload, 4 bytes each          |
    | trace                                                               |
    | payload: the messages, back to back                                 |
    +---------------------------------------------------------------------+ padded to 8 bytes

A record never crosses an extent. Behind the last record of an extent that was left stands a JUMP, a bare header that
names the address where the tube goes on; each extent keeps room for it. Records are written before the store that
makes them reachable and are then constant, but for the bits of cancelled messages.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from struct import Struct
from typing import Protocol

from shardq.model import EMPTY, Batch
from shardq.shm.damage import damaged
from shardq.shm.segment import Segment

_HEADER = Struct("<HHIQQQIIQ")
HEADER_BYTES = _HEADER.size
MESSAGES, JUMP = 1, 2
#: The largest payload that ends of 4 bytes can count.
LARGEST_PAYLOAD = (1 << 32) - 1

_Memory = mmap.mmap | bytes


class Source(Protocol):
    """Where records are read from: a segment, or a copy of some of its memory."""

    @property
    def name(self) -> str:
        """Of the segment."""
        ...

    @property
    def bytes(self) -> _Memory: ...


@dataclass(slots=True)
class Record:
    """A record's header and where it stands."""

    address: int
    format: int
    flags: int
    count: int
    payload_bytes: int
    sequence: int
    accepted_us: int
    trace_bytes: int
    reserved: int
    next_record: int

    @property
    def next_sequence(self) -> int:
        return self.sequence + self.count

    @property
    def cancelled(self) -> int:
        """Byte address of the cancelled bits."""
        return self.address + HEADER_BYTES

    @property
    def ends(self) -> int:
        """Byte address of the ends."""
        return self.cancelled + _bit_bytes(self.count)

    @property
    def payload(self) -> int:
        """Byte address of the payload."""
        return self.ends + 4 * self.count + self.trace_bytes

    @property
    def end(self) -> int:
        """Byte address behind the record."""
        return self.address + size_of(self.count, self.payload_bytes, self.trace_bytes)


#: Some messages of a record: which one comes first, and how many they are.
Slice = tuple[Record, int, int]


def size_of(count: int, payload_bytes: int, trace_bytes: int = 0) -> int:
    """Bytes of a record, padding included."""
    return (HEADER_BYTES + _bit_bytes(count) + 4 * count + trace_bytes + payload_bytes + 7) & ~7


def read(segment: Source, address: int) -> Record:
    """The header at an address."""
    return Record(address, *_HEADER.unpack_from(segment.bytes, address))


def parsed(address: int, data: bytes) -> Record:
    """The header of the record at an address that was copied from there."""
    return Record(address, *_HEADER.unpack_from(data))


def glanced(data: bytes, start: int) -> tuple[int, tuple[int, int, int]]:
    """Of the record that begins at `start` of a copy: its bytes, and the number of its first message, the one behind
    its last message, and when they were accepted. All are 0 where there is no record with messages.
    """
    kind, _, count, nbytes, sequence, accepted_us, trace_bytes, *_ = _HEADER.unpack_from(data, start)
    if kind != MESSAGES:
        return 0, (0, 0, 0)
    return size_of(count, nbytes, trace_bytes), (sequence, sequence + count, accepted_us)


def behind(segment: Segment, address: int) -> tuple[int, int]:
    """The address and the sequence number that follow the record that ends a tube."""
    kind, _, count, nbytes, sequence, _, trace_bytes, *_ = _HEADER.unpack_from(segment.bytes, address)
    if kind != MESSAGES or not count:
        raise damaged(segment.name, f"a tube ends at {address}, where there is no record")
    return address + size_of(count, nbytes, trace_bytes), sequence + count


def next_behind(segment: Segment, address: int) -> int:
    """The sequence number that follows the record that ends a tube. The function that is called most often."""
    kind, _, count, _, sequence, *_ = _HEADER.unpack_from(segment.bytes, address)
    if kind != MESSAGES:
        raise damaged(segment.name, f"a tube ends at {address}, where there is no record")
    following: int = sequence + count
    return following


class Body(list[bytes]):
    """Messages with what stands behind the header of their record. To put that together takes half of the time of a
    write, so a producer does it before it enters the guard.
    """

    __slots__ = ("content", "payload_bytes")

    def __init__(self, messages: Sequence[bytes]) -> None:
        super().__init__(messages)
        count, payload = len(messages), b"".join(messages)
        ends = array("I", accumulate(map(len, messages))) if count > 1 else len(payload).to_bytes(4, "little")
        self.content = b"".join((bytes(_bit_bytes(count)), ends, payload))
        self.payload_bytes = len(payload)


def write(segment: Segment, address: int, sequence: int, accepted_us: int, messages: Sequence[bytes]) -> int:
    """Write a record that cannot be reached yet. Returns the address behind it."""
    body = messages if type(messages) is Body else Body(messages)
    start = address + HEADER_BYTES
    end = start + len(body.content)
    segment.bytes[address:start] = _HEADER.pack(
        MESSAGES, 0, len(body), body.payload_bytes, sequence, accepted_us, 0, 0, 0
    )
    segment.bytes[start:end] = body.content
    return end + 7 & ~7


def renew(segment: Segment, address: int, sequence: int, accepted_us: int) -> None:
    """Give a record that is in no tube yet another number and time."""
    found = read(segment, address)
    segment.bytes[address : address + HEADER_BYTES] = _HEADER.pack(
        found.format, found.flags, found.count, found.payload_bytes, sequence, accepted_us, 0, 0, 0
    )


def cancelled_bits(segment: Source, found: Record) -> int:
    """One bit for each cancelled message."""
    return int.from_bytes(segment.bytes[found.cancelled : found.ends], "little")


def cancelled_with(segment: Segment, found: Record, index: int) -> tuple[int, int]:
    """The word that cancels the message at `index`, and the value it must get."""
    word = (found.cancelled >> 3) + (index >> 6)
    return word, segment.words[word] | 1 << (index & 63)


def any_cancelled(segment: Segment, address: int) -> bool:
    """Whether any message of the record there is cancelled."""
    return cancelled_bits(segment, read(segment, address)) != 0


def write_jump(segment: Segment, address: int, target: int) -> None:
    """Write a jump that cannot be reached yet."""
    segment.bytes[address : address + HEADER_BYTES] = _HEADER.pack(JUMP, 0, 0, 0, 0, 0, 0, 0, target)


def cut(segment: Source, found: Record, index: int, limit: int) -> Batch:
    """Messages of a record from `index` on, at most `limit`."""
    return read_out(segment, unread([(found, index, min(limit, found.count - index))]))


def unread(slices: Sequence[Slice]) -> Batch:
    """A batch of these messages, one at least, which `read_out` will read."""
    (first, index, count), (last, start, number) = slices[0], slices[-1]
    sequence, through, numbers = first.sequence + index, last.sequence + start + number, None
    if len(slices) > 1:
        count = sum([number for _, _, number in slices])
        if through - sequence > count:
            numbers = [found.sequence + n for found, start, number in slices for n in range(start, start + number)]
    return Batch(sequence, through, count, (), b"", 0, numbers, unread=slices)


def read_out(segment: Source, batch: Batch) -> Batch:
    """The batch with its messages, if they were unread. The caller is inside the guard, or the messages are handed out
    to it, so that they stay where they are. To copy them takes longer than to find them: others get in meanwhile.
    """
    slices, batch.unread = batch.unread, None
    if slices is None:
        return batch
    if len(slices) == 1:
        batch.ends, batch.payload, batch.base = _contents(segment, *slices[0])
        return batch
    ends: list[int] = []
    payloads: list[bytes] = []
    length = 0
    for found, index, number in slices:
        its, payload, base = _contents(segment, found, index, number)
        shift = length - base
        ends += [end + shift for end in its] if shift else its
        payloads.append(payload)
        length += len(payload)
    batch.ends, batch.payload = ends, b"".join(payloads)
    return batch


def _contents(segment: Source, found: Record, index: int, number: int) -> tuple[array[int], bytes, int]:
    """Ends and bytes of some messages of a record, and what the ends are counted from."""
    data, ends = segment.bytes, found.ends
    first, payload = ends + 4 * index, ends + 4 * found.count + found.trace_bytes
    its = array("I", data[first : first + 4 * number])
    base = int.from_bytes(data[first - 4 : first], "little") if index else 0
    last = its[-1]
    if not base <= last <= found.payload_bytes:
        raise damaged(segment.name, f"the record at {found.address} has messages that end behind it")
    return its, data[payload + base : payload + last], base


def message(segment: Source, found: Record, index: int) -> bytes:
    """One message of a record."""
    data, ends = segment.bytes, found.ends
    first, payload = ends + 4 * index, ends + 4 * found.count + found.trace_bytes
    start = int.from_bytes(data[first - 4 : first], "little") if index else 0
    end = int.from_bytes(data[first : first + 4], "little")
    if not start <= end <= found.payload_bytes:
        raise damaged(segment.name, f"the record at {found.address} has a message that ends behind it")
    return data[payload + start : payload + end]


def is_cancelled(segment: Segment, found: Record, index: int) -> bool:
    """Whether the message at `index` is."""
    return bool(segment.words[(found.cancelled >> 3) + (index >> 6)] >> (index & 63) & 1)


def joined(parts: Sequence[Batch]) -> Batch:
    """Batches as one; they need not follow one another."""
    if len(parts) < 2:
        return parts[0] if parts else EMPTY
    first, last, sequences = parts[0].sequence, parts[-1].through, None
    count = sum(part.count for part in parts)
    if last - first > count:
        sequences = [number for part in parts for number in range(part.sequence, part.through)]
    ends, offset = array("I"), 0
    for part in parts:
        shift = offset - part.base
        ends.extend([end + shift for end in part.ends])
        offset += len(part.payload)
    return Batch(first, last, count, ends, b"".join(part.payload for part in parts), sequences=sequences)


def _bit_bytes(count: int) -> int:
    return (count + 63 >> 6) * 8
