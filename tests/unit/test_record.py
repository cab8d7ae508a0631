"""Framing: what is written is what is read, and the size is known beforehand."""

from __future__ import annotations

from array import array

import pytest

from shardq.shm.memory import record
from shardq.shm.memory.record import HEADER_BYTES, JUMP, MESSAGES
from shardq.shm.segment import Segment
from shardq.shm.words import PAGE

MIB = 1 << 20

batches = pytest.mark.parametrize(
    "messages",
    [
        [b""],
        [b"x"],
        [b"", b"", b""],
        [b"one", b"", b"three"],
        [bytes([n]) * n for n in range(63)],
        [b"eight by"] * 64,
        [b"nine byte"] * 65,
        [bytes(100_000)],
    ],
    ids=lambda messages: f"{len(messages)} of {sum(map(len, messages))} bytes",
)


@pytest.fixture
def address(segment: Segment) -> int:
    """Where there is memory for records."""
    start = segment.layout.extents_base
    assert segment.back(start, 64 * PAGE, limit_bytes=MIB)
    return start


@batches
def test_the_header_says_what_was_written(segment: Segment, address: int, messages: list[bytes]) -> None:
    record.write(segment, address, 1 << 40, 1_700_000_000_000_000, messages)

    found = record.read(segment, address)

    assert (found.address, found.format, found.count) == (address, MESSAGES, len(messages))
    assert found.payload_bytes == sum(map(len, messages))
    assert (found.sequence, found.next_sequence) == (1 << 40, (1 << 40) + len(messages))
    assert found.accepted_us == 1_700_000_000_000_000
    assert (found.flags, found.trace_bytes, found.next_record) == (0, 0, 0)


@batches
def test_payload_and_ends_give_the_messages_back(segment: Segment, address: int, messages: list[bytes]) -> None:
    record.write(segment, address, 0, 0, messages)

    found = record.read(segment, address)

    payload = segment.bytes[found.payload : found.payload + found.payload_bytes]
    ends = array("I", segment.bytes[found.ends : found.ends + 4 * found.count])
    assert payload == b"".join(messages)
    assert [payload[start:end] for start, end in zip([0, *ends], ends, strict=False)] == messages


@batches
def test_the_size_is_known_beforehand_and_whole_words(segment: Segment, address: int, messages: list[bytes]) -> None:
    end = record.write(segment, address, 0, 0, messages)

    assert end == record.read(segment, address).end
    assert end - address == record.size_of(len(messages), sum(map(len, messages)))
    assert end % 8 == 0


@batches
def test_nothing_is_written_behind_the_end(segment: Segment, address: int, messages: list[bytes]) -> None:
    size = record.size_of(len(messages), sum(map(len, messages)))
    segment.bytes[address : address + size + 64] = b"\xee" * (size + 64)

    end = record.write(segment, address, 0, 0, messages)

    assert segment.bytes[end : end + 64] == b"\xee" * 64


@pytest.mark.parametrize(("count", "nbytes"), [(1, 8), (63, 8), (64, 8), (65, 16), (128, 16), (129, 24)])
def test_there_is_one_cancel_bit_per_message_in_whole_words(
    segment: Segment, address: int, count: int, nbytes: int
) -> None:
    record.write(segment, address, 0, 0, [b"m"] * count)

    found = record.read(segment, address)

    assert found.cancelled % 8 == 0
    assert found.ends - found.cancelled == nbytes
    assert not any(segment.bytes[found.cancelled : found.ends])


def test_a_jump_names_where_the_tube_goes_on(segment: Segment, address: int) -> None:
    record.write_jump(segment, address, 1 << 45)

    found = record.read(segment, address)

    assert (found.format, found.next_record) == (JUMP, 1 << 45)


def test_a_jump_takes_no_more_than_a_header(segment: Segment, address: int) -> None:
    segment.bytes[address : address + 2 * HEADER_BYTES] = b"\xee" * 2 * HEADER_BYTES

    record.write_jump(segment, address, 1)

    assert segment.bytes[address + HEADER_BYTES : address + 2 * HEADER_BYTES] == b"\xee" * HEADER_BYTES
