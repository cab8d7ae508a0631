"""What is said of the message at the head is said of its number, and void once that is gone."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from shardq.shm import words as at
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck
from tests.support import hands
from tests.support.holder import holder

PIPE, KEY = "m/H/0/0", "m/H/0"
OTHER = "m/H/0/5"


@pytest.fixture
def token(store: Store) -> int:
    return store.delivering.claim(KEY)


def filled(store: Store, count: int, pipe: str = PIPE) -> None:
    assert store.appending.append([(pipe, [b"%d" % n for n in range(count)])])


def taken(store: Store, token: int, limit: int = 99) -> list[bytes]:
    return hands.take(store.delivering, [PIPE], limit, token).messages


def failures(store: Store, token: int) -> int:
    """Of the message at the head, as the worker that takes it is told."""
    failed = hands.take(store.delivering, [PIPE], 1, token).failed
    return failed.attempts if failed else 0


def fail_alone(store: Store, token: int, times: int) -> None:
    for attempts in range(1, times + 1):
        assert len(taken(store, token, 1)) == 1
        assert hands.fail(store.delivering, PIPE, token).attempts == attempts


@pytest.mark.parametrize("times", [1, 2, 7])
def test_a_message_that_fails_alone_is_counted_and_stays_alone(store: Store, token: int, times: int) -> None:
    filled(store, 3)
    fail_alone(store, token, times)
    batch = hands.take(store.delivering, [PIPE], 99, token)
    assert batch.messages == [b"0"]
    assert batch.failed is not None
    assert batch.failed.attempts == times
    assert batch.failed.ending is None


def pop(store: Store, token: int) -> None:
    hands.pop(store.delivering, PIPE, store.reading.read(PIPE, 1).through, token)


def remove(store: Store, token: int) -> None:
    store.delivering.unclaim(KEY, token)
    assert store.removing.remove(PIPE, [b"0"]) == 1
    assert store.delivering.claim(KEY)


def bury(store: Store, token: int) -> None:
    assert hands.bury(
        store.burying, PIPE, store.reading.read(PIPE, 1).sequence, token, "m/H/dead/0", b"letter", 9
    ).buried


@pytest.mark.parametrize("leave", [pop, remove, bury])
def test_failures_are_void_once_their_message_left(
    store: Store, token: int, leave: Callable[[Store, int], None]
) -> None:
    filled(store, 3)
    fail_alone(store, token, 4)
    leave(store, token)
    batch = hands.take(store.delivering, [PIPE], 99, store.segment.words[at.TOKEN])
    assert (batch.messages, batch.failed) == ([b"1", b"2"], None)


def test_the_next_message_begins_to_count_at_one(store: Store, token: int) -> None:
    filled(store, 2)
    fail_alone(store, token, 4)
    pop(store, token)
    fail_alone(store, token, 2)
    assert failures(store, token) == 2


def test_the_first_message_of_a_new_tube_begins_to_count_at_one(store: Store, token: int) -> None:
    """Its number is 0, which is also what the words say of a tube in which nothing failed."""
    filled(store, 1)
    assert store.reading.read(PIPE, 1).sequence == 0
    assert failures(store, token) == 0
    fail_alone(store, token, 1)


def test_failures_tell_when_the_first_and_the_last_were(store: Store, token: int) -> None:
    filled(store, 1)
    before_us = time.time_ns() // 1000
    fail_alone(store, token, 1)
    between_us = time.time_ns() // 1000
    taken(store, token)
    hands.fail(store.delivering, PIPE, token)
    after_us = time.time_ns() // 1000
    failed = hands.take(store.delivering, [PIPE], 1, token).failed
    assert failed is not None
    assert before_us <= failed.first_us <= between_us <= failed.last_us <= after_us


def test_several_that_failed_come_one_by_one(store: Store, token: int) -> None:
    filled(store, 20)
    for size, attempts in ((13, 0), (1, 1), (1, 2)):
        assert len(taken(store, token, 13)) == size
        assert hands.fail(store.delivering, PIPE, token).attempts == attempts


def test_batches_grow_again_behind_those_that_failed_together(store: Store, token: int) -> None:
    filled(store, 20)
    taken(store, token, 8)
    hands.give_back(store.delivering, PIPE, token, 4)
    sizes = []
    while batch := taken(store, token):
        sizes.append(len(batch))
        hands.pop(store.delivering, PIPE, store.reading.read(PIPE, len(batch)).through, token)
    assert sizes == [4, 4, 12]


def test_of_what_is_taken_with_removed_ones_between_each_comes_alone(store: Store, token: int) -> None:
    filled(store, 9)
    assert store.removing.remove(PIPE, [b"%d" % n for n in range(1, 8)]) == 7
    assert taken(store, token) == [b"0", b"8"]
    assert hands.fail(store.delivering, PIPE, token).attempts == 0
    assert taken(store, token) == [b"0"]


def test_without_counting_several_become_fewer_and_one_stays_uncounted(store: Store, token: int) -> None:
    filled(store, 4)
    for size in (4, 2, 1, 1):
        assert len(taken(store, token, 4)) == size
        hands.give_back(store.delivering, PIPE, token, size // 2)
    assert failures(store, token) == 0


def test_only_what_is_in_hand_can_fail(store: Store, token: int) -> None:
    filled(store, 2)
    assert hands.fail(store.delivering, PIPE, token).attempts == 0
    taken(store, token, 1)
    assert hands.fail(store.delivering, PIPE, token).attempts == 1
    assert hands.fail(store.delivering, PIPE, token).attempts == 0
    assert failures(store, token) == 1


def test_what_was_released_or_acknowledged_has_not_failed(store: Store, token: int) -> None:
    filled(store, 3)
    taken(store, token, 1)
    assert store.delivering.unclaim(KEY, token)
    token = store.delivering.claim(KEY)
    assert hands.fail(store.delivering, PIPE, token).attempts == 0
    assert hands.take(store.delivering, [PIPE], 2, token).failed is None
    hands.pop(store.delivering, PIPE, store.reading.read(PIPE, 2).through, token)
    assert hands.fail(store.delivering, PIPE, token).attempts == 0
    assert failures(store, token) == 0


def test_the_last_of_a_batch_fails_alone(store: Store, token: int) -> None:
    filled(store, 3)
    taken(store, token, 3)
    hands.pop(store.delivering, PIPE, store.reading.read(PIPE, 2).through, token)
    assert hands.fail(store.delivering, PIPE, token).attempts == 1


def test_tubes_of_a_thread_count_apart(store: Store, token: int) -> None:
    filled(store, 1)
    filled(store, 1, OTHER)
    fail_alone(store, token, 3)
    assert hands.take(store.delivering, [OTHER], 1, token).failed is None
    assert hands.fail(store.delivering, OTHER, token).attempts == 1
    assert failures(store, token) == 3


def test_failures_outlast_the_claim_and_leave_the_segment_whole(store: Store, token: int) -> None:
    filled(store, 3)
    fail_alone(store, token, 2)
    assert store.delivering.unclaim(KEY, token)
    assert fsck(store.segment) == []
    assert failures(store, store.delivering.claim(KEY)) == 2


def test_a_known_claim_is_seen_while_another_process_has_the_guard(store: Store) -> None:
    token = store.delivering.claim("app/Job/7")
    with holder(store.segment.name, "hold") as other:
        other.hear()
        assert store.delivering.claimed("app/Job/7")
    assert store.delivering.unclaim("app/Job/7", token)
    assert not store.delivering.claimed("app/Job/7")


def test_an_entry_that_became_another_threads_is_not_the_claim(store: Store) -> None:
    """It is that of a claim which another process made meanwhile, on another thread."""
    assert store.delivering.claim("app/Job/7")
    thread = store.segment.layout.thread_word(store.delivering._directory.thread("app/Job/7"))
    assert store.delivering._claims.seen_owned("app/Job/7")

    store.segment.words[thread + at.THREAD_GENERATION] += 1

    assert not store.delivering._claims.seen_owned("app/Job/7")
