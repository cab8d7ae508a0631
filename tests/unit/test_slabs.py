"""Memory for pending records: cells that are used again, slabs that go back, and extents for large ones."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from shardq.shm import words as at
from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.memory.slabs import Slabs
from shardq.shm.segment import Segment
from shardq.shm.words import ALL, GENERAL, PAGE, SLAB_CLASS
from tests.support.segments import NewSegment

#: Bytes of a slab before its cells.
HEAD = 192


class Lending:
    """Cells, and which of them are in use."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.journal = Journal(segment)
        self.extents = Extents(segment)
        self.taken: dict[int, int] = {}
        self.cells = Slabs(segment, self.journal, self.extents, lambda address: address in self.taken)

    def take(self, nbytes: int, share: int = GENERAL) -> int:
        self.journal.declare_pending()
        address = self.cells.take(nbytes, share=share)
        if address:
            self.taken[address] = nbytes
        self.cells.keep()
        self.journal.clear_pending()
        return address

    def give_back(self, address: int) -> None:
        self.journal.declare_pending()
        del self.taken[address]
        self.cells.give_back(address)
        self.journal.clear_pending()

    def lent(self) -> list[int]:
        """Extents that are lent."""
        layout = self.segment.layout
        return [extent for extent in range(layout.extents) if self.segment.bytes[layout.extent_map + extent]]


@pytest.fixture
def lending(segment: Segment) -> Lending:
    return Lending(segment)


def test_records_do_not_overlap(lending: Lending) -> None:
    random = Random(1)
    for mark in range(400):
        nbytes = random.choice([1, 96, 97, 500, 512, 513, 2048, 2049, 5000])
        address = lending.take(nbytes)
        assert address
        assert address % 8 == 0
        lending.segment.bytes[address : address + nbytes] = bytes((mark % 256,)) * nbytes
        if mark % 2:
            lending.give_back(random.choice(list(lending.taken)))
    ranges = sorted((address, address + nbytes) for address, nbytes in lending.taken.items())
    assert all(end <= start for (_, end), (start, _) in pairwise(ranges))
    assert all(lending.cells.holds(address) for address in lending.taken)


@pytest.mark.parametrize("nbytes", [1, 96, 100, 512, 600, 2048])
def test_a_cell_is_used_again(lending: Lending, nbytes: int) -> None:
    first, second = lending.take(nbytes), lending.take(nbytes)
    lending.give_back(first)

    assert not lending.cells.holds(first)
    assert lending.cells.holds(second)
    assert lending.take(nbytes) == first


@pytest.mark.parametrize("nbytes", [96, 512, 2048])
def test_a_slab_holds_what_fits_into_it(lending: Lending, nbytes: int) -> None:
    most = (lending.segment.layout.classes[SLAB_CLASS].size - HEAD) // nbytes
    addresses = [lending.take(nbytes) for _ in range(most)]
    assert len(lending.lent()) == 1

    another = lending.take(nbytes)
    assert len(lending.lent()) == 2

    lending.give_back(another)
    assert len(lending.lent()) == 1
    lending.give_back(addresses[most // 2])
    assert lending.take(nbytes) == addresses[most // 2]
    for address in addresses:
        lending.give_back(address)
    assert lending.lent() == []


def test_sizes_do_not_share_a_slab(lending: Lending) -> None:
    addresses = [lending.take(nbytes) for nbytes in (96, 97, 2048)]

    assert len(lending.lent()) == 3
    assert not any(lending.cells.is_large(address) for address in addresses)


@pytest.mark.parametrize("nbytes", [2049, PAGE, PAGE + 1, 100_000])
def test_a_large_record_has_an_extent_of_its_own(lending: Lending, nbytes: int) -> None:
    address = lending.take(nbytes)

    assert lending.cells.is_large(address)
    assert lending.cells.holds(address)
    assert not lending.cells.holds(address + 96)
    lending.give_back(address)
    assert lending.lent() == []
    assert not lending.cells.holds(address)


def test_a_large_record_is_handed_over_to_a_tube(lending: Lending) -> None:
    address = lending.take(5000)
    [extent] = lending.lent()

    lending.cells.hand_over(address, 7)

    assert lending.extents.owner_of(extent) == 7
    assert not lending.cells.holds(address)


def test_what_lies_between_cells_is_in_none(lending: Lending) -> None:
    address = lending.take(96)

    assert not lending.cells.holds(address + 8)
    assert not lending.cells.holds(address - HEAD)
    assert not lending.cells.holds(address + 96)


def test_what_was_taken_and_not_used_goes_back(lending: Lending) -> None:
    """As after a death before the record was added."""
    for nbytes in (96, 5000):
        lending.journal.declare_pending()
        lending.cells.take(nbytes, share=GENERAL)
        for _ in range(2):
            lending.cells.mend(lambda extent: -1)
        assert lending.lent() == []
        assert not lending.segment.words[at.PENDING_CELL]


def test_what_was_announced_and_stayed_is_kept(lending: Lending) -> None:
    for nbytes in (96, 5000):
        address = lending.take(nbytes)
        lending.cells.announce(address)
        lending.cells.mend(lambda extent: -1)
        assert lending.cells.holds(address)


def test_what_was_handed_over_and_stayed_is_kept(lending: Lending) -> None:
    address = lending.take(5000)
    lending.cells.hand_over(address, 3)

    lending.cells.mend(lambda extent: -1)

    assert lending.cells.holds(address)
    assert lending.cells.is_large(address)


def test_what_a_tube_took_over_is_the_tubes(lending: Lending) -> None:
    address = lending.take(5000)
    [extent] = lending.lent()
    lending.cells.hand_over(address, 3)
    del lending.taken[address]

    lending.cells.mend(lambda extent: 3)

    assert lending.lent() == [extent]
    assert lending.extents.owner_of(extent) == 3


@pytest.mark.parametrize("marked", [0, 1])
def test_a_slab_whose_memory_is_gone_is_mended(lending: Lending, marked: int) -> None:
    """A process died as it gave it back, before or after its byte said so."""
    address = lending.take(96)
    [extent] = lending.lent()
    del lending.taken[address]
    lending.journal.declare_pending()
    lending.cells.announce(address)
    lending.extents.discard(extent)
    layout = lending.segment.layout
    lending.segment.words[layout.extent_owners_word + extent] = (1 << 40) + 1
    lending.segment.bytes[layout.extent_map + extent] = 2 * marked

    assert marked or not lending.cells.holds(address)
    lending.cells.mend(lambda extent: -1)

    assert lending.lent() == []
    assert lending.extents.owner_of(extent) == -1
    assert not lending.cells.holds(address)


def test_without_memory_there_is_no_cell(new_segment: NewSegment) -> None:
    lending = Lending(new_segment(256 << 10, 16))
    while lending.take(2048):
        pass
    some = list(lending.taken)
    assert some

    assert not lending.take(3000)
    assert lending.take(2048, ALL)
    for address in some:
        lending.give_back(address)
    assert lending.take(3000)
