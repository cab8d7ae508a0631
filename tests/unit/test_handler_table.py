"""Which threads are offered to whom: by the numbers of handlers, also where there are more handlers than numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shardq.shm import words as at
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck
from tests.faults.kit.points import Child, Gate
from tests.support.drivers import MIB
from tests.support.segments import NewStore, observing

#: More than there are numbers.
MANY = at.LARGEST_HANDLER + 50


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return new_store(4 * MIB)


def only(*names: str) -> frozenset[str]:
    return frozenset(names)


def unserved(store: Store) -> list[bool | None]:
    with observing(store.segment.name) as observer:
        return [view.unserved for view in observer.tubes()]


def register(store: Store, *names: str) -> None:
    for name in names:
        assert store.appending.append([(f"{name}/0/0", [b"one"])])


def test_a_thread_is_offered_to_those_alone_that_serve_its_handler(store: Store) -> None:
    register(store, "m/A", "m/B", "m/C")

    assert store.waiting.find_work(only("m/B")) == "m/B/0"
    assert store.waiting.find_work(only("m/D")) is None
    assert store.waiting.find_work(frozenset()) is None


def test_threads_of_several_handlers_come_in_turn(store: Store) -> None:
    for thread in range(3):
        for name in ("m/A", "m/B", "m/C"):
            assert store.appending.append([(f"{name}/{thread}/0", [b"one"])])

    found = [store.waiting.find_work(only("m/A", "m/C")) for _ in range(6)]

    assert sorted(found) == sorted(f"m/{name}/{thread}" for name in "AC" for thread in range(3))
    assert [store.waiting.find_work(only("m/A", "m/C")) for _ in range(6)] == found


def test_beyond_the_numbers_each_handler_still_gets_its_own_threads(store: Store) -> None:
    names = [f"m/H{number}" for number in range(MANY)]
    register(store, *names)

    for name in (names[0], names[at.LARGEST_HANDLER - 1], names[at.LARGEST_HANDLER], names[-1]):
        assert store.waiting.find_work(only(name)) == f"{name}/0"
    assert store.waiting.find_work(only("m/H")) is None
    assert {store.waiting.find_work(None) for _ in names} == {f"{name}/0" for name in names}
    assert fsck(store.segment) == []


def test_two_processes_give_a_handler_one_number(store: Store) -> None:
    register(store, "m/A", "m/B")

    with process(lambda: [store.waiting.find_work(only("m/B")), register(store, "m/C")]):
        assert store.waiting.find_work(only("m/C")) == "m/C/0"
        register(store, "m/D")

    assert [store._parts.tubes.handlers.number(f"m/{letter}") for letter in "ABCD"] == [1, 2, 3, 4]


def test_where_there_is_no_memory_for_the_table_threads_are_found_by_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = store._parts.tubes.handlers
    monkeypatch.setattr(handlers, "_back", lambda entries: False)
    register(store, "m/A", "m/B")

    assert store.waiting.find_work(only("m/B")) == "m/B/0"
    monkeypatch.undo()
    assert store.appending.append([("m/B/1/0", [b"numbered by now"])])

    assert {store.waiting.find_work(only("m/B")) for _ in range(2)} == {"m/B/0", "m/B/1"}


def test_of_those_that_sleep_one_is_called_that_serves_the_handler(store: Store) -> None:
    with asleep(store, "m/A") as first, asleep(store, "m/B") as second:
        register(store, "m/B")

        assert (state(store, first), state(store, second)) == (at.ASLEEP, at.CALLED)


def test_a_sleeper_hears_of_a_handler_that_gets_its_number_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(store._parts.tubes.handlers, "_back", lambda entries: False)
        assert store.waiting.lie_down(only("m/A"), None)[0] is None

    register(store, "m/A")

    assert state(store, store.slot) == at.CALLED
    assert store.waiting.find_work(only("m/A")) == "m/A/0"
    store.waiting.rise("m/A/0")


def test_what_an_earlier_process_served_is_not_said_of_the_next_in_its_slot(store: Store) -> None:
    register(store, "m/A")
    with process(lambda: [store.waiting.find_work(only("m/B"))]):
        assert unserved(store) == [True]

    with process(lambda: [store.waiting.find_work(only("m/A"))]):
        assert unserved(store) == [False]
    assert unserved(store) == [False]


def test_a_family_is_not_expected_to_serve_what_its_workers_do_not(store: Store) -> None:
    with process(lambda: [store.waiting.find_work(only("m/Former"))]):
        pass
    assert store.supervision.become_supervisor()
    assert store.inspection.serving("m/Former") == 1  # a worker of it may be about to begin

    with process(lambda: [store.waiting.find_work(only("m/Other"))]):
        assert store.inspection.serving("m/Former") == 1
        with process(lambda: [store.membership.join(1), store.waiting.find_work(only("m/Now"))]):
            assert store.inspection.serving("m/Former") == 0
            assert store.inspection.serving("m/Now") == 1


def test_one_that_rises_for_work_hands_the_clock_of_a_pause_to_one_that_sleeps_on(store: Store) -> None:
    register(store, "m/A", "m/B")
    with asleep(store, "m/C") as first, asleep(store, "m/C") as second:
        assert store.delivering.unclaim("m/A/0", store.delivering.claim("m/A/0"), pause_s=3600)
        assert (state(store, first), state(store, second)) == (at.CALLED, at.ASLEEP)

        key, _ = store.waiting.lie_down(only("m/A", "m/B"), None)
        store.waiting.rise(key)

        assert key == "m/B/0"
        assert state(store, second) == at.CALLED


def test_one_that_rises_for_work_hands_the_clock_of_what_is_deferred_on(store: Store) -> None:
    register(store, "m/B")
    with asleep(store, "m/C") as first, asleep(store, "m/C") as second:
        assert store.deferring.defer([("m/A/0/0", [b"one"])], int(time.time() + 3600) * 10**6)
        assert (state(store, first), state(store, second)) == (at.CALLED, at.ASLEEP)

        store.waiting.rise(store.waiting.lie_down(only("m/B"), None)[0])

        assert state(store, second) == at.CALLED


def test_one_that_rises_for_work_calls_no_process_where_nothing_waits_for_its_time(store: Store) -> None:
    register(store, "m/B")
    with asleep(store, "m/C") as other:
        store.waiting.rise(store.waiting.lie_down(only("m/B"), None)[0])

        assert state(store, other) == at.ASLEEP


def state(store: Store, slot: int) -> int:
    return store.segment.bytes[store.segment.layout.sleep_map + slot]


@contextmanager
def process(act: Callable[[], list[object]]) -> Iterator[None]:
    """Another process that did this with the store, and stays."""
    gate = Gate()
    child = Child(lambda: [act(), gate.wait(), None][2])
    gate.reached()
    try:
        yield
    finally:
        gate.open()
        child.end()


@contextmanager
def asleep(store: Store, name: str) -> Iterator[int]:
    """Another process that sleeps and serves this handler; its slot."""
    start, end = store.segment.layout.sleep_map, store.segment.layout.quiet_map
    before = store.segment.bytes[start:end]
    with process(lambda: [store.waiting.lie_down(only(name), None)]):
        after = store.segment.bytes[start:end]
        [slot] = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        yield slot
