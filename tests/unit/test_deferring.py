"""What waits for its time: in order, not merged, found by equality, and gone once it came."""

from __future__ import annotations

import time
from random import Random

import pytest

from shardq.errors import DirectoryFull, HandlerError, MessageTooLarge
from shardq.shm import words as at
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.segments import NewStore

PIPE, OTHER = "m/H/0/0", "m/H/1/0"
FAR_US = 1 << 52
RARELY, SELDOM = "every 3153600000", "every 3153600001"


def messages(store: Store, pipe: str = PIPE) -> list[bytes]:
    return store.reading.read(pipe, 1 << 30).messages


def promote(store: Store, now_us: int) -> int:
    """Have all come that is due, as far as there is room. When the next is due."""
    while True:
        before = store.inspection.counts().deferred
        promoted = store.deferring.promote(now_us)
        if not 0 < promoted.next_due_us <= now_us or store.inspection.counts().deferred == before:
            return promoted.next_due_us


def drain(store: Store, pipe: str = PIPE, count: int = 1 << 30) -> list[bytes]:
    """Handle the first so many."""
    key = pipe.rpartition("/")[0]
    token = store.delivering.claim(key)
    batch = hands.take(store.delivering, [pipe], count, token)
    hands.pop(store.delivering, pipe, batch.through, token)
    assert store.delivering.unclaim(key, token)
    return batch.messages


def test_what_is_due_comes_in_the_order_of_its_times(store: Store) -> None:
    random = Random(5)
    dues = [random.choice([3, 7, random.randrange(1000)]) + 1 for _ in range(300)]
    for n, due_us in enumerate(dues):
        assert store.deferring.defer([(PIPE, [b"%d %d" % (due_us, n)])], due_us)

    next_due_us = promote(store, 500)

    expected = sorted((due_us, n) for n, due_us in enumerate(dues))
    assert messages(store) == [b"%d %d" % each for each in expected if each[0] <= 500]
    assert next_due_us == next(due_us for due_us, _ in expected if due_us > 500)
    assert fsck(store.segment) == []


def test_nothing_waits_where_nothing_was_deferred(store: Store) -> None:
    assert store.deferring.promote(FAR_US) == (0, None)
    assert not store.deferring.due()


@pytest.mark.parametrize("count", [1, 64, 65, 256, 257, 1000, 3000])
def test_all_of_one_call_are_found(new_store: NewStore, count: int) -> None:
    """The table may grow while they are added."""
    store, many = new_store(4 * MIB), [b"%d" % n for n in range(count)]
    assert store.deferring.defer([(PIPE, many)], FAR_US)

    assert fsck(store.segment) == []
    assert store.appending.append_absent([(PIPE, many)]) == 0
    assert store.deferring.remove(PIPE, many) == count
    assert store.inspection.counts().deferred == 0
    assert fsck(store.segment) == []


def test_what_came_and_went_does_not_refuse_what_comes(store: Store) -> None:
    """Cells are used again and again, and what the table says of them is over."""
    for n in range(25_000):
        assert store.deferring.defer([(PIPE, [b"%d" % n])], FAR_US), f"refused after {n}"
        assert not n or store.deferring.remove(PIPE, [b"%d" % (n - 1)]) == 1
    assert fsck(store.segment) == []


def test_equal_messages_wait_side_by_side_and_are_removed_together(store: Store) -> None:
    for n in range(60):
        assert store.deferring.defer([(PIPE, [b"same", b"same"])], FAR_US + n)
    assert store.deferring.defer([(OTHER, [b"same"])], FAR_US)
    assert store.inspection.counts().deferred == 121

    assert store.deferring.remove(PIPE, [b"same"]) == 120
    assert store.deferring.remove(PIPE, [b"same"]) == 0
    assert store.deferring.remove(OTHER, [b"same"]) == 1
    assert fsck(store.segment) == []


@pytest.mark.parametrize("size", [10, 100, 1900, 2100, 4000, 70_000, 400_000])
def test_records_of_every_size_come_behind_one_another(new_store: NewStore, size: int) -> None:
    store = new_store(8 * MIB)
    sent = [bytes((65 + n,)) * (size + n) for n in range(4)]
    assert store.appending.append([(PIPE, [b"zero"])])
    for n, message in enumerate(sent, 1):
        assert store.deferring.defer([(PIPE, [message, b"%d" % n])], n)
    assert fsck(store.segment) == []

    promote(store, 9)
    assert store.appending.append([(PIPE, [b"last"])])

    assert fsck(store.segment) == []
    wanted = [b"zero", *(part for n, message in enumerate(sent, 1) for part in (message, b"%d" % n)), b"last"]
    assert drain(store) == wanted
    assert fsck(store.segment) == []


