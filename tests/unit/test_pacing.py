"""When a worker pauses between batches."""

from __future__ import annotations

from shardq.drivers.shared.pacing import Pace


class Worker:
    """Takes time for its handler alone, and counts its pauses."""

    def __init__(self) -> None:
        self.pace = Pace(lambda: self._now_s, self._pause)
        self._now_s = 1.0
        self._pauses = 0

    def pauses_in(self, batches: int, *, count: int = 1, handler_s: float = 0.0) -> int:
        before = self._pauses
        for _ in range(batches):
            self.pace.handed_out()
            self._now_s += handler_s
            self.pace.handled(count)
        return self._pauses - before

    def _pause(self, seconds: float) -> None:
        self._now_s += seconds
        self._pauses += 1


def test_a_burst_of_small_batches_is_handled_without_pauses() -> None:
    worker = Worker()
    for _ in range(10):
        assert worker.pauses_in(32) == 0
        worker.pace.slept()


def test_small_batches_that_do_not_end_have_a_pause_each() -> None:
    assert Worker().pauses_in(100) == 68


def test_large_batches_have_none() -> None:
    assert Worker().pauses_in(100, count=100) == 0


def test_a_large_batch_begins_anew() -> None:
    worker = Worker()
    worker.pauses_in(50)

    assert worker.pauses_in(1, count=100) == 0
    assert worker.pauses_in(32) == 0


def test_after_handlers_that_do_something_there_is_none() -> None:
    assert Worker().pauses_in(100, handler_s=0.002) == 0
