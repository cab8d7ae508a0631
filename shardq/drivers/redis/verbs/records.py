"""Messages as the server keeps them: `lua/shared/records.lua` says how."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate
from struct import Struct

from shardq.model import EMPTY, Batch

_BODY, _RECORD = Struct("<II"), Struct("<QII")
_WIDE = 1 << 31
_SHORTEST_WIDE = 1 << 16
#: A record is read as a whole: so many messages, and about so many bytes, are in one at most.
_RECORD_MESSAGES, _RECORD_BYTES = 128, 64 * 1024


def bodies_of(messages: Sequence[bytes]) -> list[bytes]:
    """The messages in their order, in one body where they are few."""
    sizes = list(map(len, messages))
    if len(sizes) <= _RECORD_MESSAGES and sum(sizes) <= _RECORD_BYTES:
        return [_body(messages, sizes)]
    bodies, start, nbytes = list[bytes](), 0, 0
    for place, size in enumerate(sizes):
        if place > start and (place - start == _RECORD_MESSAGES or nbytes + size > _RECORD_BYTES):
            bodies.append(_body(messages[start:place], sizes[start:place]))
            start, nbytes = place, 0
        nbytes += size
    return [*bodies, _body(messages[start:], sizes[start:])]


def messages_of(body: bytes) -> list[bytes]:
    """The messages of a body."""
    return batch_of([bytes(8) + body]).messages


def batch_of(records: Sequence[bytes], **facts: object) -> Batch:
    """The messages of records, one behind the other."""
    if not records:
        return EMPTY
    if len(records) == 1:
        first, sizes, payload = _read(records[0])
        return Batch(first, first + len(sizes), list(accumulate(sizes)), payload, **facts)  # type: ignore[arg-type]
    lengths, payloads, numbers, gaps = list[int](), list[bytes](), list[int](), False
    for record in records:
        first, sizes, payload = _read(record)
        gaps = gaps or (bool(numbers) and first != numbers[-1] + 1)
        numbers += range(first, first + len(sizes))
        lengths += sizes
        payloads.append(payload)
    return Batch(
        numbers[0],
        numbers[-1] + 1,
        list(accumulate(lengths)),
        b"".join(payloads),
        sequences=numbers if gaps else None,
        **facts,  # type: ignore[arg-type]
    )


def _body(messages: Sequence[bytes], sizes: Sequence[int]) -> bytes:
    wide = max(sizes, default=0) >= _SHORTEST_WIDE
    lengths = _little_endian(array("I" if wide else "H", sizes))
    head = _BODY.pack(len(sizes) | (_WIDE if wide else 0), sum(sizes))
    return b"".join((head, lengths.tobytes(), *messages))


def _read(record: bytes) -> tuple[int, Sequence[int], bytes]:
    """The number of the first message, the sizes of the messages, and the messages back to back."""
    first, packed, nbytes = _RECORD.unpack_from(record)
    count, kind, width = (packed - _WIDE, "I", 4) if packed >= _WIDE else (packed, "H", 2)
    payload = _RECORD.size + width * count
    sizes = _little_endian(array(kind, record[_RECORD.size : payload]))
    return first, sizes, record[payload : payload + nbytes]


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