def test_what_was_cancelled_does_not_come(store: Store) -> None:
    many = [b"%0100d" % n for n in range(200)]
    for part in (many[:10], many[10:]):
        assert store.deferring.defer([(PIPE, part)], 1)
    gone = [*many[:3], *many[10:40], many[-1]]
    assert store.deferring.remove(PIPE, gone) == len(gone)

    promote(store, 9)

    assert drain(store) == [message for message in many if message not in gone]
    assert store.inspection.counts()[:2] == (len(many) - len(gone), len(many) - len(gone))


def test_absent_sees_what_waits_in_any_way(store: Store) -> None:
    absent = store.appending.append_absent
    assert absent([(PIPE, [b"a", b"b", b"a"])], due_us=FAR_US) == 2
    assert absent([(PIPE, [b"a", b"b", b"c"])]) == 1
    assert absent([(PIPE, [b"c", b"d"])], due_us=1) == 1
    assert absent([(OTHER, [b"a"])]) == 1
    promote(store, 5)
    assert messages(store) == [b"c", b"d"]
    assert absent([(PIPE, [b"a", b"b", b"c", b"d"])]) == 0
    assert drain(store, count=1) == [b"c"]
    assert absent([(PIPE, [b"c", b"d"])]) == 1
    assert messages(store) == [b"d", b"c"]


def test_absent_sees_the_later_of_two_equal_ones(store: Store) -> None:
    """Also where the table changed in between."""
    twice = [b"twice %d" % n for n in range(200)]
    assert store.appending.append_absent([(PIPE, twice)]) == 200
    more = 200
    while not store.segment.words[at.EQUALITY_STATE] >> 8 & 255:
        assert store.appending.append_absent([(PIPE, [b"%d" % more])]) == 1
        more += 1
    assert store.appending.append([(PIPE, twice)])
    drain(store, count=more)

    assert store.appending.append_absent([(PIPE, twice)]) == 0
    assert fsck(store.segment) == []


def test_absent_sees_what_is_in_hand_behind_a_removed_equal_one(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"a", b"b", b"a"])])
    assert store.appending.append_absent([(PIPE, [b"a"])]) == 0
    token = store.delivering.claim("m/H/0")
    assert hands.take(store.delivering, [PIPE], 1, token).messages == [b"a"]
    assert store.removing.remove(PIPE, [b"a"]) == 1

    assert store.appending.append_absent([(PIPE, [b"a"])]) == 0
    hands.pop(store.delivering, PIPE, store.reading.read(PIPE, 1).through, token)
    assert store.appending.append_absent([(PIPE, [b"a"])]) == 1


def test_absent_sees_what_was_put_in_front(store: Store) -> None:
    grave = "m/H/dead/0"
    assert store.appending.append([(PIPE, [b"failed"])])
    head = store.reading.read(PIPE, 1).sequence
    assert hands.bury(store.burying, PIPE, head, store.delivering.claim("m/H/0"), grave, b"letter", 9).buried
    assert store.burying.requeue(grave, store.reading.read(grave, 1).sequence, PIPE, b"again", front=True)

    assert store.appending.append_absent([(PIPE, [b"again", b"new"])]) == 1


def test_a_schedule_is_changed_and_ended(store: Store) -> None:
    repeat = store.deferring.repeat
    assert repeat([(PIPE, [b"a", b"b"])], RARELY, FAR_US) == 2
    assert repeat([(PIPE, [b"a", b"c"])], SELDOM, FAR_US - 1, absent=True) == 1
    assert repeat([(PIPE, [b"b"])], SELDOM, FAR_US - 2) == 1

    listed = [(each.message, each.schedule, each.due_us) for each in store.deferring.scheduled()]
    assert listed == [(b"b", SELDOM, FAR_US - 2), (b"c", SELDOM, FAR_US - 1), (b"a", RARELY, FAR_US)]
    assert store.appending.append_absent([(PIPE, [b"a"])]) == 1
    assert store.deferring.remove(PIPE, [b"a"]) == 0
    assert store.deferring.remove(PIPE, [b"a", b"b", b"x"], recurrent=True) == 2
    assert store.inspection.counts().recurrent == 1
    assert fsck(store.segment) == []


