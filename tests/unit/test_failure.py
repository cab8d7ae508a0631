"""When a request that failed is tried again, and how large its dead letter may be."""

from __future__ import annotations

import pytest

from shardq.model import Batch, Failed, Retry
from shardq.shm.memory.extents import _LETTER_BYTES
from shardq.shm.words import PAGE
from shardq.working.failure import died, parked, raised, rest_s

RETRY = Retry(backoff_s=2.0, backoff_max_s=300.0, jitter=False)
NOW_US = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("passed_s", "left_s"),
    [(0, 2.0), (0.5, 1.5), (2, 0.0), (3600, 0.0), (-3600, 2.0)],
    ids=["at once", "in the middle", "at the end", "late", "the clock was set back"],
)
def test_a_rest_is_never_longer_than_its_backoff(passed_s: float, left_s: float) -> None:
    failed = Failed(1, NOW_US, NOW_US, None)
    assert rest_s(RETRY, "m/H/0/0", 0, failed, NOW_US + int(passed_s * 1e6)) == pytest.approx(left_s)


def test_a_dead_letter_is_no_larger_than_what_is_kept_for_it() -> None:
    """By the bytes of its text, whatever its characters are."""
    error = ValueError("\U0001f600" * 5000)
    error.add_note("\U0001f600" * 5000)
    failed = Failed(1, NOW_US, NOW_US, None)

    letter = raised(Batch(0, 1, 1, [1], b"x", pipe="m/H/0/0"), b"x", 0, error, failed)

    assert len(letter.encoded()) <= _LETTER_BYTES - PAGE


def test_a_letter_that_found_no_room_at_first_does_not_say_that_a_worker_died() -> None:
    letter = died(Batch(0, 1, 1, [1], b"x", pipe="m/H/0/0"), Failed(5, NOW_US, NOW_US, None))
    assert letter.reason == "raised"
    assert letter.error.startswith("what it raised is not known any more: it was given up later")


def test_a_parked_request_keeps_how_often_it_failed() -> None:
    batch = Batch(0, 1, 1, [1], b"x", pipe="m/H/0/0", failed=Failed(2, NOW_US - 9, NOW_US - 5, None), taken_us=NOW_US)
    letter = parked(batch)
    assert (letter.attempts, letter.first_failed_us, letter.last_failed_us) == (2, NOW_US - 9, NOW_US)
    batch.failed = None
    letter = parked(batch)
    assert (letter.attempts, letter.first_failed_us, letter.last_failed_us) == (0, NOW_US, NOW_US)
