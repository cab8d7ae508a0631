"""Threads and tubes that C meets for the first time: it reads their names, and goes on as Python does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardq.errors import SegmentForeign
from shardq.model import Part, Terms
from shardq.shm import words as at
from shardq.shm.store import Store
from tests.faults.kit.points import Child
from tests.support.engines import needs_c, stands_in, store_of, turn_in_c
from tests.support.segments import NewStore

pytestmark = needs_c

NAMES = frozenset(["m/H", "m/Größe"])
TERMS = dict.fromkeys(NAMES, Terms((1, 0), 3))
MESSAGES = [b"one", b"two"]


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return looked(store_of("c", new_store, 16 << 20, 64))


@pytest.fixture
def other(new_store: NewStore) -> Store:
    """A store in Python."""
    return looked(store_of("python", new_store, 16 << 20, 64))


def looked(store: Store) -> Store:
    """This process has looked for work, and there was none."""
    assert store.delivering.turn(None, NAMES, TERMS, stay=True) is None
    return store


def appended_elsewhere(parts: list[Part], *stores: Store) -> None:
    """By another process: this one finds none of the tubes by its name."""
    assert all(Child(lambda: [store.appending.append(parts) for store in stores]).result())


def test_what_another_process_made_is_handed_out_and_acknowledged_in_c(store: Store, other: Store) -> None:
    pipes = ["m/H/a/0", "m/H/a/1", "m/Größe/über/0", "m/H/b/1", "m/H//0"]
    given = list[str]()
    appended_elsewhere([(pipe, MESSAGES) for pipe in pipes], store, other)
    hand = expected = None
    for _ in range(len(pipes) + 1):
        hand, done, _ = turn_in_c(store, hand, NAMES, TERMS, stay=True)
        expected = other.delivering.turn(expected, NAMES, TERMS, stay=True)
        assert done
        assert hand
        assert expected
        assert (hand.key, hand.token, hand.batch.pipe) == (expected.key, expected.token, expected.batch.pipe)
        assert hand.batch.messages == expected.batch.messages
        assert stands_in(store.segment) == stands_in(other.segment)
        given.append(hand.batch.pipe)
    assert sorted(given) == sorted(["", *pipes])
    # With an empty batch the thread is found by its key.
    assert turn_in_c(store, hand, NAMES, TERMS, stay=True)[0] == hand


def test_c_sends_on_to_a_tube_that_it_handed_out_of(store: Store) -> None:
    appended_elsewhere([("m/H/a/0", MESSAGES)], store)
    assert turn_in_c(store, None, NAMES, TERMS, stay=True)
    in_c = store._parts.core.append([("m/H/a/0", [b"three"])], at.GENERAL)
    assert in_c
    assert store.reading.length("m/H/a/0") == 3


def test_a_thread_whose_entry_became_another_ones_is_met_again(new_store: NewStore) -> None:
    store = looked(store_of("c", new_store, 16 << 20, 16))
    met = set[str]()
    for n in range(64):  # more than there are entries for
        appended_elsewhere([(f"m/H/{n}/0", MESSAGES)], store)
        hand = store.delivering.turn(None, NAMES, TERMS, stay=True)
        assert hand
        assert (hand.batch.pipe, hand.batch.messages) == (f"m/H/{n}/0", MESSAGES)
        met.add(hand.key)
        hand = store.delivering.turn(hand, NAMES, TERMS, stay=True)
        assert hand
        assert store.delivering.unclaim(hand.key, hand.token)
    assert len(met) == 64


def _no_text(store: Store, name: int, length: int) -> None:
    store.segment.bytes[name] = 0xFF


def _no_slash(store: Store, name: int, length: int) -> None:
    for place in range(name, name + store.segment.words[length]):
        store.segment.bytes[place] = ord("x")


def _too_long(store: Store, name: int, length: int) -> None:
    store.segment.words[length] = at.NAME_BYTES + 1


def _no_name(store: Store, name: int, length: int) -> None:
    store.segment.words[length] = 0


@pytest.mark.parametrize("spoil", [_no_text, _no_slash, _too_long, _no_name])
def test_a_name_that_cannot_be_is_left_to_python(store: Store, spoil: Callable[[Store, int, int], None]) -> None:
    appended_elsewhere([("m/H/a/0", MESSAGES)], store)
    layout = store.segment.layout
    spoil(store, layout.thread_name(0), layout.thread_word(0) + at.THREAD_NAME_BYTES)
    before = stands_in(store.segment)
    assert turn_in_c(store, None, NAMES, TERMS, stay=True) is None
    assert stands_in(store.segment) == before
    with pytest.raises((SegmentForeign, UnicodeDecodeError)):
        store.delivering.turn(None, NAMES, TERMS, stay=True)
