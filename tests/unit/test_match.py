"""Filters for dead letters: what they find, and what is none."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from shardq.deadletters import Buried, DeadLetter
from shardq.errors import ConfigurationError
from shardq.letters.frames import last_frame
from shardq.letters.match import Match

REQUEST = {
    "user": {"id": 5, "name": "Ann"},
    "flags": [True, 1.0, b"a", None],
    "type": "parcel",
    "older": "yes",
    "by number": {1: "one"},
    "": "empty",
    "error": "field",
}


def buried(request: Any = REQUEST, reason: Any = "raised", error: str = "app.errors.Late: Timed out") -> Buried:
    """A letter of a request that failed a minute ago."""
    failed_us = time.time_ns() // 1000 - 60_000_000
    message = request if isinstance(request, bytes) else msgspec.msgpack.encode(request)
    return Buried("m/H/dead/0", 3, DeadLetter("m/H/0/0", 1, message, reason, error, 1, failed_us, failed_us))


@pytest.mark.parametrize(
    "fits",
    [
        *("user.id=5", "user.name=Ann", "user.name~nN", "user~ann", 'user={"name": "Ann", "id": 5}'),
        *("flags.0=true", "flags.1=1", "flags.1=1.0", "flags.2=YQ==", "flags.3=null", "flags~true"),
        *("type=Late", "type=app.errors.Late", ".type=parcel", ".older=yes", "by number.1=one", "error=field"),
        *("error~timed OUT", "older=59s", "newer=1m30s", "newer=1.5h", "older=0s"),
    ],
)
def test_it_fits(fits: str) -> None:
    assert Match(fits)(buried())
    assert Match(fits, "user.id=5")(buried())
    assert not Match(fits, "user.id=6")(buried())


@pytest.mark.parametrize(
    "fits_not",
    [
        *("user.id=6", "user.id=5x", "user.name=ann", "user.name=", "user.phone=1", "user.id.more=5"),
        *("flags.0=1", "flags.1=true", "flags.9=1", "flags.x=1", "flags.3=", "no=null"),
        *("type=ate", "type=errors", "type=", ".type=late", "error~late again", "older=2m", "newer=30s"),
    ],
)
def test_it_does_not_fit(fits_not: str) -> None:
    assert not Match(fits_not)(buried())


TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/jobs.py", line 12, in perform
    raise Late("Timed out")
  File "/usr/lib/python3.11/asyncio/tasks.py", line 490, in wait_for
    return fut.result()
app.errors.Late: Timed out
"""


def test_a_frame_is_the_last_line_of_the_application() -> None:
    letter = buried()
    failed = replace(letter, letter=msgspec.structs.replace(letter.letter, traceback=TRACEBACK))

    assert last_frame(TRACEBACK) == "jobs.py:12 in perform"
    assert Match("frame~jobs.py:12")(failed)
    assert not Match("frame~tasks.py")(failed)
    assert not Match("frame~jobs.py")(letter)


def test_an_array_has_places() -> None:
    assert Match("0=Ann", "1.0=x")(buried(["Ann", ["x"]]))
    assert not Match("2=Ann")(buried(["Ann"]))
    assert not Match("0=Ann")(buried("Ann"))


def test_a_request_that_does_not_decode_has_no_fields() -> None:
    letter = buried(b"\xc1", "undecodable", "DecodeError: no request")
    assert not Match("user.id=5")(letter)
    assert Match("type=DecodeError")(letter)


def test_only_exceptions_have_types() -> None:
    assert not Match("type=its")(buried(reason="died", error="its worker was killed by SIGKILL"))


@pytest.mark.parametrize("wrong", ["", "x", "=5", "~5", ".=1", "..~1", "older=", "older=1", "newer=1h5", "older=-1h"])
def test_what_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no filter: write FIELD=VALUE|says no age: write it as older="):
        Match(wrong)
