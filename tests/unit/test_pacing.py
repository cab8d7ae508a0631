"""When a worker pauses between batches."""

from __future__ import annotations

import pytest

from shardq.drivers.shared import pacing
from shardq.drivers.shared.pacing import Pace


class Clock:
    """Instead of the clock, which only pauses move, and what the handler takes."""

    def __init__(self) -> None:
        self.now_s = 1.0
        self.pauses = 0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.pauses += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


def batches(pace: Pace, clock: Clock, number: int, *, count: int = 1, handler_s: float = 0.0) -> int:
    """The pauses that a worker makes in so many batches."""
    before = clock.pauses
    for _ in range(number):
        pace.handed_out()
        clock.now_s += handler_s
        pace.handled(count)
    return clock.pauses - before


def test_a_burst_of_small_batches_is_handled_without_pauses(clock: Clock) -> None:
    pace = Pace()
    for _ in range(10):
        assert batches(pace, clock, 32) == 0
        pace.slept()


def test_small_batches_that_do_not_end_have_a_pause_each(clock: Clock) -> None:
    assert batches(Pace(), clock, 100) == 68


def test_large_batches_have_none(clock: Clock) -> None:
    assert batches(Pace(), clock, 100, count=100) == 0


def test_a_large_batch_begins_anew(clock: Clock) -> None:
    pace = Pace()
    batches(pace, clock, 50)

    assert batches(pace, clock, 1, count=100) == 0
    assert batches(pace, clock, 32) == 0


def test_after_handlers_that_do_something_there_is_none(clock: Clock) -> None:
    assert batches(Pace(), clock, 100, handler_s=0.002) == 0
