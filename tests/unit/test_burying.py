"""Room for dead letters: how many a grave keeps, how large it grows, and what happens where there is none."""

from __future__ import annotations

import pytest

from shardq.shm import words as at
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.listing import listed
from tests.support.segments import NewStore

PIPE, KEY, GRAVE = "m/H/0/0", "m/H/0", "m/H/dead/0"
ALL = 1 << 30
MANY = 10_000
KIB = 1 << 10


@pytest.fixture
def token(store: Store) -> int:
    return store.delivering.claim(KEY)


def bury(store: Store, token: int, letter: bytes, most: int = MANY, grave: str = GRAVE) -> bool:
    """Put a letter in the place of a message that is all there is in its tube."""
    assert store.appending.append([(PIPE, [b"message"])])
    return bury_head(store, token, letter, most, grave)


def bury_head(store: Store, token: int, letter: bytes, most: int = MANY, grave: str = GRAVE) -> bool:
    return hands.bury(store.burying, PIPE, store.reading.read(PIPE, 1).sequence, token, grave, letter, most).buried


def letters(store: Store, grave: str = GRAVE) -> list[bytes]:
    return store.reading.read(grave, ALL).messages


def fill(store: Store, pipe: str = PIPE) -> None:
    for size in (64 * KIB, 4 * KIB, 256):
        while store.appending.append([(pipe, [b"f" * size])]):
            pass


def numbered(count: int, size: int) -> list[bytes]:
    return [b"%0*d" % (size, n) for n in range(count)]


def test_a_letter_is_there_instead_of_its_message(store: Store, token: int) -> None:
    assert bury(store, token, b"letter")
    assert letters(store) == [b"letter"]
    assert store.reading.length(PIPE) == 0
    assert store.inspection.counts()[:4] == (1, 1, 1, 1)


def test_of_too_many_letters_the_oldest_go(store: Store, token: int) -> None:
    for letter in numbered(5, 4):
        assert bury(store, token, letter, most=3)
    assert letters(store) == numbered(5, 4)[2:]
    assert store.inspection.counts()[:4] == (5, 5, 5, 3)


def test_letters_keep_within_a_sixteenth_of_the_capacity(store: Store, token: int) -> None:
    written = numbered(40, 5 * KIB)
    for letter in written:
        assert bury(store, token, letter)
        assert sum(map(len, letters(store))) <= MIB // at.RESERVE_PART
        assert letters(store) == written[: written.index(letter) + 1][-len(letters(store)) :]
    assert fsck(store.segment) == []


def test_only_as_many_letters_go_as_must(store: Store, token: int) -> None:
    """A handler that buries a lot loses its oldest letters, not all of them every now and then."""
    kept = []
    for letter in numbered(60, 2 * KIB):
        assert bury(store, token, letter)
        kept.append(sum(map(len, letters(store))))
    assert min(kept[30:]) >= MIB // at.RESERVE_PART // 4, f"so many bytes of letters were left: {kept[30:]}"


def test_handlers_have_a_sixteenth_each(store: Store, token: int) -> None:
    for letter in numbered(3, 10 * KIB):
        assert bury(store, token, letter)
        assert bury(store, token, letter, grave="m/Other/dead/0")
    assert letters(store) == letters(store, "m/Other/dead/0") == numbered(3, 10 * KIB)


