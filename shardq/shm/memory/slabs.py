"""Memory for pending records: cells of a few sizes, cut from extents of one class, and whole extents for large ones.

Such an extent, a slab, begins with the size of its cells and one bit for each. The extent map says of it whether it has
free cells, and of which size, so that finding one is a search for a byte. A slab without a taken cell goes back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from shardq.shm import words as at
from shardq.shm.journal import Journal
from shardq.shm.memory.extents import LARGE, SLAB, Extents
from shardq.shm.segment import Segment
from shardq.shm.words import WORD

#: Cell sizes. Above the last a record gets extents of its own.
SIZES: tuple[int, ...] = (*range(at.SMALLEST_CELL_BYTES, 513, 32), 640, 768, 1024, 1536, 2048)
#: Bytes in the extent map for a slab: full, or the number of the size of its free cells, counted from here.
FULL, FIRST_SIZE = 255, 2
#: A slab's bits, behind the word for the size, and where its cells begin.
BITS_BYTES, CELLS_BEGIN = 128, 192


class Slabs:
    """Lends memory to pending records. Methods want the guard held and the pending intent declared, unless they only
    read. `held` tells whether a pending record at that address is in use.
    """

    def __init__(self, segment: Segment, journal: Journal, extents: Extents, held: Callable[[int], bool]) -> None:
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._journal = journal
        self._extents = extents
        self._held = held
        self._map = segment.layout.extent_map
        self._slabs = segment.layout.classes[at.SLAB_CLASS]

    def take(self, nbytes: int, *, share: int) -> int:
        """Address of memory for a record of so many bytes, 0: there is no room. The memory is not cleared."""
        number = bisect_left(SIZES, nbytes)
        if number == len(SIZES):
            return self._take_extent(nbytes, share)
        extent = self._slab_with_room(number, share)
        if extent < 0:
            return 0
        start = self._extents.start_of(extent)
        taken = self._bits(start)
        index = (~taken & taken + 1).bit_length() - 1
        address = start + CELLS_BEGIN + index * SIZES[number]
        if not self._extents.extend(start, address + SIZES[number], share=share):
            self._release_if_empty(extent, start)
            return 0
        self.announce(address)
        self._journal.declare_pending()
        word = (start >> 3) + 1 + (index >> 6)
        self._words[word] |= 1 << (index & 63)
        self._show_room(extent, start)
        return address

    def announce(self, address: int) -> None:
        """The record there is about to go."""
        self._words[at.PENDING_CELL] = address

    def keep(self) -> None:
        """The cells that were coming or going are settled."""
        self._words[at.PENDING_CELL] = 0
        self._journal.clear_coming()

    def give_back(self, address: int) -> None:
        """Take back what a record had."""
        self.announce(address)
        self.free(address)
        self._words[at.PENDING_CELL] = 0

    def holds(self, address: int) -> bool:
        """Whether the number is the address of memory lent to a record."""
        if not self._extents.has(address):
            return False
        _, extent, start = self._extents.locate(address)
        owner = self._extents.owner_of(extent)
        if owner == LARGE:
            return address == start
        if owner != SLAB or address < start + CELLS_BEGIN or self._bytes[self._map + extent] < FIRST_SIZE:
            return False
        index, rest = divmod(address - start - CELLS_BEGIN, self._words[start >> 3])
        return not rest and bool(self._bits(start) >> index & 1)

    def memory_around(self, address: int) -> tuple[int, int]:
        """Between which addresses a record there may lie. Raises `SegmentForeign` where nothing is."""
        return self._extents.memory_around(address)

    def is_large(self, address: int) -> bool:
        """Whether the record has extents of its own, which a tube can take over."""
        _, extent, _ = self._extents.locate(address)
        return self._extents.owner_of(extent) == LARGE

    def hand_over(self, address: int, tube: int) -> None:
        """The extents of a large record become the tube's, before the store that makes them part of it."""
        self.announce(address)
        _, extent, _ = self._extents.locate(address)
        self._extents.own(extent, tube)

    def mend(self, tube_uses: Callable[[int], int]) -> None:
        """Settle cells that a death left coming or going. `tube_uses` names the tube whose records an extent holds,
        -1: none.

        Wants the heaps and tubes mended as far as their records go.
        """
        for address in filter(None, (*self._journal.coming, self._words[at.PENDING_CELL])):
            self._mend_one(address, tube_uses)
        self.keep()
        if self._journal.pending == 2:
            self._sweep()

    def _mend_one(self, address: int, tube_uses: Callable[[int], int]) -> None:
        _, extent, start = self._extents.locate(address)
        if not self._bytes[self._map + extent] or not self._extents.backed_bytes(extent):
            self._extents.discard(extent)  # a process died while it gave the extent back
            return
        is_slab = self._extents.owner_of(extent) == SLAB
        if self._held(address):
            if is_slab:
                self._show_room(extent, start)
            else:
                self._extents.own(extent, LARGE)
            return
        tube = -1 if is_slab else tube_uses(extent)
        if tube >= 0:
            self._extents.own(extent, tube)
        else:
            self.free(address)

    def _sweep(self) -> None:
        """Discard extents that were lent and not used yet."""
        for extent in self._extents.owned_by(SLAB):
            ready = self._bytes[self._map + extent] >= FIRST_SIZE
            if not (ready and self._bits(self._extents.start_of(extent))):
                self._extents.discard(extent)
        for extent in self._extents.owned_by(LARGE):
            written = self._extents.backed_bytes(extent) >= at.PENDING_WORDS * WORD
            if not (written and self._held(self._extents.start_of(extent))):
                self._extents.discard(extent)

    def free(self, address: int) -> None:
        """As `give_back`, for a record that the journal names."""
        _, extent, start = self._extents.locate(address)
        if self._extents.owner_of(extent) != SLAB:
            self._extents.release(extent)
            return
        index = (address - start - CELLS_BEGIN) // self._words[start >> 3]
        word = (start >> 3) + 1 + (index >> 6)
        self._words[word] &= ~(1 << (index & 63))
        if not self._release_if_empty(extent, start):
            self._show_room(extent, start)

    def _take_extent(self, nbytes: int, share: int) -> int:
        self._journal.declare_pending(lends=True)
        address = self._extents.take(LARGE, nbytes, 0, share=share)
        if address:
            self._words[at.PENDING_CELL] = address
        self._journal.declare_pending()
        return address

    def _slab_with_room(self, number: int, share: int) -> int:
        """The extent of a slab that has a free cell of that size, -1: there is no room.

        The intent says that extents are lent until a cell of a new one is taken.
        """
        first = self._map + self._slabs.first
        place = self._bytes.find(bytes((FIRST_SIZE + number,)), first, first + self._slabs.count)
        if place >= 0:
            return place - self._map
        self._journal.declare_pending(lends=True)
        start = self._extents.take(SLAB, CELLS_BEGIN + SIZES[number], at.SLAB_CLASS, share=share)
        extent = -1
        if start:
            _, extent, _ = self._extents.locate(start)
            self._bytes[start + WORD : start + WORD + BITS_BYTES] = bytes(BITS_BYTES)
            self._words[start >> 3] = SIZES[number]
            self._bytes[self._map + extent] = FIRST_SIZE + number
        return extent

    def _release_if_empty(self, extent: int, start: int) -> bool:
        if self._bits(start):
            return False
        self._extents.release(extent)
        return True

    def _show_room(self, extent: int, start: int) -> None:
        size = self._words[start >> 3]
        full = self._bits(start).bit_count() == (self._slabs.size - CELLS_BEGIN) // size
        self._bytes[self._map + extent] = FULL if full else FIRST_SIZE + bisect_left(SIZES, size)

    def _bits(self, start: int) -> int:
        return int.from_bytes(self._bytes[start + WORD : start + WORD + BITS_BYTES], "little")
