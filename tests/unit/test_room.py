"""Who may use how much of a segment: the general share, follow-ups, and what is kept for dead letters."""

from __future__ import annotations

import pytest

from shardq.errors import MessageTooLarge
from shardq.shm.layout import FOLLOW_UP
from shardq.shm.store import Store
from tests.support.drivers import MIB
from tests.support.segments import NewStore

PIPE, KEY = "m/H/0/0", "m/H/0"
OTHER = "m/Other/0/0"
KIB = 1024


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return new_store(MIB)


def fill(store: Store, size: int) -> int:
    count = 0
    while store.append(PIPE, [bytes(size)]):
        count += 1
    return count


def test_follow_ups_get_through_where_others_do_not(store: Store) -> None:
    fill(store, 4 * KIB)
    assert store.append(OTHER, [bytes(8 * KIB)], share=FOLLOW_UP)
    assert not store.append(OTHER, [bytes(8 * KIB)])


def test_what_leaves_makes_room_for_a_follow_up_that_found_none(store: Store) -> None:
    """And not for the producers that wait as well."""
    fill(store, 4 * KIB)
    large = [bytes(100 * KIB)]
    assert not store.append(OTHER, large, share=FOLLOW_UP)
    token = store.claim(KEY)
    for _ in range(100):
        batch = store.take([PIPE], 1, token)
        store.pop(PIPE, batch.through, token)
        if store.append(OTHER, large, share=FOLLOW_UP):
            return
        fill(store, 4 * KIB)
    raise AssertionError("the follow-up never found room")


def test_an_empty_segment_keeps_nothing_for_what_was_wanted(store: Store) -> None:
    count = fill(store, 4 * KIB)
    assert not store.append(OTHER, [bytes(200 * KIB)], share=FOLLOW_UP)
    token = store.claim(KEY)
    store.pop(PIPE, store.take([PIPE], count, token).through, token)
    assert fill(store, 4 * KIB) == count


def test_what_could_not_be_buried_is_not_taken(store: Store) -> None:
    """A message of more than half of the capacity would leave no room for its letter."""
    with pytest.raises(MessageTooLarge):
        store.append(PIPE, [bytes(600 * KIB)])
    assert store.append(PIPE, [bytes(300 * KIB)])
    fill(store, 4 * KIB)
    token = store.claim(KEY)
    sequence = store.take([PIPE], 1, token).sequence
    assert store.letters.bury(PIPE, sequence, token, "m/H/dead/0", bytes(310 * KIB), 10)
