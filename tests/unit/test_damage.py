"""A segment that another program wrote into says so, instead of leading its reader in circles."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardq.errors import SegmentForeign
from shardq.shm import words as at
from shardq.shm.memory import record
from shardq.shm.store import Store
from tests.faults.kit.damage import limited
from tests.support import hands

PIPE = "app/Job/0/0"


def test_a_tube_whose_extents_do_not_lead_to_its_end_is_damaged(store: Store) -> None:
    store.appending.append([(PIPE, [bytes(3000)])])
    store.appending.append([(PIPE, [bytes(3000)])])
    layout, words = store.segment.layout, store.segment.words
    for extent in range(layout.extents):
        words[layout.extent_next_word + extent] = 0
    token = store.delivering.claim("app/Job/0")

    with pytest.raises(SegmentForeign, match="damaged"):
        hands.pop(store.delivering, PIPE, 2, token)


def test_a_tube_without_a_record_where_it_begins_is_damaged(store: Store) -> None:
    store.appending.append([(PIPE, [b"first"])])
    head = store.segment.words[store.segment.layout.tube_word(0) + at.TUBE_HEAD_RECORD]
    store.segment.bytes[head : head + 2] = b"\xff\xff"

    with pytest.raises(SegmentForeign, match="damaged"):
        store.reading.read(PIPE, 1)


def test_a_caller_whose_stack_is_too_deep_is_not_told_that_the_segment_is_damaged(store: Store) -> None:
    def deeper() -> None:
        store.appending.append_absent([(PIPE, [b"once"])])
        deeper()

    with pytest.raises(RecursionError):
        deeper()

    assert store.reading.length(PIPE) == 1


def test_a_segment_that_stands_in_no_known_way_is_damaged(store: Store) -> None:
    store.segment.words[at.CLOSED] = 24576

    with pytest.raises(SegmentForeign, match="stands as 24576"):
        store.gate.stand()


def jump_to_itself(store: Store) -> None:
    head = store.segment.words[store.segment.layout.tube_word(0) + at.TUBE_HEAD_RECORD]
    record.write_jump(store.segment, head, head)


def record_over_and_over(store: Store) -> None:
    """A tail that its records, each of which leads to the next by its length, never come to."""
    tube = store.segment.layout.tube_word(0)
    store.segment.words[tube + at.TUBE_TAIL] += 8


def extents_in_a_circle(store: Store) -> None:
    layout, words = store.segment.layout, store.segment.words
    for extent in range(layout.extents):
        words[layout.extent_next_word + extent] = extent + 1


def tubes_in_a_circle(store: Store) -> None:
    layout, words = store.segment.layout, store.segment.words
    words[layout.tube_word(0) + at.TUBE_NEXT] = 1


def names_in_a_circle(store: Store) -> None:
    layout, words = store.segment.layout, store.segment.words
    words[layout.thread_word(0) + at.THREAD_NEXT] = 1
    words[layout.thread_word(0) + at.THREAD_HASH] += layout.buckets
    store._parts.tubes.directory._known.clear()
    store._parts.tubes.directory._known_tubes.clear()


def head_behind_the_end(store: Store) -> None:
    store.segment.words[store.segment.layout.tube_word(0) + at.TUBE_HEAD_SEQUENCE] = 1 << 50


def intent_on_what_cannot_be(store: Store) -> None:
    store.segment.words[at.INTENT_THREAD] = 1 << 40


def more_intents_than_can_be(store: Store) -> None:
    store.segment.words[at.INTENT_THREAD] = 1
    store.segment.words[at.TOUCHED] = 1 << 40


def more_stores_than_can_be(store: Store) -> None:
    store.segment.words[at.INTENT_THREAD] = 1
    store.segment.words[at.STORES] = 1 << 40


def store_where_nothing_is(store: Store) -> None:
    store.segment.words[at.INTENT_THREAD] = 1
    store.segment.words[store.segment.layout.stores_word] = 1 << 40
    store.segment.words[at.STORES] = 1


def heap_larger_than_its_memory(store: Store) -> None:
    store.segment.words[at.HEAP_COUNT] = 1 << 40


def equal_messages_in_a_full_table(store: Store) -> None:
    layout, words = store.segment.layout, store.segment.words
    first = layout.equality_table(0) // 8
    for place in range(at.EQUAL_STEP):
        words[first + place * at.EQUAL_WORDS] = place + 1


@pytest.mark.parametrize(
    ("damage", "verb"),
    [
        (jump_to_itself, lambda store: store.reading.read(PIPE, 9)),
        (record_over_and_over, lambda store: store.reading.read(PIPE, 9)),
        (extents_in_a_circle, lambda store: hands.pop(store.delivering, PIPE, 5, store.delivering.claim("app/Job/0"))),
        (tubes_in_a_circle, lambda store: store.delivering.claim("app/Job/0")),
        (names_in_a_circle, lambda store: store.reading.length(PIPE)),
        (head_behind_the_end, lambda store: store.reading.read(PIPE, 1)),
        (intent_on_what_cannot_be, lambda store: store.inspection.counts()),
        (more_intents_than_can_be, lambda store: store.inspection.counts()),
        (more_stores_than_can_be, lambda store: store.inspection.counts()),
        (store_where_nothing_is, lambda store: store.inspection.counts()),
        (heap_larger_than_its_memory, lambda store: store.deferring.promote(1 << 60)),
        (equal_messages_in_a_full_table, lambda store: store.appending.append_absent([(PIPE, [b"new"])])),
    ],
)
def test_what_leads_in_circles_or_nowhere_is_found_at_once_and_outside_the_guard(
    store: Store, damage: Callable[[Store], None], verb: Callable[[Store], object]
) -> None:
    for size in (1, 3000, 3000, 20_000):
        store.appending.append([(PIPE, [bytes(size)])])
    store.appending.append_absent([(PIPE, [b"unique"])])
    store.deferring.defer([("app/Later/0/0", [b"later"])], 1)
    damage(store)

    with pytest.raises(SegmentForeign, match=r"is damaged: .* drain what can be read and destroy it"), limited("it"):
        verb(store)

    assert store.segment.semaphore.value == 1
    assert store.segment.words[at.GUARD_OWNER] == 0
