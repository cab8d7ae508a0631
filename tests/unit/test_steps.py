"""Calls are cut into steps: nothing is left out, nothing changes places, and none is larger than it may be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardq.handling.steps import steps_of
from shardq.model import Limits, Part
from shardq.shm.store import Store
from tests.support.unhurried import unhurried

ROOMY = Limits(parts=100, messages=100, nbytes=10_000)


def size_of(step: Sequence[Part], limit: Limits) -> int:
    return sum(limit.part_bytes + sum(map(len, messages)) for _, messages in step)


def test_a_call_that_is_small_is_one_step_with_the_parts_themselves() -> None:
    parts = [("a", [b"1", b"2"]), ("b", [b"3"])]
    [step] = steps_of(parts, ROOMY)
    assert step == parts
    assert all(one[1] is its[1] for one, its in zip(step, parts, strict=True))


def test_a_call_without_messages_has_no_steps() -> None:
    assert steps_of([], ROOMY) == []


def test_a_step_whose_messages_are_each_looked_at_may_be_smaller() -> None:
    limits = ROOMY._replace(examined=10)
    assert limits.of_step(examined=True) == limits._replace(messages=10)
    assert limits.of_step(examined=False) is limits
    assert ROOMY.of_step(examined=True) == ROOMY


@pytest.mark.parametrize(
    ("limit", "steps"),
    [
        (ROOMY._replace(parts=2), [[("a", [b"1", b"22"]), ("b", [b"3"])], [("c", [b"44"])]]),
        (ROOMY._replace(messages=1), [[("a", [b"1"])], [("a", [b"22"])], [("b", [b"3"])], [("c", [b"44"])]]),
        (ROOMY._replace(messages=3), [[("a", [b"1", b"22"]), ("b", [b"3"])], [("c", [b"44"])]]),
        (ROOMY._replace(nbytes=2), [[("a", [b"1"])], [("a", [b"22"])], [("b", [b"3"])], [("c", [b"44"])]]),
        (ROOMY._replace(nbytes=10, part_bytes=4), [[("a", [b"1", b"22"])], [("b", [b"3"])], [("c", [b"44"])]]),
        (ROOMY._replace(nbytes=1), [[("a", [b"1"])], [("a", [b"22"])], [("b", [b"3"])], [("c", [b"44"])]]),
    ],
    ids=["tubes", "one message", "messages", "bytes", "bytes of tubes", "larger than a step"],
)
def test_a_call_that_is_larger_is_cut(limit: Limits, steps: list[list[Part]]) -> None:
    assert steps_of([("a", [b"1", b"22"]), ("b", [b"3"]), ("c", [b"44"])], limit) == steps


@unhurried
@given(
    st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=30), max_size=20),
    st.builds(Limits, st.integers(1, 5), st.integers(1, 9), st.integers(1, 60), st.integers(0, 20)),
)
def test_steps_have_all_in_order_and_keep_within_the_limit(groups: list[list[bytes]], limit: Limits) -> None:
    parts = [(str(number), messages) for number, messages in enumerate(groups)]
    steps = steps_of(parts, limit)
    flat = [(pipe, message) for step in steps for pipe, messages in step for message in messages]
    assert flat == [(pipe, message) for pipe, messages in parts for message in messages]
    for step in steps:
        count = sum(len(messages) for _, messages in step)
        assert 1 <= len(step) <= limit.parts
        assert len({pipe for pipe, _ in step}) == len(step)
        assert count <= limit.messages
        assert size_of(step, limit) <= limit.nbytes or count == 1


def test_a_part_without_messages_is_nothing(store: Store) -> None:
    assert store.appending.append([("m/H/0/0", []), ("m/H/1/0", [b"x"])])
    assert store.appending.append([("m/H/0/0", [])])
    assert store.reading.pipes() == ["m/H/1/0"]
    assert store.appending.append([("m/H/0/0", [b"y"])])
    assert store.reading.read("m/H/0/0", 9).messages == [b"y"]
