"""Where every word of a segment lives. Offsets are computed here and nowhere else.

    header | slots | byte maps | index | extent tables | journal | pauses | actions
    --------------------------------- fixed part ----------------------------------

    | handlers | thread entries | tube entries | heaps | equality tables | tallies | extents by class | reserve
    -------------------------- as needed -------------------------------- ------- sparse --------

The fixed part is backed by memory from the start. Tables are backed as they grow, extents as they are written:
the segment is large in address space and small in memory. A word is 8 bytes, aligned, accessed through one
`memoryview.cast("Q")`: such a store is never torn (`struct.pack_into` is: it zeroes its target first).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from shardq.model import MOST_ACTIONS
from shardq.shm.words import (
    ACTION_BYTES,
    ACTIONS_PART,
    CLASS_STEP,
    DEFAULT_SLOTS,
    DIRECTORY_PART,
    EQUAL_STEP_BYTES,
    HANDLER_BYTES,
    HANDLER_WORDS,
    HEADER_BYTES,
    LARGEST_DIRECTORY,
    LARGEST_HANDLER,
    MOST_COMING,
    MOST_PARTS,
    MOST_STEP_BYTES,
    MOST_STORES,
    MOST_TOUCHED,
    PAGE,
    PAUSE_BYTES,
    PAUSE_PLACES,
    SERVED_BYTES,
    SLOT_WORDS,
    SMALLEST_CELL_BYTES,
    SPARE_ENTRIES,
    STEP_PART,
    TABLE_PART,
    TABLE_STEP,
    TALLIES_IN_PAGE,
    TALLIES_PART,
    TALLY_PAGES,
    TALLY_WORDS,
    THREAD_BYTES,
    THREAD_WORDS,
    TUBE_WORDS,
    WORD,
)


@dataclass(frozen=True)
class ExtentClass:
    """Extents of one size: where they start, and where their two words each are."""

    number: int
    size: int
    count: int
    first: int
    """Number of its first extent."""
    base: int
    """Byte address of its first extent."""


@dataclass(frozen=True)
class Layout:
    """All offsets of a segment, derived from the four numbers that its header keeps."""

    capacity_bytes: int
    slots: int
    threads: int
    tubes: int

    @classmethod
    def sized(cls, capacity_bytes: int, threads: int | None = None, slots: int = DEFAULT_SLOTS) -> Layout:
        """A layout for this capacity with entries for so many threads and tubes, by default one for each page of it and
        at most 65,536; and some spare ones.
        """
        if threads is None:
            threads = min(LARGEST_DIRECTORY, 1 << (max(1, capacity_bytes // PAGE).bit_length() - 1))
        return cls(capacity_bytes, slots, threads + SPARE_ENTRIES, threads + SPARE_ENTRIES)

    @cached_property
    def slots_word(self) -> int:
        return HEADER_BYTES // WORD

    @cached_property
    def sleep_map(self) -> int:
        return HEADER_BYTES + self.slots * SLOT_WORDS * WORD

    @cached_property
    def quiet_map(self) -> int:
        """One byte per slot: 1 while its process waits until nothing is queued."""
        return self.sleep_map + self.slots

    @cached_property
    def room_map(self) -> int:
        """One byte per slot: 1 while its process waits for room."""
        return self.quiet_map + self.slots

    @cached_property
    def thread_map(self) -> int:
        return self.room_map + self.slots

    @cached_property
    def ready_map(self) -> int:
        """One byte per thread entry: the number of its handler while the thread is ready, else 0."""
        return self.thread_map + self.threads

    @cached_property
    def served_map(self) -> int:
        """So many bytes per slot as a set of handler numbers has: those its process has looked for."""
        return self.ready_map + self.threads

    @cached_property
    def tube_map(self) -> int:
        """One byte per tube entry: 1 while in use."""
        return self.served_map + self.slots * SERVED_BYTES

    @cached_property
    def extent_map(self) -> int:
        """One byte per extent: 1 while lent."""
        return self.tube_map + self.tubes

    @cached_property
    def equality_map(self) -> int:
        """One byte per step of both tables of equal messages: 1 where it has memory."""
        return self.extent_map + self.extents

    @cached_property
    def equality_steps(self) -> int:
        """Most steps of one table."""
        return 1 << max(0, self.capacity_bytes // EQUAL_STEP_BYTES).bit_length()

    @cached_property
    def index_word(self) -> int:
        """First of `buckets` words, each the thread entry + 1 that starts a bucket's chain."""
        return -(-(self.equality_map + 2 * self.equality_steps) // WORD)

    @cached_property
    def buckets(self) -> int:
        return self.threads

    @cached_property
    def extent_owners_word(self) -> int:
        """First word of the owners, one per extent: tube entry + 1; says something only while the extent is lent."""
        return self.index_word + self.buckets

    @cached_property
    def extent_backed_word(self) -> int:
        """First word of the bytes of each extent that have memory, counted from its start."""
        return self.extent_owners_word + self.extents

    @cached_property
    def extent_next_word(self) -> int:
        """First word of the extent + 1 in which a tube goes on after each extent."""
        return self.extent_backed_word + self.extents

    @cached_property
    def touched_word(self) -> int:
        """First word of the thread entries + 1 that the process inside is changing."""
        return self.extent_next_word + self.extents

    @cached_property
    def coming_word(self) -> int:
        """First word of the addresses of pending records that are coming."""
        return self.touched_word + MOST_TOUCHED

    @cached_property
    def stores_word(self) -> int:
        """First word of the stores of a commit, two words each: number of a word, and its value."""
        return self.coming_word + MOST_COMING

    @cached_property
    def pauses_word(self) -> int:
        """First word of the table of pauses."""
        return self.stores_word + 2 * MOST_STORES

    @cached_property
    def actions_word(self) -> int:
        """First word of the ring of actions."""
        return self.pauses_word + PAUSE_PLACES * PAUSE_BYTES // WORD

    @cached_property
    def actions(self) -> int:
        """How many actions are remembered."""
        return min(MOST_ACTIONS, self.capacity_bytes // ACTIONS_PART // ACTION_BYTES)

    @cached_property
    def action_places(self) -> int:
        """One more than that: the next one is written beside those that count."""
        return self.actions + 1

    @cached_property
    def fixed_bytes(self) -> int:
        return _pages(self.actions_word * WORD + self.action_places * ACTION_BYTES)

    @cached_property
    def step_parts(self) -> int:
        """Most tubes to which one append adds: a part of a small directory, so that large calls get on step by step."""
        return max(1, min(MOST_PARTS, (self.threads - SPARE_ENTRIES) // DIRECTORY_PART))

    @cached_property
    def step_bytes(self) -> int:
        """Most bytes that one append takes."""
        return min(MOST_STEP_BYTES, self.capacity_bytes // STEP_PART)

    @cached_property
    def table_step_bytes(self) -> int:
        """In which steps the tables of threads and tubes get memory: smaller ones in a small segment."""
        return min(TABLE_STEP, _pages(self.capacity_bytes // TABLE_PART))

    @cached_property
    def handler_table(self) -> int:
        return self.fixed_bytes

    @cached_property
    def thread_table(self) -> int:
        return self.handler_table + _pages(LARGEST_HANDLER * HANDLER_BYTES)

    @cached_property
    def tube_table(self) -> int:
        return self.thread_table + _pages(self.threads * THREAD_BYTES)

    @cached_property
    def heaps(self) -> int:
        """Byte address of the first heap; its places are words, each the address of a pending record."""
        return self.tube_table + _pages(self.tubes * TUBE_WORDS * WORD)

    @cached_property
    def heap_bytes(self) -> int:
        """Most bytes of each heap: a place for every record that the capacity could hold."""
        return _pages(self.capacity_bytes // SMALLEST_CELL_BYTES * WORD)

    @cached_property
    def equality_tables(self) -> int:
        """Byte address of the first of two tables of equal messages."""
        return self.heaps + 2 * self.heap_bytes

    @cached_property
    def tallies(self) -> int:
        """Byte address of the first block of what processes count."""
        return self.equality_tables + 2 * self.equality_steps * EQUAL_STEP_BYTES

    @cached_property
    def tallies_bytes(self) -> int:
        """Most memory of all blocks. It is set aside: whether a message fits must not depend on how many processes the
        segment has had.
        """
        return self.capacity_bytes // TALLIES_PART // PAGE * PAGE

    @cached_property
    def storing_bytes(self) -> int:
        """The capacity for all else."""
        return self.capacity_bytes - self.tallies_bytes

    @cached_property
    def extents_base(self) -> int:
        return self.tallies + self.slots * TALLY_PAGES * PAGE

    @cached_property
    def classes(self) -> tuple[ExtentClass, ...]:
        classes: list[ExtentClass] = []
        base, first = self.extents_base, 0
        for number, (size, count) in enumerate(self._class_sizes):
            classes.append(ExtentClass(number, size, count, first, base))
            base, first = base + size * count, first + count
        return tuple(classes)

    @cached_property
    def extents(self) -> int:
        return sum(count for _, count in self._class_sizes)

    @cached_property
    def total_bytes(self) -> int:
        last = self.classes[-1]
        return last.base + last.size * last.count + _pages(self.capacity_bytes)

    @cached_property
    def _class_sizes(self) -> tuple[tuple[int, int], ...]:
        """Size and count of each class: one small extent for every tube, of larger ones as many as could be needed.

        An extent is taken for a record that does not fit the class below, so no more of a class are ever in use than
        the capacity holds extents of the class below; the last class holds the whole capacity in one piece.
        """
        sizes = [(PAGE, self.tubes)]
        while sizes[-1][0] < self.capacity_bytes:
            smaller = sizes[-1][0]
            size = min(smaller * CLASS_STEP, _pages(self.capacity_bytes))
            sizes.append((size, self.capacity_bytes // smaller + 1))
        return tuple(sizes)

    def slot_word(self, slot: int) -> int:
        return self.slots_word + slot * SLOT_WORDS

    def handler_word(self, number: int) -> int:
        return (self.handler_table + (number - 1) * HANDLER_BYTES) // WORD

    def handler_name(self, number: int) -> int:
        """Byte address of the entry's name."""
        return self.handler_table + (number - 1) * HANDLER_BYTES + HANDLER_WORDS * WORD

    def pause_word(self, place: int) -> int:
        return self.pauses_word + place * PAUSE_BYTES // WORD

    def action_word(self, number: int) -> int:
        """First word of the place of the action of that number, counted from 0."""
        return self.actions_word + number % self.action_places * ACTION_BYTES // WORD

    def thread_word(self, thread: int) -> int:
        return (self.thread_table + thread * THREAD_BYTES) // WORD

    def heap(self, which: int) -> int:
        """Byte address of a heap."""
        return self.heaps + which * self.heap_bytes

    def equality_table(self, side: int) -> int:
        """Byte address of a table of equal messages."""
        return self.equality_tables + side * self.equality_steps * EQUAL_STEP_BYTES

    def thread_name(self, thread: int) -> int:
        """Byte address of the entry's name."""
        return self.thread_table + thread * THREAD_BYTES + THREAD_WORDS * WORD

    def tally_word(self, slot: int, number: int) -> int:
        """First word of what the process in a slot counts of the handler of that number."""
        page, place = divmod(number, TALLIES_IN_PAGE)
        return (self.tallies + (slot * TALLY_PAGES + page) * PAGE) // WORD + place * TALLY_WORDS

    def tube_word(self, tube: int) -> int:
        return self.tube_table // WORD + tube * TUBE_WORDS


def _pages(nbytes: int) -> int:
    return -(-nbytes // PAGE) * PAGE
