"""What stands in front of a message whose caller waits for the result: where the result goes.

A head is 18 bytes: 0xC1, which no MessagePack begins with, so that decoding a batch as it is fails where a message has
a head, and costs nothing where none has; 0x50, or 0x51 for a request that is handled also where its caller is gone; the
number of the inbox; the number of the request there. With 0x52 the result is kept for a ticket, and these 16 bytes are
its digest. Where the request was sent in a trace, its context stands before the head (`shardq.model.trace`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from struct import Struct
from typing import NamedTuple

from shardq.model import Batch
from shardq.model.trace import TRACE_KINDS, split_trace, untraced

HEAD_BYTES = 18
_MARK, _NEEDS_CALLER, _STAYS, _HAS_TICKET = b"\xc1", 0x50, 0x51, 0x52
_FLAGS = frozenset((_NEEDS_CALLER, _STAYS, _HAS_TICKET))
#: What a message with a head begins with.
_BEGINNINGS = tuple(_MARK + bytes((flag,)) for flag in sorted(_FLAGS))
#: And with a head or a trace context.
FRONTS = (*_BEGINNINGS, *TRACE_KINDS)
_packed = Struct("<10sQ").pack


class Head(NamedTuple):
    """Where the result of a request goes."""

    inbox: int
    number: int
    """Of the request, in its inbox."""
    abandon: bool
    """Whether the request is of no use without its caller."""
    digest: bytes = b""
    """Of the ticket that the result is kept for: then there is no such inbox. Empty: there is no ticket."""


class Heads(NamedTuple):
    """Where the results of a batch go. Numbers of the requests that have callers, in their order."""

    places: Sequence[int]
    """Their places in the batch."""
    inboxes: Sequence[int]
    numbers: Sequence[int]
    flags: Sequence[int]

    @property
    def callers(self) -> frozenset[int]:
        """The inboxes whose requests are of no use without them."""
        if _STAYS in self.flags or _HAS_TICKET in self.flags:
            pairs = zip(self.inboxes, self.flags, strict=True)
            return frozenset(inbox for inbox, flags in pairs if flags == _NEEDS_CALLER)
        return frozenset(self.inboxes)

    @property
    def digests(self) -> Mapping[int, bytes]:
        """Those of the tickets, by the places of their requests among these."""
        if _HAS_TICKET not in self.flags:
            return {}
        each = zip(self.flags, self.inboxes, self.numbers, strict=True)
        return {n: _DIGEST.pack(*its) for n, (flags, *its) in enumerate(each) if flags == _HAS_TICKET}

    def needs(self, gone: frozenset[int]) -> list[int]:
        """Places of the requests that are of no use without these inboxes."""
        each = zip(self.places, self.inboxes, self.flags, strict=True)
        return [place for place, inbox, flags in each if inbox in gone and flags == _NEEDS_CALLER]

    def first(self, count: int) -> Heads:
        """Those of the first requests of the batch."""
        most = sum(place < count for place in self.places)
        return Heads(*(its[:most] for its in self))


NO_HEADS = Heads((), (), (), ())
_DIGEST = Struct("<QQ")


def sealed(messages: Sequence[bytes], inbox: int, first: int, *, abandon: bool) -> list[bytes]:
    """The messages with heads, numbered from `first` on. `abandon`: they are of no use without their caller."""
    begin = _MARK + bytes((_NEEDS_CALLER if abandon else _STAYS,)) + inbox.to_bytes(8, "little")
    return [_packed(begin, number) + message for number, message in enumerate(messages, first)]


def ticketed(messages: Sequence[bytes], digest: bytes) -> list[bytes]:
    """The messages with heads that have their results kept for the ticket of this digest."""
    return [_MARK + bytes((_HAS_TICKET,)) + digest + message for message in messages]


def inbox_of(digest: bytes) -> int:
    """Number of the inbox in which the holder of a ticket is told that the result is there."""
    return int.from_bytes(digest[:8], "little") >> 1


def split(message: bytes) -> tuple[Head | None, bytes]:
    """The head of a message, and the request that comes behind."""
    message = untraced(message)
    if not _has_head(message):
        return None, message
    _, flags, inbox, number = _heads(1).unpack(message[:HEAD_BYTES])
    digest = message[2:HEAD_BYTES] if flags == _HAS_TICKET else b""
    return Head(inbox, number, flags == _NEEDS_CALLER, digest), message[HEAD_BYTES:]


def with_request(message: bytes, request: bytes) -> bytes:
    """The message with another request behind what stands in front."""
    _, former = split(message)
    return message[: len(message) - len(former)] + request


def without_caller(message: bytes) -> bytes:
    """The message without its head. It keeps its trace context."""
    return split_trace(message)[0] + split(message)[1]


def begins_as_head(message: bytes) -> bool:
    """Whether a message looks as if there were a head in front of the request, or a trace context."""
    return message.startswith(FRONTS)


def has_heads(batch: Batch) -> bool:
    """Whether any message of the batch has a head, or a trace context."""
    return any(begins_as_head(message) and split(message)[1] != message for message in batch.messages)


def opened(batch: Batch) -> tuple[Batch, Heads]:
    """The batch without heads and trace contexts, and the heads."""
    payload, ends = _without_traces(batch)
    starts, count = [0, *ends[:-1]], len(ends)
    heads = b"".join([payload[start : start + HEAD_BYTES] for start in starts])
    # Nearly always each of them has one.
    whole = len(heads) == count * HEAD_BYTES and heads[::HEAD_BYTES] == _MARK * count
    if whole and _FLAGS.issuperset(heads[1::HEAD_BYTES]):
        places: Sequence[int] = range(count)
        bare = [payload[start + HEAD_BYTES : end] for start, end in zip(starts, ends, strict=True)]
    else:
        messages = [payload[start:end] for start, end in zip(starts, ends, strict=True)]
        places = [place for place, message in enumerate(messages) if _has_head(message)]
        heads = b"".join([messages[place][:HEAD_BYTES] for place in places])
        bare = [message[HEAD_BYTES:] if _has_head(message) else message for message in messages]
    fields = _heads(len(places)).unpack(heads)
    found = Heads(places, fields[2::4], fields[3::4], fields[1::4])
    return batch.with_messages(bare), found


def _without_traces(batch: Batch) -> tuple[bytes, list[int]]:
    """The messages of the batch without trace contexts, back to back, and where each ends."""
    if not any(map(batch.payload.__contains__, TRACE_KINDS)):  # as a rule, and much faster than to look at each
        return batch.payload, [end - batch.base for end in batch.ends]
    messages = list(map(untraced, batch.messages))
    return b"".join(messages), list(accumulate(map(len, messages)))


def _has_head(message: bytes) -> bool:
    return message.startswith(_BEGINNINGS) and len(message) >= HEAD_BYTES


@lru_cache(maxsize=256)
def _heads(count: int) -> Struct:
    return Struct("<" + "BBQQ" * count)
