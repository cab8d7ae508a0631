"""The trace context in front of a message: in which trace its request was sent, by which span.

A head is 0xC1, which no MessagePack begins with; its kind, 0x54, or 0x55 of a request that comes again and again; how
many bytes follow (2); the flags of the W3C trace context (1), the trace (16), the span (8), and the trace state as
text. It stands before all else in front of the message. A request that was sent outside of any trace has none.

A storage keeps a head with its message, and does not look at it where it asks whether messages are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import NamedTuple

_ONCE, _AGAIN = b"\xc1\x54", b"\xc1\x55"
#: What a message with a trace context begins with.
TRACE_KINDS = (_ONCE, _AGAIN)
_start, _context = Struct("<2sH"), Struct(">B16s8s")
#: Of a trace state. The W3C asks for at least 512; what is longer is not sent on.
_MOST_STATE_BYTES = 1024


class Trace(NamedTuple):
    """Where in which trace a request was sent."""

    trace_id: bytes
    """16 bytes."""
    span_id: bytes
    """8 bytes: the span that sent the request."""
    flags: int
    """1: the trace is sampled."""
    state: str = ""
    """The W3C `tracestate`."""
    again: bool = False
    """Whether the request comes again and again."""

    @property
    def head(self) -> bytes:
        """What goes in front of the messages."""
        state = self.state.encode("ascii", "replace")
        state = state if len(state) <= _MOST_STATE_BYTES else b""
        kind = _AGAIN if self.again else _ONCE
        context = _context.pack(self.flags & 0xFF, self.trace_id, self.span_id)
        return _start.pack(kind, len(context) + len(state)) + context + state


def begins_as_trace(message: bytes) -> bool:
    """Whether a message looks as if it had a trace context."""
    return message.startswith(TRACE_KINDS)


def split_trace(message: bytes) -> tuple[bytes, bytes]:
    """The head with the trace context, empty where there is none, and what comes behind."""
    if not message.startswith(TRACE_KINDS):
        return b"", message
    end = _start.size + int.from_bytes(message[2:4], "little")
    if not _start.size + _context.size <= end <= len(message):
        return b"", message
    return message[:end], message[end:]


def untraced(message: bytes) -> bytes:
    """The message without trace context: what equal messages have in common."""
    return split_trace(message)[1] if message.startswith(TRACE_KINDS) else message


def distinct(messages: Iterable[bytes]) -> list[bytes]:
    """The messages, of equal ones the first."""
    firsts = dict[bytes, bytes]()
    for message in messages:
        firsts.setdefault(untraced(message), message)
    return list(firsts.values())


def traced(messages: Sequence[bytes], trace: Trace) -> list[bytes]:
    """The messages with this trace context."""
    head = trace.head
    return [head + message for message in messages]


def trace_of(message: bytes) -> Trace | None:
    """The trace context of a message. None: it has none."""
    head, _ = split_trace(message)
    if not head:
        return None
    flags, trace_id, span_id = _context.unpack_from(head, _start.size)
    state = head[_start.size + _context.size :].decode("ascii", "replace")
    return Trace(trace_id, span_id, flags, state, head.startswith(_AGAIN))


def trace_id_of(message: bytes) -> str | None:
    """The trace that a message was sent in, as 32 hexadecimal digits. None: it was sent outside of any."""
    found = trace_of(message)
    return found.trace_id.hex() if found else None
