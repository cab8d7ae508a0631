"""What stands in front of a message whose caller waits for the result: where the result goes.

A head is 18 bytes: the byte 0xC1, which no MessagePack begins with, so that decoding a batch as it is fails where a
message has a head, and costs nothing where none has; flags; the number of the inbox; the number of the request there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shardq.model import Batch

#: What a message with a head begins with.
MARK = 0xC1
HEAD_BYTES = 18
_MARK = bytes((MARK,))
#: The flag of a request that is handled also where its caller is gone.
_STAYS = 1


def sealed(messages: Sequence[bytes], inbox: int, first: int, *, abandon: bool) -> list[bytes]:
    """The messages with heads, numbered from `first` on. `abandon`: they are of no use without their caller."""
    begin = bytes((MARK, 0 if abandon else _STAYS)) + inbox.to_bytes(8, "little")
    return [begin + number.to_bytes(8, "little") + message for number, message in enumerate(messages, first)]


def split(message: bytes) -> tuple[bytes, bytes]:
    """The head of a message, empty where it has none, and what comes behind."""
    if not message.startswith(_MARK):
        return b"", message
    return message[:HEAD_BYTES], message[HEAD_BYTES:]


def begins_as_head(message: bytes) -> bool:
    """Whether a message looks as if it had a head."""
    return message.startswith(_MARK)


def begins_with_head(batch: Batch) -> bool:
    """Whether the first message of the batch has a head."""
    return batch.payload.startswith(_MARK)


def has_heads(batch: Batch) -> bool:
    """Whether any message of the batch has a head."""
    return any(message.startswith(_MARK) for message in batch.messages)


def opened(batch: Batch) -> tuple[Batch, list[bytes]]:
    """The batch without heads, and the head of each message, empty where it has none."""
    parts = [split(message) for message in batch.messages]
    ends, end = [], 0
    for _, message in parts:
        end += len(message)
        ends.append(end)
    bare = replace(batch, ends=ends, base=0, payload=b"".join([message for _, message in parts]))
    return bare, [head for head, _ in parts]


def inbox_of(head: bytes) -> int:
    """The number of the inbox."""
    return int.from_bytes(head[2:10], "little")


def number_of(head: bytes) -> bytes:
    """The number of the request in its inbox, as `Reply.numbers` has it."""
    return head[10:]


def needs_caller(head: bytes) -> bool:
    """Whether the request is of no use without its caller."""
    return not head[1] & _STAYS