def test_a_letter_larger_than_a_sixteenth_is_kept_alone(store: Store, token: int) -> None:
    assert bury(store, token, b"small")
    large = b"l" * (MIB // at.RESERVE_PART + KIB)
    assert bury(store, token, large)
    assert letters(store) == [large]


def test_a_full_segment_has_room_for_letters(store: Store, token: int) -> None:
    fill(store)
    assert not store.appending.append([(PIPE, [b"f" * 256])])
    assert bury_head(store, token, b"l" * (8 * KIB))
    assert letters(store) == [b"l" * (8 * KIB)]


def test_without_room_the_oldest_letters_of_the_largest_grave_go(store: Store, token: int) -> None:
    """Other handlers' letters have taken all of the reserve, and there is always another handler."""
    assert store.appending.append([(PIPE, [b"small"] * 99)])
    fill(store)
    for number in range(90):
        assert bury_head(store, token, b"c" * (20 * KIB), grave=f"m/Crowd{number}/dead/0")
        assert store.segment.taken_bytes <= MIB
    assert store.inspection.counts().buried == 90
    assert 0 < store.inspection.counts().dead < 90
    assert len(listed(store.burying.graves)) == store.inspection.counts().dead
    assert fsck(store.segment) == []


def test_without_any_room_the_message_stays(store: Store, token: int) -> None:
    fill(store)
    before = store.reading.read(PIPE, ALL).messages
    assert bury_head(store, token, b"l" * MIB) is False
    assert store.reading.read(PIPE, ALL).messages == before
    assert letters(store) == []
    assert store.inspection.counts()[:4] == (len(before), 0, 0, 0)
    assert fsck(store.segment) == []
    assert bury_head(store, token, b"letter")


def test_what_was_accepted_can_be_buried_after_the_tables_grew(new_store: NewStore) -> None:
    """A letter of more than one piece, of a message that is larger by then than any that would be accepted."""
    store = new_store(4 * MIB)
    most = store.limits.message_bytes
    assert store.appending.append([(PIPE, [b"m" * most])])
    token = store.delivering.claim(KEY)
    for number in range(at.LARGEST_HANDLER):
        store._parts.tubes.handlers.number(f"m/Handler{number}")
    assert store.limits.message_bytes < most - 16 * KIB
    letter = b"l" * (most + 16 * KIB)
    assert bury_head(store, token, letter)
    assert letters(store) == [letter]


def test_letters_outlive_a_reclaim_of_the_directory(new_store: NewStore) -> None:
    store = new_store(MIB, 8)
    assert bury(store, store.delivering.claim(KEY), b"letter")
    for number in range(40):
        assert store.appending.append([(f"m/Passing/{number}/0", [b"x"])])
        assert store.removing.remove(f"m/Passing/{number}/0", [b"x"]) == 1
    assert letters(store) == [b"letter"]
    assert store.burying.graves() == [GRAVE]


def test_an_emptied_grave_gives_its_entry_back(new_store: NewStore) -> None:
    store = new_store(MIB, 8)
    assert bury(store, store.delivering.claim(KEY), b"letter")
    assert store.burying.drop(GRAVE, [store.reading.read(GRAVE, 1).sequence]) == 1
    for number in range(7):
        assert store.appending.append([(f"m/Other/{number}/0", [b"x"])])
    assert store.burying.graves() == []
    assert fsck(store.segment) == []


def test_putting_back_makes_the_letter_a_message_with_a_number_of_its_own(store: Store, token: int) -> None:
    assert bury(store, token, b"letter")
    former = store.reading.read(GRAVE, 1).sequence
    assert store.burying.requeue(GRAVE, former, PIPE, b"message")
    batch = hands.take(store.delivering, [PIPE], 9, token)
    assert (batch.messages, batch.sequence, batch.failed) == ([b"message"], 1, None)
    assert store.inspection.counts()[:4] == (2, 1, 1, 0)
    assert store.burying.requeue(GRAVE, former, PIPE, b"message") is None


def test_what_is_put_in_front_is_of_the_tube(store: Store, token: int) -> None:
    assert bury(store, token, b"letter")
    assert store.appending.append([(PIPE, [b"waiting"])])
    assert store.burying.requeue(GRAVE, store.reading.read(GRAVE, 1).sequence, PIPE, b"message", front=True)
    assert store.reading.pipes() == [PIPE]
    assert store.reading.read(PIPE, 9).messages == [b"message", b"waiting"]
    assert hands.take(store.delivering, [PIPE], 9, token).messages == [b"message"]
    assert fsck(store.segment) == []


def test_a_large_message_that_was_put_back_can_be_buried_again(new_store: NewStore) -> None:
    store = new_store(MIB)
    token = store.delivering.claim(KEY)
    large = b"l" * (128 * KIB)
    assert store.appending.append([(PIPE, [large])])
    assert bury_head(store, token, large)
    # All is drained, so no room is kept any more.
    assert store.appending.append([("m/Other/0/0", [b"x"])])
    assert store.removing.remove("m/Other/0/0", [b"x"]) == 1
    assert store.burying.requeue(GRAVE, store.reading.read(GRAVE, 1).sequence, PIPE, large)
    fill(store, "m/Other/0/0")
    hands.take(store.delivering, [PIPE], 1, token)

    assert bury_head(store, token, large)
    assert fsck(store.segment) == []


def test_without_room_the_letter_stays(store: Store, token: int) -> None:
    assert bury(store, token, b"letter")
    fill(store)
    before = store.inspection.counts()
    assert store.burying.requeue(GRAVE, store.reading.read(GRAVE, 1).sequence, PIPE, b"m" * 4096) is False
    assert (letters(store), store.inspection.counts()) == ([b"letter"], before)
