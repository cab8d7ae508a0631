"""How much of a segment is for whom: the general share, follow-ups, and what is kept for dead letters."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from shardq.errors import MessageTooLarge
from shardq.shm import words as at
from shardq.shm.deferred.records import key_in
from shardq.shm.memory import extents
from shardq.shm.store import Store
from shardq.shm.words import FOLLOW_UP, PAGE
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.segments import NewStore

PIPE, KEY = "m/H/0/0", "m/H/0"
OTHER, GRAVE = "m/Other/0/0", "m/H/dead/0"
#: When nothing is due that these tests defer.
FAR_US = 1 << 52
KIB = 1024


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return new_store(MIB)


def fill(store: Store, size: int) -> int:
    count = 0
    while store.appending.append([(PIPE, [bytes(size)])]):
        count += 1
    return count


def test_follow_ups_get_through_where_others_do_not(store: Store) -> None:
    fill(store, 4 * KIB)
    assert store.appending.append([(OTHER, [bytes(8 * KIB)])], share=FOLLOW_UP)
    assert not store.appending.append([(OTHER, [bytes(8 * KIB)])])


def test_what_leaves_makes_room_for_a_follow_up_that_found_none(store: Store) -> None:
    """And not for the producers that wait as well."""
    fill(store, 4 * KIB)
    large = [bytes(100 * KIB)]
    assert not store.appending.append([(OTHER, large)], share=FOLLOW_UP)
    token = store.delivering.claim(KEY)
    for _ in range(100):
        batch = hands.take(store.delivering, [PIPE], 1, token)
        hands.pop(store.delivering, PIPE, batch.through, token)
        if store.appending.append([(OTHER, large)], share=FOLLOW_UP):
            return
        fill(store, 4 * KIB)
    raise AssertionError("the follow-up never found room")


def test_the_reserve_ends_with_a_page_whatever_a_follow_up_wanted(new_store: NewStore) -> None:
    """Of this capacity a quarter does not. What lies behind it is given back after each death."""
    store = new_store(512 * KIB)
    filled = fill(store, 3 * KIB)
    assert not store.appending.append([(OTHER, [bytes(16 * KIB)] * 8)], share=FOLLOW_UP)
    assert store.segment.words[at.WANTED_BYTES] % PAGE
    token = store.delivering.claim(KEY)
    for _ in range(filled * 9 // 10):
        batch = hands.take(store.delivering, [PIPE], 1, token)
        hands.pop(store.delivering, PIPE, batch.through, token)
    assert store.appending.append([(OTHER, [bytes(5 * KIB)])])
    assert store.segment.words[at.RESERVED_BYTES] % PAGE == 0
    with store._section:
        store._journal.declare(0)
        store._recovery.mend()  # as after a death


def defer_one(store: Store) -> None:
    assert store.deferring.defer([(OTHER, [b"later"])], FAR_US)


def defer_larger_ones(store: Store) -> None:
    """Which have extents of their own."""
    for number in range(20):
        assert store.deferring.defer([(OTHER, [b"%d" % number + bytes(4 * KIB)])], FAR_US)


def repeat_one(store: Store) -> None:
    assert store.deferring.repeat([(OTHER, [b"again"])], "every 60", FAR_US)


def drain(store: Store) -> None:
    token = store.delivering.claim(KEY)
    while (batch := hands.take(store.delivering, [PIPE], 1000, token)).count:
        hands.pop(store.delivering, PIPE, batch.through, token)
    store.delivering.unclaim(KEY, token)


@pytest.mark.parametrize("wait", [lambda _: None, defer_one, defer_larger_ones, repeat_one])
def test_where_nothing_is_queued_nothing_is_kept_for_what_was(store: Store, wait: Callable[[Store], None]) -> None:
    """For the follow-up that found no room, and the letter of a large message: whatever waits for its time."""
    wait(store)
    count = fill(store, 4 * KIB)
    assert not store.appending.append([(OTHER, [bytes(200 * KIB)])], share=FOLLOW_UP)
    drain(store)
    assert store.appending.append([(PIPE, [bytes(200 * KIB)])])
    drain(store)

    assert fill(store, 4 * KIB) == count


@pytest.mark.parametrize("looked_at", [0, 64], ids=["among more than are looked at", "looked at"])
def test_where_nothing_is_queued_room_is_kept_for_the_letter_of_what_waits(
    store: Store, looked_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extents, "_LOOKED_AT", looked_at)
    assert store.deferring.defer([(PIPE, [bytes(150 * KIB)])], FAR_US)
    assert store.appending.append([(PIPE, [bytes(200 * KIB)])])
    drain(store)
    fill(store, 4 * KIB)
    drain(store)
    assert store.deferrals.run(key_in(store.deferrals.page()[0].id))
    fill(store, 4 * KIB)

    token = store.delivering.claim(KEY)
    sequence = hands.take(store.delivering, [PIPE], 1, token).sequence
    assert hands.bury(store.burying, PIPE, sequence, token, GRAVE, bytes(160 * KIB), 10).buried


def test_what_could_not_be_buried_is_not_taken(store: Store) -> None:
    """A message of more than half of the capacity would leave no room for its letter."""
    with pytest.raises(MessageTooLarge):
        store.appending.append([(PIPE, [bytes(600 * KIB)])])
    assert store.appending.append([(PIPE, [bytes(300 * KIB)])])
    fill(store, 4 * KIB)
    token = store.delivering.claim(KEY)
    sequence = hands.take(store.delivering, [PIPE], 1, token).sequence
    assert hands.bury(store.burying, PIPE, sequence, token, GRAVE, bytes(310 * KIB), 10).buried


@pytest.mark.parametrize("threads", [1, 10_000], ids=["in-one-thread", "each-in-its-own"])
def test_a_store_full_of_what_waits_for_its_time_empties(new_store: NewStore, threads: int) -> None:
    store, count = new_store(2 * MIB), 0
    while store.deferring.defer([(f"app/Later/{count % threads}/0", [b"%0200d" % count])], 1):
        count += 1

    done: list[bytes] = []
    while True:
        store.deferring.promote(2)
        key = store.waiting.find_work(None)
        if key is None:
            break
        token = store.delivering.claim(key)
        batch = hands.take(store.delivering, [f"{key}/0"], 100, token)
        hands.pop(store.delivering, f"{key}/0", batch.through, token)
        assert store.delivering.unclaim(key, token)
        done += batch.messages

    assert (done if threads == 1 else sorted(done)) == [b"%0200d" % number for number in range(count)]
    assert count > 1000


def test_what_is_cancelled_makes_room_for_as_much_again(new_store: NewStore) -> None:
    store = new_store(MIB)
    messages, waiting = map(b"%0200d".__mod__, count()), list[bytes]()

    def fill_up() -> int:
        before = len(waiting)
        for message in messages:
            if not store.deferring.defer([(PIPE, [message])], FAR_US):
                break
            waiting.append(message)
        return len(waiting) - before

    assert fill_up() > 1000
    for part in (2, 10):
        gone = waiting[::part]
        del waiting[::part]
        assert store.deferring.remove(PIPE, gone) == len(gone)
        assert fill_up() >= len(gone)
    assert store.appending.append_absent([(PIPE, waiting)]) == 0


def test_recurrent_messages_leave_what_is_deferred_its_room(new_store: NewStore) -> None:
    store = new_store(1 * MIB)
    assert store.deferring.defer([("app/Later/0/0", [b"deferred"])], 3)
    assert store.deferring.repeat([("app/Often/0/0", [bytes(1000)])], "every 1", 1)
    now_us = 1
    while True:
        found = store.deferring.promote(now_us).recurrent
        assert found
        if not store.deferring.recur(found, now_us):
            break

    store.deferring.promote(4)

    assert store.reading.read("app/Later/0/0", 9).messages == [b"deferred"]


def remove_queued(store: Store, messages: list[bytes]) -> None:
    assert store.appending.append_absent([(PIPE, messages)]) == len(messages)
    assert store.removing.remove(PIPE, messages) == len(messages)


def remove_deferred(store: Store, messages: list[bytes]) -> None:
    assert store.deferring.defer([(PIPE, messages)], FAR_US)
    assert store.deferring.remove(PIPE, messages) == len(messages)


def cancel(store: Store, messages: list[bytes]) -> None:
    assert store.deferring.defer([(PIPE, messages)], FAR_US)
    while page := store.deferrals.page(None):
        assert store.deferrals.cancel([key_in(its.id) for its in page]) == len(page)


def end_schedules(store: Store, messages: list[bytes]) -> None:
    assert store.deferring.repeat([(PIPE, messages)], "every 60", FAR_US) == len(messages)
    while page := store.deferring.scheduled():
        assert all(store.deferring.skip(its, None) for its in page)


def bury(store: Store, messages: list[bytes]) -> None:
    assert store.appending.append_absent([(PIPE, messages)]) == len(messages)
    token = store.delivering.claim(KEY)
    for _ in messages:
        sequence = hands.take(store.delivering, [PIPE], 1, token).sequence
        assert hands.bury(store.burying, PIPE, sequence, token, GRAVE, b"letter", 1).buried


@pytest.mark.parametrize("leave", [remove_queued, remove_deferred, cancel, end_schedules, bury])
def test_when_all_have_left_however_nothing_is_kept_to_find_equal_ones(
    store: Store, leave: Callable[[Store, list[bytes]], None]
) -> None:
    leave(store, [b"%d" % n for n in range(300)])

    assert not store.segment.words[at.EQUALITY_STATE]
    assert store.appending.append([(PIPE, [bytes(store.limits.message_bytes)])])
