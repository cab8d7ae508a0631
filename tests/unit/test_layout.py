"""Offsets: nothing overlaps, everything is aligned, and the total covers all of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shardq.shm import words as at
from shardq.shm.layout import Layout
from shardq.shm.segment import reserve_of, whole_pages
from shardq.shm.words import PAGE, WORD
from tests.support.drivers import MIB

CAPACITIES = (256 << 10, 300_001, MIB, 8 * MIB, 100 * MIB + 1, 512 * MIB, 4096 * MIB)

every_capacity = pytest.mark.parametrize("capacity", CAPACITIES)


def areas(layout: Layout) -> list[tuple[str, int, int]]:
    """Name, first byte and last byte + 1 of every area, in the order in which they should lie."""
    words = {
        "index": (layout.index_word, layout.buckets),
        "extent owners": (layout.extent_owners_word, layout.extents),
        "extent backed": (layout.extent_backed_word, layout.extents),
        "extent next": (layout.extent_next_word, layout.extents),
    }
    return [
        ("header", 0, at.HEADER_BYTES),
        ("slots", layout.slots_word * WORD, layout.slot_word(layout.slots) * WORD),
        ("sleep map", layout.sleep_map, layout.sleep_map + layout.slots),
        ("quiet map", layout.quiet_map, layout.quiet_map + layout.slots),
        ("room map", layout.room_map, layout.room_map + layout.slots),
        ("thread map", layout.thread_map, layout.thread_map + layout.threads),
        ("tube map", layout.tube_map, layout.tube_map + layout.tubes),
        ("extent map", layout.extent_map, layout.extent_map + layout.extents),
        *((name, word * WORD, (word + count) * WORD) for name, (word, count) in words.items()),
        ("pauses", layout.pause_word(0) * WORD, layout.pause_word(at.PAUSE_PLACES) * WORD),
        ("actions", layout.actions_word * WORD, (layout.action_word(layout.actions) + at.ACTION_BYTES // WORD) * WORD),
        ("handler table", layout.handler_table, layout.handler_table + at.LARGEST_HANDLER * at.HANDLER_BYTES),
        ("thread table", layout.thread_table, layout.thread_table + layout.threads * at.THREAD_BYTES),
        ("tube table", layout.tube_table, layout.tube_word(layout.tubes) * WORD),
        *((f"class {c.number}", c.base, c.base + c.size * c.count) for c in layout.classes),
    ]


@every_capacity
def test_areas_follow_each_other_without_overlap(capacity: int) -> None:
    found = areas(Layout.sized(capacity))

    for (name, _, end), (next_name, start, _) in pairwise(found):
        assert end <= start, f"{name} reaches into {next_name}"


@every_capacity
def test_the_total_ends_with_the_reserve_behind_the_last_extent(capacity: int) -> None:
    layout = Layout.sized(capacity)

    start, nbytes = reserve_of(layout)

    assert start == areas(layout)[-1][2]
    assert layout.total_bytes == start + whole_pages(capacity) >= start + nbytes


@every_capacity
def test_tables_and_extents_start_on_pages(capacity: int) -> None:
    layout = Layout.sized(capacity)

    assert layout.fixed_bytes % PAGE == layout.thread_table % PAGE == layout.tube_table % PAGE == 0
    assert all(c.base % PAGE == 0 and c.size % PAGE == 0 for c in layout.classes)


@every_capacity
def test_entries_start_on_words(capacity: int) -> None:
    layout = Layout.sized(capacity)

    assert layout.thread_word(1) * WORD == layout.thread_table + at.THREAD_BYTES
    assert layout.thread_name(0) == layout.thread_word(0) * WORD + at.THREAD_WORDS * WORD
    assert layout.thread_name(0) + at.NAME_BYTES <= layout.thread_word(1) * WORD


@every_capacity
def test_the_fixed_part_is_a_small_part_of_the_capacity(capacity: int) -> None:
    assert Layout.sized(capacity).fixed_bytes * 2 <= capacity


@every_capacity
def test_the_last_class_holds_the_whole_capacity_in_one_piece(capacity: int) -> None:
    classes = Layout.sized(capacity).classes

    assert classes[-1].size >= capacity
    assert all(small.size < large.size for small, large in pairwise(classes))
    assert [c.first for c in classes] == [sum(c.count for c in classes[:n]) for n in range(len(classes))]


def test_every_tube_has_a_small_extent() -> None:
    layout = Layout.sized(MIB, threads=100)

    assert (layout.threads, layout.tubes, layout.classes[0].count) == (100 + at.SPARE_ENTRIES,) * 3


@pytest.mark.parametrize(("capacity", "threads"), [(256 << 10, 64), (MIB, 256), (512 * MIB, 65_536), (4 << 40, 65_536)])
def test_a_directory_entry_for_each_page_up_to_a_bound(capacity: int, threads: int) -> None:
    assert Layout.sized(capacity).threads == threads + at.SPARE_ENTRIES


@pytest.mark.parametrize("words", [at.SLOT_RENEWAL, at.THREAD_NOT_BEFORE_NS, at.TUBE_CANCELLED])
def test_fields_fit_their_entries(words: int) -> None:
    assert words < min(at.SLOT_WORDS, at.THREAD_WORDS, at.TUBE_WORDS)


def test_the_header_fits_its_page() -> None:
    assert at.KEPT_BYTES < at.DEATHS
    assert (at.DEATHS + at.DEATH_ENTRIES * at.DEATH_WORDS) * WORD <= at.HEADER_BYTES
