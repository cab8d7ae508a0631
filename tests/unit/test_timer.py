"""The supervisor's timer: a descriptor that becomes readable at a time of day."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest

from shardq.supervisor.timer import Timer
from tests.support.tasks import LIMIT_S

HOUR_US = 3600 * 1_000_000


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer()
    timer.open()
    yield timer
    timer.close()


def now_us() -> int:
    return time.time_ns() // 1000


def readable(timer: Timer, timeout_s: float) -> bool:
    return bool(select.select((timer.descriptor,), (), (), timeout_s)[0])


def test_it_is_readable_at_its_time_and_not_before(timer: Timer) -> None:
    due_us = now_us() + 20_000
    timer.set(due_us)

    assert readable(timer, LIMIT_S)
    assert now_us() >= due_us


def test_what_is_over_makes_it_readable_at_once(timer: Timer) -> None:
    for due_us in (now_us() - HOUR_US, 1, 0):
        timer.set(due_us)
        assert readable(timer, LIMIT_S)
        timer.heard()


def test_it_is_quiet_once_heard_and_until_it_is_set(timer: Timer) -> None:
    assert not readable(timer, 0)
    timer.set(now_us() - 1)
    assert readable(timer, LIMIT_S)
    timer.heard()
    assert not readable(timer, 0)
    timer.heard()


def test_the_same_time_can_be_set_again(timer: Timer) -> None:
    due_us = now_us() - 1
    for _ in range(2):
        timer.set(due_us)
        assert readable(timer, LIMIT_S)
        timer.heard()


def test_a_later_or_no_time_takes_the_place_of_the_former(timer: Timer) -> None:
    timer.set(now_us() - 1)
    timer.set(now_us() + HOUR_US)
    assert not readable(timer, 0)
    timer.set(now_us() - 1)
    timer.set(None)
    assert not readable(timer, 0)


def test_an_earlier_time_takes_the_place_of_the_former(timer: Timer) -> None:
    timer.set(now_us() + HOUR_US)
    timer.set(now_us() + 1000)
    assert readable(timer, LIMIT_S)


def test_closing_twice_is_fine() -> None:
    timer = Timer()
    timer.close()
    timer.open()
    timer.close()
    timer.close()
