"""What a storage can never take is refused before anything of the call is stored, in words that say what it was."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shardq.errors import HandlerError, MessageTooLarge
from shardq.handling.limits import check_limits
from shardq.handling.steps import steps_of
from shardq.model import Limits, Part

LIMITS = Limits(parts=2, messages=100, nbytes=10, message_bytes=20, key_bytes=8)


def check(parts: Sequence[Part], requests: Sequence[str] = (), pipes: Sequence[str] = ()) -> None:
    check_limits(steps_of(parts, LIMITS), LIMITS, requests, pipes)


def test_what_fits_is_not_refused() -> None:
    check([("m/H/1234/0", [bytes(20), bytes(8), bytes(20)]), ("m/H/1/-999999999", [b"x"] * 1000)])


def test_of_what_is_too_large_the_request_is_named_by_its_place_in_the_call() -> None:
    a, b = "m/H/1/0", "m/H/2/0"
    parts = [(a, [b"1", b"3"]), (b, [b"0", bytes(15), bytes(21)])]

    with pytest.raises(MessageTooLarge) as raised:
        check(parts, ["zero", "one", "two", "three", "four"], [b, a, b, a, b])

    assert str(raised.value).startswith(
        "request 4, 'four', is a message of 21 bytes for m/H/2/0, and the storage takes"
    )
    assert "at most 20" in str(raised.value)


@pytest.mark.parametrize("key", ["m/H/12345", "m/H\u00e4\u00e4/1", "m/\u20ac\u20ac/1"])
def test_a_name_is_measured_in_bytes(key: str) -> None:
    with pytest.raises(HandlerError, match=f"'{key}' is longer than 8 bytes: shorten the name"):
        check([("m/H/1/0", [b"x"]), (f"{key}/0", [b"x"])])


def test_other_letters_are_fine_where_they_fit() -> None:
    check([("m/\u00e4\u00e4/1/0", [b"x"])])


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(HandlerError, match="no name that can be stored: it is not UTF-8"):
        check([("m/\ud800/1/0", [b"x"])])
