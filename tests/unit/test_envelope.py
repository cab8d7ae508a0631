"""Heads of messages whose callers wait."""

from __future__ import annotations

from itertools import accumulate

from shardq.encoding import envelope
from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.generic import readable
from shardq.model import Batch


def batch_of(*messages: bytes, base: int = 0) -> Batch:
    ends = [base + end for end in accumulate(map(len, messages))]
    return Batch(5, 5 + len(messages), len(messages), ends, b"".join(messages), base)


def test_messages_come_out_as_they_went_in() -> None:
    plain, first, second = MsgspecSerializer().encode(int, [1, 2, 300])
    sealed = envelope.sealed([first, second], 7, 11, abandon=False)

    bare, heads = envelope.opened(batch_of(plain, *sealed, base=100))

    assert bare.messages == [plain, first, second]
    assert MsgspecSerializer().decode(int, bare) == [1, 2, 300]
    assert (bare.sequence, bare.through) == (5, 8)
    assert heads == envelope.Heads([1, 2], (7, 7), (11, 12), (0x51, 0x51))
    assert heads.callers == frozenset()
    assert heads.first(2) == envelope.Heads([1], (7,), (11,), (0x51,))


def test_it_says_whether_the_caller_is_needed() -> None:
    [sealed] = envelope.sealed([b"x"], 1, 2, abandon=True)
    head, message = envelope.split(sealed)
    assert head == envelope.Head(1, 2, abandon=True)
    assert message == b"x"
    _, heads = envelope.opened(batch_of(sealed))
    assert heads.callers == {1}
    assert heads.needs(frozenset({1})) == [0]


def test_a_plain_message_has_no_head() -> None:
    assert envelope.split(b"\xc0") == (None, b"\xc0")
    assert not envelope.has_heads(batch_of(b"\xc0", b"\x01"))
    assert envelope.has_heads(batch_of(b"\xc0", *envelope.sealed([b""], 1, 2, abandon=True)))


def test_operators_see_the_request_alone() -> None:
    [sealed] = envelope.sealed(MsgspecSerializer().encode(list[int], [[1, 2]]), 1, 2, abandon=True)
    assert readable(sealed) == [1, 2]


def test_what_only_begins_as_a_head_is_none() -> None:
    [sealed] = envelope.sealed([b"\x01"], 1, 2, abandon=True)
    broken = (b"\xc1", b"\xc1" * 30, sealed[:17], b"")
    assert all(envelope.split(message) == (None, message) for message in broken)
    batch = batch_of(*broken)
    assert not envelope.has_heads(batch)
    assert envelope.opened(batch)[0].messages == list(broken)
    assert envelope.opened(batch)[1].places == []
    assert envelope.opened(batch_of(*broken, sealed))[1].places == [4]


def test_a_head_may_have_the_digest_of_a_ticket() -> None:
    digest = bytes(range(240, 256))
    [with_ticket] = envelope.ticketed([b"x"], digest)
    [called] = envelope.sealed([b"y"], 1, 2, abandon=True)

    head, message = envelope.split(with_ticket)
    assert head is not None
    assert (head.digest, head.abandon, message) == (digest, False, b"x")
    bare, heads = envelope.opened(batch_of(b"\xc0", called, with_ticket))
    assert bare.messages == [b"\xc0", b"y", b"x"]
    assert heads.digests == {1: digest}
    assert heads.callers == {1}
    assert heads.first(2).digests == {}
