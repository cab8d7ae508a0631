"""Room for messages: the right class, the lowest free first, all or nothing, and memory given back."""

from __future__ import annotations

import pytest

from shardq.shm.memory import extents as module
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.words import ALL, GENERAL, PAGE, SPARE_ENTRIES
from tests.support.drivers import MIB
from tests.support.segments import NewSegment

TUBE = 3


@pytest.fixture
def extents(segment: Segment) -> Extents:
    return Extents(segment)


def number_of(extents: Extents, address: int) -> int:
    return extents.locate(address)[1]


@pytest.mark.parametrize(
    ("nbytes", "at_least", "number"),
    [
        (1, 0, 0),
        (PAGE, 0, 0),
        (PAGE + 1, 0, 1),
        (16 * PAGE, 0, 1),
        (16 * PAGE + 1, 0, 2),
        (1, 1, 1),
        (1, 2, 2),
        (1, 99, 2),
    ],
)
def test_the_smallest_class_that_holds_it(extents: Extents, nbytes: int, at_least: int, number: int) -> None:
    found = extents.class_for(nbytes, at_least)

    assert found is not None
    assert found.number == number


def test_what_is_larger_than_the_largest_has_no_class(extents: Extents) -> None:
    assert extents.class_for(MIB) is not None
    assert extents.class_for(MIB + 1) is None
    assert extents.take(TUBE, MIB + 1, 0, share=ALL) == 0


def test_extents_do_not_overlap_and_hold_what_was_asked_for(extents: Extents, segment: Segment) -> None:
    sizes = [100, PAGE, PAGE + 1, 3 * PAGE, 100, 17 * PAGE]
    taken = [(extents.take(TUBE, size, 0, share=GENERAL), size) for size in sizes]

    for mark, (address, size) in enumerate(taken, 1):
        segment.bytes[address : address + size] = bytes((mark,)) * size
    for mark, (address, size) in enumerate(taken, 1):
        assert segment.bytes[address : address + size] == bytes((mark,)) * size


def test_the_lowest_free_one_is_taken_first(extents: Extents) -> None:
    addresses = [extents.take(TUBE, 1, 0, share=GENERAL) for _ in range(4)]
    assert addresses == sorted(addresses)

    extents.release(number_of(extents, addresses[2]))
    extents.release(number_of(extents, addresses[1]))

    assert extents.take(TUBE, 1, 0, share=GENERAL) == addresses[1]
    assert extents.take(TUBE, 1, 0, share=GENERAL) == addresses[2]


def test_a_larger_class_helps_out_when_all_of_one_are_lent(new_segment: NewSegment) -> None:
    extents = Extents(new_segment(MIB, 4))
    addresses = [extents.take(TUBE, 1, 0, share=GENERAL) for _ in range(4 + SPARE_ENTRIES + 1)]

    assert [extents.locate(address)[0].number for address in addresses] == [0] * (4 + SPARE_ENTRIES) + [1]


def test_whose_an_extent_is(extents: Extents) -> None:
    mine = [number_of(extents, extents.take(TUBE, size, 0, share=GENERAL)) for size in (1, 1, PAGE + 1)]
    number_of(extents, extents.take(TUBE + 1, 1, 0, share=GENERAL))
    assert extents.owned_by(TUBE) == mine

    extents.release(mine[1])

    assert extents.owned_by(TUBE) == [mine[0], mine[2]]
    assert len(extents.owned_by(TUBE + 1)) == 1


def test_an_address_is_located_anywhere_in_its_extent(extents: Extents) -> None:
    start = extents.take(TUBE, 3 * PAGE, 0, share=GENERAL)
    extent_class, number, found = extents.locate(start)
    assert found == start

    assert extents.locate(start + 1) == extents.locate(start + extent_class.size - 1) == (extent_class, number, start)
    assert extents.locate(start + extent_class.size)[1] == number + 1


def test_full_is_zero_and_changes_nothing(extents: Extents, segment: Segment) -> None:
    while extents.take(TUBE, 16 * PAGE, 0, share=GENERAL):
        pass
    owned, used = extents.owned_by(TUBE), segment.used_bytes

    assert extents.take(TUBE + 1, 16 * PAGE, 0, share=GENERAL) == 0

    assert extents.owned_by(TUBE + 1) == []
    assert extents.owned_by(TUBE) == owned
    assert segment.used_bytes == used <= extents.limit_bytes(share=GENERAL)


def test_the_reserve_is_there_for_who_may_use_it(extents: Extents, segment: Segment) -> None:
    while extents.take(TUBE, PAGE, 0, share=GENERAL):
        pass

    assert extents.take(TUBE, PAGE, 0, share=ALL)

    while extents.take(TUBE, PAGE, 0, share=ALL):
        pass
    assert segment.taken_bytes <= segment.layout.capacity_bytes


def test_extending_beyond_the_limit_is_refused(extents: Extents, segment: Segment) -> None:
    address = extents.take(TUBE, 17 * PAGE, 0, share=GENERAL)

    assert extents.extend(address, address + 100 * PAGE, share=GENERAL)
    used = segment.used_bytes

    assert not extents.extend(address, address + MIB, share=GENERAL)
    assert segment.used_bytes == used


def test_memory_of_large_extents_is_given_back(new_segment: NewSegment) -> None:
    segment = new_segment(16 * MIB)
    extents, before = Extents(segment), segment.used_bytes
    address = extents.take(TUBE, 8 * MIB, 0, share=GENERAL)
    assert segment.used_bytes >= before + 8 * MIB

    extents.release(number_of(extents, address))

    assert segment.used_bytes == before


def test_what_is_kept_for_the_next_tube_is_bounded(new_segment: NewSegment) -> None:
    segment = new_segment(64 * MIB)
    extents, before = Extents(segment), segment.used_bytes
    lent = [number_of(extents, extents.take(TUBE, MIB, 0, share=GENERAL)) for _ in range(20)]

    for number in lent:
        extents.release(number)

    kept = segment.used_bytes - before
    assert 0 < kept <= module._KEPT[2] * MIB


def test_trim_returns_what_is_kept(extents: Extents, segment: Segment) -> None:
    before = segment.used_bytes
    lent = extents.take(TUBE, 1, 0, share=GENERAL)
    spare = extents.take(TUBE, 3 * PAGE, 0, share=GENERAL)
    segment.bytes[lent] = 7
    extents.release(number_of(extents, spare))

    extents.trim()

    assert segment.used_bytes == before + PAGE
    assert segment.bytes[lent] == 7


def test_kept_memory_makes_room_when_it_is_needed_elsewhere(extents: Extents, segment: Segment) -> None:
    lent = []
    while address := extents.take(TUBE, PAGE, 0, share=GENERAL):
        lent.append(number_of(extents, address))
    for number in lent:
        extents.release(number)
    assert segment.used_bytes > segment.layout.capacity_bytes // 2

    assert extents.take(TUBE, MIB // 2, 0, share=GENERAL)
