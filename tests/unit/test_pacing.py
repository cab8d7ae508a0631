"""When a worker pauses between batches."""

from __future__ import annotations

import pytest

from shardq.drivers.shared.pacing import Pace


class Worker:
    """Takes time for its handler alone, and notes its pauses. It has `met` others once already, or not."""

    def __init__(self, at_work: int = 1, *, met: bool = True) -> None:
        self.accepted, self._waits, self._now_s = 0, 0, 1.0
        self.at_work = at_work
        self.pauses_s: list[float] = []
        self.pace = Pace(lambda: self.accepted, lambda: self.at_work, lambda: self._now_s, self._nap)
        self.handle(1, came=0, meets=met)

    def handle(
        self, batches: int, *, count: int = 1, came: int = 50, handler_s: float = 0.0, meets: bool = True
    ) -> int:
        """Handle so many batches, while so many requests come during each, and the guard is taken before each if it
        `meets` others. Returns how often it paused.
        """
        before = len(self.pauses_s)
        for _ in range(batches):
            self._waits += meets
            self.pace.handed_out()
            self.accepted += came
            self._now_s += handler_s
            self.pace.handled(count, self._waits)
        return len(self.pauses_s) - before

    def idle(self, seconds: float) -> None:
        self._now_s += seconds

    def _nap(self, seconds: float) -> None:
        self._now_s += seconds
        self.pauses_s.append(seconds)


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_where_it_meets_others_there_is_a_pause_after_each_small_batch(worker: Worker) -> None:
    assert worker.handle(100) == 100


def test_the_first_time_that_it_meets_others_has_none() -> None:
    worker = Worker(met=False)

    assert (worker.handle(1), worker.handle(1)) == (0, 1)


def test_pauses_become_longer_up_to_a_millisecond_while_it_meets_others(worker: Worker) -> None:
    worker.at_work = 3
    worker.handle(100)

    assert worker.pauses_s == sorted(worker.pauses_s)
    assert worker.pauses_s[0] < worker.pauses_s[-1] == 0.001


def test_where_it_meets_no_process_pauses_soon_end(worker: Worker) -> None:
    worker.handle(100)

    assert 0 < worker.handle(100, meets=False) < 10


def test_what_came_before_is_handled_without_pauses(worker: Worker) -> None:
    assert worker.handle(100, came=0) == 0


def test_a_producer_that_waits_for_each_request_does_not_wait_for_pauses(worker: Worker) -> None:
    assert worker.handle(100, came=1) == 0


def test_requests_that_come_slowly_have_none(worker: Worker) -> None:
    for _ in range(100):
        worker.idle(0.001)
        assert worker.handle(1, came=5) == 0


def test_large_batches_have_none(worker: Worker) -> None:
    assert worker.handle(100, count=100, came=200) == 0


def test_after_handlers_that_do_something_there_is_none(worker: Worker) -> None:
    assert worker.handle(100, handler_s=0.002) == 0


def test_what_a_handler_registers_itself_does_not_count(worker: Worker) -> None:
    worker.pace.registered(100)

    assert worker.handle(1, came=100) == 0


def test_the_more_workers_there_are_the_longer_each_pauses_and_the_larger_small_batches_may_be() -> None:
    one, three = Worker(), Worker(at_work=3)
    for each in (one, three):
        each.handle(1)

    assert three.pauses_s[0] == pytest.approx(3 * one.pauses_s[0])
    assert (one.handle(1, count=10), three.handle(1, count=10)) == (0, 1)


def test_a_worker_that_finds_nothing_after_it_pauses_once_before_it_sleeps(worker: Worker) -> None:
    worker.handle(1)
    for _ in range(2):
        worker.pace.before_sleep()

    assert len(worker.pauses_s) == 2


def test_an_idle_worker_goes_to_sleep_at_once(worker: Worker) -> None:
    worker.handle(1, came=1)
    worker.pace.before_sleep()

    assert not worker.pauses_s
