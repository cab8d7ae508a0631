"""Trace contexts in front of messages, alone and before the heads of callers."""

from __future__ import annotations

import pytest

from shardq.encoding import envelope
from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.generic import readable
from shardq.letters.edited import Edit
from shardq.model import Batch
from shardq.model.trace import Trace, begins_as_trace, distinct, split_trace, trace_id_of, trace_of, traced, untraced

TRACE = Trace(bytes(range(16)), bytes(range(100, 108)), 1, "vendor=1,other=a b")
DIGEST = bytes(range(240, 256))


def batch_of(*messages: bytes) -> Batch:
    return Batch.of(messages, 5)


@pytest.mark.parametrize(
    "trace", [TRACE, TRACE._replace(flags=0, state=""), TRACE._replace(again=True), TRACE._replace(state="x" * 1024)]
)
@pytest.mark.parametrize("message", [b"", b"\xc0", b"\xc1", b"\xc1\x54", b"x" * 70_000])
def test_a_context_comes_out_as_it_went_in(trace: Trace, message: bytes) -> None:
    [whole] = traced([message], trace)
    assert trace_of(whole) == trace
    assert untraced(whole) == message
    assert split_trace(whole) == (trace.head, message)
    assert trace_id_of(whole) == bytes(range(16)).hex()


def test_it_takes_29_bytes_and_its_state() -> None:
    assert len(TRACE._replace(state="").head) == 29
    assert len(TRACE.head) == 29 + len(TRACE.state)


def test_a_state_that_is_too_long_is_left_out() -> None:
    context = trace_of(TRACE._replace(state="x" * 1025).head)
    assert context == TRACE._replace(state="")


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"\xc0", b"\xc1", b"\xc1\x54", b"\xc1\x54\x19", b"\xc1\x54\x00\x00", b"\xc1\x54\x18\x00" + bytes(24)),
        *(TRACE.head[:-1], b"\xc1\x53" + TRACE.head[2:], b"\xc1\x56" + TRACE.head[2:]),
    ],
)
def test_what_only_begins_as_a_context_is_none(message: bytes) -> None:
    assert (trace_of(message), untraced(message), trace_id_of(message)) == (None, message, None)
    assert not envelope.has_heads(batch_of(message))
    assert envelope.opened(batch_of(message))[0].messages == [message]


def test_of_equal_messages_the_first_counts() -> None:
    first, second = TRACE.head + b"a", TRACE._replace(flags=0).head + b"a"
    assert distinct([b"b", first, second, b"a", b"c", b"b"]) == [b"b", first, b"c"]
    assert distinct([b"a", first]) == [b"a"]


def test_a_batch_is_opened_whatever_stands_in_front() -> None:
    plain, first, second, third, fourth = MsgspecSerializer().encode(int, [1, 2, 300, 4, 5])
    [called] = envelope.sealed([second], 7, 11, abandon=False)
    [with_ticket] = envelope.ticketed([third], DIGEST)
    messages = [plain, TRACE.head + first, TRACE.head + called, TRACE.head + with_ticket, fourth]

    bare, heads = envelope.opened(batch_of(*messages))

    assert MsgspecSerializer().decode(int, bare) == [1, 2, 300, 4, 5]
    assert (bare.sequence, bare.through) == (5, 10)
    assert (heads.places, heads.flags, heads.digests) == ([2, 3], (0x51, 0x52), {1: DIGEST})
    assert envelope.has_heads(batch_of(plain, TRACE.head + first))


def test_requests_that_hold_the_bytes_of_a_context_are_requests() -> None:
    texts = [TRACE.head.decode("latin-1"), "\xc1\x54"]
    messages = MsgspecSerializer().encode(str, texts)
    assert not any(map(begins_as_trace, messages))
    assert MsgspecSerializer().decode(str, envelope.opened(batch_of(*messages))[0]) == texts


@pytest.mark.parametrize("head", [b"", envelope.sealed([b""], 1, 2, abandon=True)[0]], ids=["plain", "called"])
def test_what_stands_in_front_stays_when_a_request_is_edited(head: bytes) -> None:
    [before, after] = MsgspecSerializer().encode(dict[str, int], [{"a": 1}, {"a": 2}])
    message = TRACE.head + head + before

    assert Edit({"a": 1}, {"a": 2}, free=False).applied(message) == TRACE.head + head + after
    assert envelope.with_request(message, after) == TRACE.head + head + after
    assert envelope.without_caller(message) == TRACE.head + before


def test_operators_see_the_request_alone() -> None:
    [message] = MsgspecSerializer().encode(list[int], [[1, 2]])
    assert readable(TRACE.head + message) == [1, 2]
