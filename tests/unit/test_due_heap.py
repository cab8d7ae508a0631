"""Pending records by due time: as `heapq` has them, whatever was cut off in between."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from random import Random

import pytest

from shardq.shm import words as at
from shardq.shm.deferred.due_heap import DueHeap
from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.words import ALL, DEFERRED_HEAP, GENERAL, PAGE, RECURRENT_HEAP
from tests.support.drivers import MIB
from tests.support.segments import NewSegment

Key = tuple[int, int]


class Records:
    """Records of no more than a heap looks at, in an extent of their own."""

    def __init__(self, segment: Segment, which: int = DEFERRED_HEAP, most: int = 2000) -> None:
        self.words = segment.words
        self.extents = Extents(segment)
        self.heap = DueHeap(segment, Journal(segment), self.extents, which)
        self._start = self.extents.take(1, most * at.PENDING_WORDS * 8, 0, share=ALL)
        assert self._start
        self._free = list(range(most))
        self._next = 0

    def new(self, due_us: int) -> int:
        """Address of a new record, in no heap yet."""
        address = self._start + self._free.pop() * at.PENDING_WORDS * 8
        self.words[(address >> 3) + at.PENDING_DUE_US] = due_us
        self.words[(address >> 3) + at.PENDING_FIRST] = self._next
        self._next += 1
        return address

    def add(self, due_us: int) -> int:
        address = self.new(due_us)
        assert self.heap.make_room(share=GENERAL)
        self.heap.declare_added([address])
        self.words[self.heap.count_word] += 1
        self.heap.settle()
        return address

    def remove(self, address: int) -> None:
        self.heap.declare_removed(address)
        self.words[self.heap.count_word] -= 1
        self.heap.settle()

    def change(self, address: int, due_us: int) -> None:
        self.heap.declare_due(address, due_us)
        self.words[(address >> 3) + at.PENDING_DUE_US] = due_us
        self.heap.settle()

    def key(self, address: int) -> Key:
        word = address >> 3
        return self.words[word + at.PENDING_DUE_US], self.words[word + at.PENDING_FIRST]

    def check(self) -> None:
        """Each record knows its place, and none is due before the one above it."""
        addresses = self.heap.records()
        assert len(set(addresses)) == len(addresses)
        for place, address in enumerate(addresses):
            assert self.words[(address >> 3) + at.PENDING_PLACE] == place
            assert not place or self.key(addresses[place - 1 >> 1]) <= self.key(address)


@pytest.fixture
def records(new_segment: NewSegment) -> Records:
    return Records(new_segment(4 * MIB))


def test_an_empty_heap_has_no_first(records: Records) -> None:
    assert records.heap.first() == 0
    assert records.heap.first_due_us() == 0
    assert records.heap.records() == []


@pytest.mark.parametrize("seed", range(6))
def test_order_is_that_of_heapq(records: Records, seed: int) -> None:
    random, model = Random(seed), list[tuple[Key, int]]()
    for _ in range(700):
        if random.random() < 0.6 or not model:
            address = records.add(random.choice([random.randrange(9), random.randrange(1 << 50)]))
            heappush(model, (records.key(address), address))
        elif random.random() < 0.6:
            assert records.heap.first() == model[0][1]
            records.remove(heappop(model)[1])
        else:
            place = random.randrange(len(model))
            address = model.pop(place)[1]
            if random.random() < 0.5:
                records.remove(address)
            else:
                records.change(address, random.randrange(1 << 50))
                model.append((records.key(address), address))
            heapify(model)
        assert records.heap.count == len(model)
        assert records.heap.first_due_us() == (model[0][0][0] if model else 0)
    records.check()
    while model:
        assert records.heap.first() == model[0][1]
        records.remove(heappop(model)[1])
    assert not records.heap.count


def test_equal_times_come_in_the_order_of_their_numbers(records: Records) -> None:
    added = [records.add(7) for _ in range(40)]
    came = []
    while first := records.heap.first():
        came.append(first)
        records.remove(first)
    assert came == added


def test_what_is_due_is_found_in_its_order_and_stays(records: Records) -> None:
    added = sorted((records.key(address), address) for address in map(records.add, [5, 9, 2, 7, 2, 4, 9, 1, 8, 3]))
    due = [address for (due_us, _), address in added if due_us <= 8]

    assert records.heap.due(8, 100) == due
    assert records.heap.due(8, 3) == due[:3]
    assert records.heap.due(0, 3) == []
    assert records.heap.count == len(added)


def test_who_is_in_the_heap_is_known(records: Records) -> None:
    one, two = records.add(1), records.add(2)
    three = records.new(3)
    records.remove(one)

    assert [records.heap.holds(address) for address in (one, two, three)] == [False, True, False]


def test_the_two_heaps_do_not_meet(new_segment: NewSegment) -> None:
    segment = new_segment(4 * MIB)
    deferred, recurrent = Records(segment, DEFERRED_HEAP), Records(segment, RECURRENT_HEAP)
    late, early = deferred.add(20), recurrent.add(10)

    assert (deferred.heap.first(), recurrent.heap.first()) == (late, early)
    assert not deferred.heap.holds(early)


def test_what_was_declared_and_did_not_happen_changes_nothing(records: Records) -> None:
    kept = [records.add(due) for due in (5, 3, 9, 1)]
    before = records.heap.records()

    records.heap.declare_added([records.new(2)])
    records.heap.settle()
    records.heap.declare_removed(kept[0])
    records.heap.settle()
    records.heap.declare_due(kept[1], 100)
    records.heap.settle()

    assert records.heap.records() == before
    records.check()


class Cut(Exception):
    """The store that is not made any more."""


class CutShort:
    """Words of which only so many stores are made."""

    def __init__(self, segment: Segment, left: int) -> None:
        self._words = segment.words
        self.left = left

    def __getitem__(self, place: int) -> int:
        return self._words[place]

    def __setitem__(self, place: int, value: int) -> None:
        if not self.left:
            raise Cut
        self.left -= 1
        self._words[place] = value


@pytest.mark.parametrize("change", ["added", "removed", "later", "earlier"])
def test_a_step_cut_short_is_done_again(records: Records, change: str) -> None:
    """A process dies after each store that puts the heap in order; the one that settles it finishes."""
    random = Random(change)
    for stores in range(40):
        for address in records.heap.records():
            records.remove(address)
        addresses = [records.add(random.randrange(100, 1000)) for _ in range(31)]
        heap = records.heap
        if change == "added":
            heap.declare_added([records.new(1)])
            records.words[heap.count_word] += 1
        elif change == "removed":
            heap.declare_removed(heap.first())
            records.words[heap.count_word] -= 1
        else:
            address, due_us = (heap.first(), 2000) if change == "later" else (heap.records()[-1], 1)
            heap.declare_due(address, due_us)
            records.words[(address >> 3) + at.PENDING_DUE_US] = due_us
        whole = heap._words
        heap._words = CutShort(heap._segment, stores)  # type: ignore[assignment]
        try:
            heap.settle()
        except Cut:
            pass
        else:
            assert stores > 5, "it was never cut"
        heap._words = whole
        heap.settle()
        records.check()
        assert heap.count == len(addresses) + {"added": 1, "removed": -1}.get(change, 0)


def test_memory_comes_with_records_and_goes_with_the_last(segment: Segment) -> None:
    records = Records(segment)
    many = [records.add(n) for n in range(1500)]
    assert records.words[at.HEAP_BACKED] >= len(many) * 8
    for address in many:
        records.remove(address)
    assert records.words[at.HEAP_BACKED] <= 16 * PAGE
    records.add(1)
    records.check()


def test_where_there_is_no_memory_there_is_no_room(segment: Segment) -> None:
    records = Records(segment)
    while records.extents.take(2, PAGE, 0, share=GENERAL):
        pass

    assert not records.heap.make_room(share=GENERAL)
    assert records.heap.make_room(share=ALL)
