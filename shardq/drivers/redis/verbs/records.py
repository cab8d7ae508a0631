"""Messages as the server keeps them: `lua/shared/records.lua` says how."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, chain
from struct import Struct

from shardq.model import EMPTY, Batch

_RECORD = Struct("<QII")
_WIDE = 1 << 31
_SHORTEST_WIDE = 1 << 16
#: A record is read as a whole: so many messages, and about so many bytes, are in one at most.
_RECORD_MESSAGES, _RECORD_BYTES = 128, 64 * 1024


def bodies_of(messages: Sequence[bytes]) -> list[bytes]:
    """The messages in their order, in one body where they are few."""
    sizes = list(map(len, messages))
    if len(sizes) <= _RECORD_MESSAGES and (total := sum(sizes)) <= _RECORD_BYTES:
        return [_body(messages, sizes, total)]
    bodies, start, nbytes = list[bytes](), 0, 0
    for place, size in enumerate(sizes):
        if place > start and (place - start == _RECORD_MESSAGES or nbytes + size > _RECORD_BYTES):
            bodies.append(_body(messages[start:place], sizes[start:place], nbytes))
            start, nbytes = place, 0
        nbytes += size
    return [*bodies, _body(messages[start:], sizes[start:], nbytes)]


def count_of(body: bytes) -> int:
    """How many messages a body has."""
    return int.from_bytes(body[:4], "little") & ~_WIDE


def messages_of(body: bytes) -> list[bytes]:
    """The messages of a body."""
    return batch_of([bytes(8) + body]).messages


def batch_of(records: Sequence[bytes], **facts: object) -> Batch:
    """The messages of records, one behind the other."""
    if not records:
        return EMPTY
    if len(records) == 1:
        first, sizes, payload = _read(records[0])
        return Batch(first, first + len(sizes), len(sizes), list(accumulate(sizes)), payload, **facts)  # type: ignore[arg-type]
    lengths, payloads, spans = list[int](), list[bytes](), list[range]()
    begin = through = _RECORD.unpack_from(records[0])[0]
    gaps = False
    for record in records:
        first, sizes, payload = _read(record)
        gaps = gaps or first != through
        through = first + len(sizes)
        spans.append(range(first, through))
        lengths += sizes
        payloads.append(payload)
    return Batch(
        begin,
        through,
        len(lengths),
        list(accumulate(lengths)),
        b"".join(payloads),
        sequences=list(chain.from_iterable(spans)) if gaps else None,
        **facts,  # type: ignore[arg-type]
    )


def _body(messages: Sequence[bytes], sizes: Sequence[int], nbytes: int) -> bytes:
    count = len(sizes)
    if nbytes >= _SHORTEST_WIDE and max(sizes) >= _SHORTEST_WIDE:
        head = _head("I", count).pack(count | _WIDE, nbytes, *sizes)
    else:
        head = _head("H", count).pack(count, nbytes, *sizes)
    return b"".join((head, *messages))


def _read(record: bytes) -> tuple[int, Sequence[int], bytes]:
    """The number of the first message, the sizes of the messages, and the messages back to back."""
    first, packed, nbytes = _RECORD.unpack_from(record)
    lengths = _lengths("I", packed - _WIDE) if packed >= _WIDE else _lengths("H", packed)
    payload = _RECORD.size + lengths.size
    return first, lengths.unpack_from(record, _RECORD.size), record[payload : payload + nbytes]


@lru_cache(2 * _RECORD_MESSAGES)
def _head(kind: str, count: int) -> Struct:
    """What stands in a body before so many messages."""
    return Struct(f"<II{count}{kind}")


@lru_cache(2 * _RECORD_MESSAGES)
def _lengths(kind: str, count: int) -> Struct:
    """The lengths of so many messages."""
    return Struct(f"<{count}{kind}")
