"""Heads of messages whose callers wait."""

from __future__ import annotations

from itertools import accumulate

from shardq.cli.render import readable
from shardq.encoding import envelope
from shardq.encoding.codec import MsgspecSerializer
from shardq.model import Batch


def batch_of(*messages: bytes, base: int = 0) -> Batch:
    return Batch(5, 5 + len(messages), [base + end for end in accumulate(map(len, messages))], b"".join(messages), base)


def test_messages_come_out_as_they_went_in() -> None:
    plain, first, second = MsgspecSerializer().encode(int, [1, 2, 300])
    sealed = envelope.sealed([first, second], 7, 11, abandon=False)

    bare, heads = envelope.opened(batch_of(plain, *sealed, base=100))

    assert bare.messages == [plain, first, second]
    assert MsgspecSerializer().decode(int, bare) == [1, 2, 300]
    assert (bare.sequence, bare.through) == (5, 8)
    assert heads[0] == b""
    assert [envelope.inbox_of(head) for head in heads[1:]] == [7, 7]
    assert [int.from_bytes(envelope.number_of(head), "little") for head in heads[1:]] == [11, 12]
    assert not any(map(envelope.needs_caller, heads[1:]))


def test_it_says_whether_the_caller_is_needed() -> None:
    [sealed] = envelope.sealed([b"x"], 1, 2, abandon=True)
    head, message = envelope.split(sealed)
    assert envelope.needs_caller(head)
    assert message == b"x"


def test_a_plain_message_has_no_head() -> None:
    assert envelope.split(b"\xc0") == (b"", b"\xc0")
    assert not envelope.has_heads(batch_of(b"\xc0", b"\x01"))
    assert envelope.has_heads(batch_of(b"\xc0", *envelope.sealed([b""], 1, 2, abandon=True)))


def test_operators_see_the_request_alone() -> None:
    [sealed] = envelope.sealed(MsgspecSerializer().encode(list[int], [[1, 2]]), 1, 2, abandon=True)
    assert readable(sealed) == [1, 2]
