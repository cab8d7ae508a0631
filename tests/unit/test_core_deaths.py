"""Threads whose worker died: C ends the dead one's binding as Python does, and goes on with what it had in hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardq.model import EMPTY, Ending, Hand, Terms
from shardq.shm import words as at
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck
from tests.support.deaths import become_of_the_dead
from tests.support.engines import needs_c, stands_in, store_of, turn_in_c
from tests.support.segments import NewStore

pytestmark = needs_c

KEY, PIPE = "m/H/1", "m/H/1/0"
NAMES = frozenset(["m/H"])
TERMS = {"m/H": Terms((0,), 3)}
#: Of processes that there never were, so they are dead whoever looks.
DEAD = [incarnation << 16 | 9 for incarnation in range(70, 140)]
KILLED = Ending(9)
MESSAGES = [b"one", b"two", b"three"]


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return ready(store_of("c", new_store, 16 << 20, 16))


@pytest.fixture
def other(new_store: NewStore) -> Store:
    """A store in Python."""
    return ready(store_of("python", new_store, 16 << 20, 16))


def ready(store: Store) -> Store:
    """With messages, of a handler for which this process has looked."""
    assert store.appending.append([(PIPE, MESSAGES)])
    token = store.delivering.claim(KEY)
    assert store.delivering.turn(Hand(KEY, token, EMPTY), NAMES, TERMS, stay=False)
    assert store.delivering.unclaim(KEY, token)
    return store


def leave_to_the_dead(
    store: Store, owner: int, count: int, ending: Ending | None = KILLED, *, seen: bool = True
) -> None:
    token = store.delivering.claim(KEY)
    assert store.delivering.take(KEY, token, Terms((0,), count)).count == count
    if ending:
        ExitLog(store.segment).note(owner, ending)
    become_of_the_dead(store, KEY, owner, seen=seen)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "ending", [None, KILLED, Ending(9, timed_out=True), Ending(exit_code=3)], ids=["unknown", "killed", "hung", "exit"]
)
def test_c_goes_on_behind_one_death_after_another_as_python_does(
    store: Store, other: Store, count: int, ending: Ending | None
) -> None:
    for times, owner in enumerate(DEAD[:3], 1):
        for each in (store, other):
            leave_to_the_dead(each, owner, count if times == 1 else 1, ending)
        hand, done, _ = turn_in_c(store, None, NAMES, TERMS, stay=False)
        assert done
        expected = other.delivering.turn(None, NAMES, TERMS, stay=False)
        assert expected
        assert (hand.key, hand.token) == (expected.key, expected.token)
        assert (hand.batch.messages, hand.batch.count) == (expected.batch.messages, 1) == (MESSAGES[:1], 1)
        failures = times if count == 1 else times - 1
        for failed in (hand.batch.failed, expected.batch.failed):
            assert failed[:1] + failed[3:] == (failures, ending or Ending()) if failures else failed is None
        assert stands_in(store.segment) == stands_in(other.segment)
        for each in (store, other):
            assert each.delivering.unclaim(KEY, hand.token)
    assert fsck(store.segment) == []


def test_a_batch_that_failed_before_goes_on_by_halves_as_in_python(store: Store, other: Store) -> None:
    batches = []
    for each in (store, other):
        hand = each.delivering.turn(None, NAMES, TERMS, stay=False)
        assert hand
        each.delivering.give_back(hand, 2)
        found = each.delivering.turn(hand._replace(batch=EMPTY), NAMES, TERMS, stay=True)
        assert found
        batches.append(found.batch.messages)
    assert batches == [MESSAGES[:2]] * 2
    assert stands_in(store.segment) == stands_in(other.segment)


def test_a_sleeper_of_c_that_sees_a_death_gets_up_with_what_the_dead_had(store: Store) -> None:
    token = store.delivering.claim(KEY)
    assert store.delivering.take(KEY, token, Terms((0,), 1)).count
    store.waiting.deaths()
    assert store.delivering.rest(None, NAMES, TERMS, stay=False).asleep
    become_of_the_dead(store, KEY, DEAD[0])

    assert store.core.engine
    turned = store.core.engine.rest(None, NAMES, TERMS, False, True, True)

    assert turned
    assert len(turned) == 3, "it is the sleeper that is called to the thread, and rings itself"
    hand, done, lies_down = turned
    assert hand
    assert hand.batch.failed
    assert (done, lies_down, store.waiting.sleeping) == (True, False, 0)
    assert (hand.batch.messages, hand.batch.failed.attempts) == (MESSAGES[:1], 1)
    assert store.segment.bytes[store.segment.layout.sleep_map + store.slot] == at.AWAKE


def _had_nothing(store: Store) -> None:
    store.delivering.claim(KEY)
    become_of_the_dead(store, KEY, DEAD[0])


def _was_not_seen(store: Store) -> None:
    leave_to_the_dead(store, DEAD[0], 1, seen=False)
    store._parts.watch.on_end(DEAD[1])


def _is_not_to_blame(store: Store) -> None:
    leave_to_the_dead(store, DEAD[0], 1, None)
    ExitLog(store.segment).note(DEAD[0], KILLED, excused=True)


def _has_one_taken_out(store: Store) -> None:
    leave_to_the_dead(store, DEAD[0], 2)
    store.segment.words[_tube_word(store) + at.TUBE_CANCELLED] = 1


def _has_more_than_there_is(store: Store) -> None:
    leave_to_the_dead(store, DEAD[0], 2)
    store.segment.words[_tube_word(store) + at.TUBE_HANDED] = 9


def _took_from_nowhere(store: Store) -> None:
    leave_to_the_dead(store, DEAD[0], 2)
    store.segment.words[store.segment.layout.thread_word(0) + at.THREAD_TAKEN] = 1 << 40


def _died_long_ago(store: Store) -> None:
    leave_to_the_dead(store, DEAD[0], 1)
    for owner in DEAD[1:66]:
        store._parts.watch.on_end(owner)


def _tube_word(store: Store) -> int:
    return store.segment.layout.tube_word(store._parts.tubes.directory.tube(PIPE)[1])


@pytest.mark.parametrize(
    "what",
    [
        _had_nothing,
        _was_not_seen,
        _is_not_to_blame,
        _has_one_taken_out,
        _has_more_than_there_is,
        _took_from_nowhere,
        _died_long_ago,
    ],
)
def test_a_death_that_is_odd_is_left_to_python(store: Store, what: Callable[[Store], None]) -> None:
    what(store)
    before = stands_in(store.segment)
    assert turn_in_c(store, None, NAMES, TERMS, stay=False) is None
    assert stands_in(store.segment) == before
