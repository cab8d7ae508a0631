"""One at a time, and a death inside is no end: with real threads, real processes and real kills."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from shardq.errors import SegmentBusy
from shardq.shm import words as at
from shardq.shm.processes.guard import SHORTEST_NAP_S, STUCK_NAP_S, Guard
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from tests.support.holder import COUNTER, holder


class GaveUp(Exception):
    """The waiter napped, and so looked for a corpse, often enough."""


class Naps:
    """Instead of sleeping: counts, and after so many gives up."""

    def __init__(self, most: int) -> None:
        self.left = most

    def __call__(self, seconds: float) -> None:
        self.left -= 1
        if not self.left:
            raise GaveUp


@pytest.fixture
def slots(segment: Segment) -> Iterator[Slots]:
    slots = Slots(segment)
    slots.enter()
    yield slots
    slots.leave()


@pytest.fixture
def guard(segment: Segment, slots: Slots) -> Guard:
    return Guard(segment, slots)


def impatient(segment: Segment, slots: Slots) -> Guard:
    """Looks for a corpse at each nap, and gives up at the fiftieth."""
    return Guard(segment, slots, patience_s=0.0, nap=Naps(50))


def assert_free(segment: Segment, slots: Slots) -> None:
    assert segment.semaphore.value == 1
    assert segment.words[at.GUARD_OWNER] == 0
    assert segment.words[slots.word(slots.mine) + at.SLOT_ATTEMPT] & 0xFFFF == 0


def test_the_words_say_who_is_inside(segment: Segment, slots: Slots, guard: Guard) -> None:
    guard.acquire()
    assert segment.words[at.GUARD_OWNER] == slots.identity
    assert segment.semaphore.value == 0

    guard.release()
    assert_free(segment, slots)


def test_attempts_are_numbered_upwards(segment: Segment, slots: Slots, guard: Guard) -> None:
    seen = []
    for _ in range(5):
        guard.acquire()
        guard.release()
        seen.append(segment.words[slots.word(slots.mine) + at.SLOT_ATTEMPT] >> 16)

    assert seen == sorted(set(seen))


def test_a_new_holder_of_a_slot_goes_on_counting(segment: Segment) -> None:
    seen = []
    for _ in range(3):
        slots = Slots(segment)
        slots.enter()
        guard = Guard(segment, slots)
        guard.acquire()
        guard.release()
        seen.append((segment.words[slots.word(slots.mine) + at.SLOT_ATTEMPT] >> 16, slots.identity))
        slots.leave()

    assert seen == sorted(set(seen))
    assert len({identity for _, identity in seen}) == 3


def test_threads_exclude_each_other(segment: Segment, slots: Slots, guard: Guard) -> None:
    def add() -> None:
        for _ in range(2000):
            guard.acquire()
            value = segment.words[COUNTER]
            segment.words[COUNTER] = value + 1
            guard.release()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert segment.words[COUNTER] == 8000
    assert_free(segment, slots)


def test_processes_exclude_each_other(segment: Segment, slots: Slots, guard: Guard) -> None:
    with holder(segment.name, "count", "3000") as one, holder(segment.name, "count", "3000") as two:
        for _ in range(3000):
            guard.acquire()
            segment.words[COUNTER] += 1
            guard.release()
        one.hear()
        two.hear()

    assert segment.words[COUNTER] == 9000
    assert_free(segment, slots)


def test_a_waiter_enters_when_the_other_leaves(segment: Segment, slots: Slots, guard: Guard) -> None:
    with holder(segment.name, "hold") as other:
        other.hear()
        entered = threading.Thread(target=guard.acquire)
        entered.start()
        assert segment.words[at.GUARD_OWNER] != slots.identity

        other.let_go()
        entered.join()

    assert segment.words[at.GUARD_OWNER] == slots.identity


@pytest.mark.parametrize("how", ["hold", "lose"])
def test_the_guard_of_a_killed_process_is_taken_over(segment: Segment, slots: Slots, guard: Guard, how: str) -> None:
    with holder(segment.name, how) as other:
        other.hear()
        other.kill()
        assert segment.semaphore.value == 0

        guard.acquire()

        assert segment.words[at.GUARD_OWNER] == slots.identity
        guard.release()
    assert_free(segment, slots)


def test_one_after_the_other_may_die_inside(segment: Segment, slots: Slots, guard: Guard) -> None:
    for how in ("hold", "lose", "hold"):
        with holder(segment.name, how) as other:
            other.hear()
            other.kill()

    guard.acquire()
    guard.release()

    assert_free(segment, slots)


@pytest.mark.parametrize("how", ["hold", "lose"])
def test_a_living_process_is_not_robbed(segment: Segment, slots: Slots, how: str) -> None:
    with holder(segment.name, how) as other:
        other.hear()

        with pytest.raises(GaveUp):
            impatient(segment, slots).acquire()

        other.let_go()
    assert_free(segment, slots)


@pytest.mark.parametrize("how", ["hold", "lose"])
def test_a_stopped_process_is_not_robbed(segment: Segment, slots: Slots, guard: Guard, how: str) -> None:
    with holder(segment.name, how) as other:
        other.hear()
        other.stop()

        with pytest.raises(GaveUp):
            impatient(segment, slots).acquire()
        assert segment.words[at.GUARD_OWNER] != slots.identity

        other.go_on()
        other.let_go()
    guard.acquire()
    guard.release()
    assert_free(segment, slots)


def test_a_process_killed_while_stopped_is_dead(segment: Segment, slots: Slots, guard: Guard) -> None:
    with holder(segment.name, "hold") as other:
        other.hear()
        other.stop()
        other.kill()

        guard.acquire()
        guard.release()
    assert_free(segment, slots)


def test_who_gives_up_leaves_no_trace(segment: Segment, slots: Slots) -> None:
    with holder(segment.name, "hold") as other:
        other.hear()
        waiter = impatient(segment, slots)
        with pytest.raises(GaveUp):
            waiter.acquire()
        other.let_go()

    waiter.acquire()
    waiter.release()

    assert_free(segment, slots)


def test_a_waiter_sleeps_the_longer_the_longer_it_waits(segment: Segment, slots: Slots) -> None:
    naps, passed_s = list[float](), 0.0

    def clock() -> float:
        nonlocal passed_s
        passed_s += 1e-6
        return passed_s

    def nap(seconds: float) -> None:
        nonlocal passed_s
        naps.append(seconds)
        passed_s += seconds

    with holder(segment.name, "hold") as other:
        other.hear()
        with pytest.raises(SegmentBusy):
            Guard(segment, slots, clock=clock, nap=nap, limit_s=lambda: 1.0).acquire()
        other.let_go()

    assert naps == sorted(naps)
    assert (naps[0], naps[-1]) == (SHORTEST_NAP_S, STUCK_NAP_S)
    assert len(naps) < 250


def test_a_release_cut_short_is_mended_by_its_own_process(
    segment: Segment, slots: Slots, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        value = 0

        def release(self) -> None:
            raise KeyboardInterrupt

    guard.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(guard, "_semaphore", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            guard.release()
    assert segment.semaphore.value == 0

    guard.acquire()
    guard.release()

    assert_free(segment, slots)