def test_a_time_comes_once_however_many_saw_it(store: Store) -> None:
    assert store.deferring.repeat([(PIPE, [b"a"])], RARELY, 1) == 1
    seen = [store.deferring.promote(5).recurrent for _ in range(2)]
    for found in seen:
        assert found
        assert store.deferring.recur(found, FAR_US)

    assert messages(store) == [b"a"]
    assert store.deferring.promote(5) == (FAR_US, None)


@pytest.mark.parametrize("pipe", ["m/H/x", "no priority", f"m/{'H' * 400}/0/0"])
def test_a_pipe_that_cannot_be_is_refused_at_once(store: Store, pipe: str) -> None:
    """Otherwise it would stand in the way of all others when its time comes."""
    with pytest.raises(HandlerError):
        store.deferring.defer([(pipe, [b"a"])], 1)
    with pytest.raises(HandlerError):
        store.deferring.repeat([(pipe, [b"a"])], RARELY, 1)
    with pytest.raises(HandlerError):
        store.appending.append_absent([(pipe, [b"a"])], due_us=1)
    assert store.deferring.defer([(PIPE, [b"a"])], 1)
    promote(store, 5)
    assert messages(store) == [b"a"]


def test_what_can_never_wait_is_refused_as_such(store: Store) -> None:
    with pytest.raises(MessageTooLarge):
        store.deferring.defer([(PIPE, [b"x" * MIB])], FAR_US)
    with pytest.raises(MessageTooLarge):
        store.deferring.repeat([(PIPE, [b"x" * MIB])], RARELY, FAR_US)
    with pytest.raises(MessageTooLarge):
        store.appending.append_absent([(PIPE, [b"x" * MIB])], due_us=FAR_US)
    assert store.inspection.counts().deferred == 0
    assert fsck(store.segment) == []


def test_a_full_segment_refuses_and_promotes_all_the_same(store: Store) -> None:
    count = 0
    while store.deferring.defer([(PIPE, [b"%0500d" % count])], 1):
        count += 1
    assert count > 500

    came: list[bytes] = []
    while given := [promote(store, time.time_ns() // 1000), *drain(store)][1:]:
        came += given

    assert came == [b"%0500d" % n for n in range(count)]
    assert fsck(store.segment) == []
    assert store.deferring.defer([(PIPE, [b"%0500d" % 0])], 1)


def fill_directory(store: Store) -> None:
    for number in range(1 << 10):
        assert store.appending.append([(f"m/Full/{number}/0", [b"x"])], share=at.FOLLOW_UP)


def test_what_finds_no_entry_holds_up_its_own_pipe_and_no_other(new_store: NewStore) -> None:
    store, new = new_store(MIB, threads=8), "m/New/0/0"
    assert store.appending.append([(PIPE, [b"first"])])
    with pytest.raises(DirectoryFull):
        fill_directory(store)
    assert store.deferring.defer([(new, [b"one"])], 1)
    assert store.deferring.repeat([(new, [b"two"])], RARELY, 2)
    assert store.deferring.defer([(new, [b"three"])], 3)
    assert store.deferring.defer([(PIPE, [b"second"])], 4)
    assert store.deferring.repeat([(PIPE, [b"third"])], RARELY, 5)
    assert store.deferring.defer([(PIPE, [b"fourth"])], 6)

    found = store.deferring.promote(10).recurrent
    assert found
    assert store.deferring.recur(found, FAR_US)
    promote(store, 10)

    assert messages(store) == [b"first", b"second", b"third", b"fourth"]
    assert store.inspection.counts().deferred == 2
    assert store.removing.remove("m/Full/1/0", [b"x"])
    promote(store, 10)
    found = store.deferring.promote(10).recurrent
    assert found
    assert store.deferring.recur(found, FAR_US)
    promote(store, 10)
    assert messages(store, new) == [b"one", b"two", b"three"]
    assert fsck(store.segment) == []


def test_memory_goes_back(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"zero"])])
    drain(store)
    before = store.segment.used_bytes
    for size in (60, 600, 1900, 3000, 30_000):
        for n in range(8):
            assert store.deferring.defer([(PIPE, [b"%0*d" % (size, n)])], 1)
            assert store.appending.append_absent([(PIPE, [b"%0*d" % (size, n)])]) == 0
    promote(store, 5)
    drain(store)
    store._parts.extents.trim()

    assert store.segment.used_bytes <= before + 16 * at.PAGE
