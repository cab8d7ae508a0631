"""A request that was edited as JSON: what was not touched stays, and what was touched is what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.msgpack import decode, encode

from shardq.errors import RequestError
from shardq.letters.edited import Edit

TIME = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"flag": False, "n": 1}, {"flag": 0, "n": 1}),
        ({"flag": 1}, {"flag": True}),
        ([1, [1]], [1, [1.0]]),
        ({"in": {"a": [0]}}, {"in": {"a": [False]}}),
        ({"n": 1}, {"n": 1, "more": None}),
    ],
)
def test_values_of_another_type_are_not_taken_for_equal(before: Any, after: Any) -> None:
    applied = decode(Edit(before, after, free=True).applied(encode(before)))

    assert repr(applied) == repr(after)


@pytest.mark.parametrize(("before", "after"), [({"flag": False}, {"flag": 0}), ([1], [True]), ([1], [1.0])])
def test_without_the_type_of_the_request_they_are_refused(before: Any, after: Any) -> None:
    with pytest.raises(RequestError, match="cannot become"):
        Edit(before, after, free=False).applied(encode(before))


def test_a_number_stays_one_where_whole_ones_are_given() -> None:
    assert repr(decode(Edit([1.0], [1], free=False).applied(encode([1.0])))) == "[1.0]"


@pytest.mark.parametrize("free", [False, True])
def test_a_time_needs_a_zone(free: bool) -> None:
    message, shown = encode([TIME]), [TIME.isoformat()]

    with pytest.raises(RequestError, match="no time zone"):
        Edit(shown, ["2026-02-01T00:00:00"], free).applied(message)

    assert decode(Edit(shown, ["2026-02-01T00:00:00Z"], free).applied(message)) == [TIME.replace(month=2)]


@pytest.mark.parametrize("request_", [{1: "a"}, [TIME, b"bytes"], {"n": 2**63, "t": (1, 2)}])
def test_what_was_not_touched_stays(request_: Any) -> None:
    message = encode({"its": request_, "n": 1})

    applied = Edit({"its": "shown", "n": 1}, {"its": "shown", "n": 2}, free=False).applied(message)

    assert applied == encode({"its": request_, "n": 2})
