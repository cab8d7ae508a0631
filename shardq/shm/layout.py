"""Where every word of a segment lives. Offsets are computed here and nowhere else.

    header | slots | byte maps | index | extent tables || thread entries | tube entries || extents by class
    ------------------- fixed part --------------------   ------ as needed -----------    ---- sparse -----

The fixed part is backed by memory from the start. Entries are backed as the tables grow, extents as they are written:
the segment is large in address space and small in memory. A word is 8 bytes, aligned, accessed through one
`memoryview.cast("Q")`: such a store is never torn (`struct.pack_into` is: it zeroes its target first).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

#: "shardq" and two bytes that no text file has, little endian.
MAGIC_NUMBER = int.from_bytes(b"shardq\x1f\xf1", "little")
#: Grows with every change of the layout. A segment carries it in its header, written last of all.
LAYOUT_VERSION = 2

WORD = 8
PAGE = 4096

# Header, by word.
(
    MAGIC,
    VERSION,
    TOTAL_BYTES,
    CAPACITY_BYTES,
    SLOTS,
    THREADS,
    TUBES,
    CREATED_US,
    PRIVATE,  # 1: the segment ends with its supervisor, whatever is in it
    CLOSED,  # 1: nothing is accepted any more, the segment is about to go
    TOKEN,  # last fencing token given out
    ACCEPTED,  # messages ever accepted
    HANDLED,  # messages that ever left
    SEQUENCE_FLOOR,  # a new tube counts from here, so that a reclaimed one's numbers never come back
    THREADS_BACKED,  # bytes of the thread table that have memory
    TUBES_BACKED,
    RECLAIM_CURSOR,
    GUARD_OWNER,  # incarnation << 16 | slot + 1 of the process inside, 0: nobody
    INTENT_THREAD,  # thread entry + 1 that the process inside is changing
    INTENT_OTHER,  # a second thread entry + 1, for what goes from one to another
    INTENT_TUBE,  # tube entry + 1 that it is adding to the thread
    # A commit and the words that follow it: once [PLACE] holds VALUE, the counter word must hold TOTAL, and so on.
    COMMIT_PLACE,
    COMMIT_VALUE,
    COMMIT_TOTAL,
    COMMIT_COUNTER,  # 0: no commit under way
    COMMIT_SECOND,  # 0: no second word follows
    COMMIT_SECOND_VALUE,
    COMMIT_THIRD,
    COMMIT_THIRD_VALUE,
    BURIED,  # dead letters ever written
    UNBURIED,  # dead letters that ever left
    SUPERVISOR_PID,
    SUPERVISOR_SLOT,  # slot + 1 of the process that supervises, or did so last
    WATCHED,  # 1: the supervisor knows that some batches have a deadline
    SERVERS,  # counts the processes that began to serve threads
    DEATHS_CURSOR,  # entries ever written to the table of deaths
    KEPT_BYTES,  # room kept for the letter of the largest message since nothing was queued; 0: the reserve is enough
    WANTED_BYTES,  # room kept for the largest follow-up that found none since nothing was queued
) = range(38)
HEADER_BYTES = PAGE
#: In the header page, for the last processes that died: owner word, how it ended.
DEATHS = 256
DEATH_WORDS = 2
DEATH_ENTRIES = 128

# One attached process, by word.
(
    SLOT_PID,  # 0: free
    SLOT_START_TICKS,  # field 22 of /proc/PID/stat: tells a process from a later one with its pid
    SLOT_PID_NAMESPACE,
    SLOT_INCARNATION,  # one more for every process that takes the slot; 48 bits
    SLOT_ATTEMPT,  # sequence << 16 | guard + 1 while trying or holding, sequence << 16 when out; never goes back
    SLOT_BATCH_SINCE_NS,  # CLOCK_BOOTTIME when the batch in hand was taken, 0: none
    SLOT_BATCH_THREAD,  # thread entry + 1
    SLOT_BATCH_COUNT,
    SLOT_WORKER,  # number of the worker in its family, 0: no worker, or one whose death is written down
    SLOT_DEADLINE_NS,  # CLOCK_MONOTONIC when the batch in hand must be done, 0: whenever
    SLOT_SERVES,  # 1: it has bound a thread since it took the slot
    SLOT_RENEWAL,  # 1: it wants to be replaced by a fresh process
) = range(12)
SLOT_WORDS = 16

# One (handler, thread), by word; its name follows the words.
(
    THREAD_HASH,
    THREAD_NEXT,  # next entry + 1 of the same bucket
    THREAD_OWNER,  # incarnation << 16 | slot + 1 of the process whose worker is bound, 0: nobody
    THREAD_TOKEN,  # fencing token of that binding
    THREAD_FIRST_TUBE,  # tube entry + 1
    THREAD_GENERATION,  # one more each time the entry is given up
    THREAD_NAME_BYTES,
    THREAD_FAILURES,  # deaths in a row of workers that had it and no batch of it in hand
    THREAD_NOT_BEFORE_US,  # offered to nobody before
    THREAD_APART,  # 1: it holds dead letters, which are work for nobody
    THREAD_DECLINED,  # 1: a worker that looked for work has no handler for it
    THREAD_TAKEN,  # tube entry + 1 that the batch in hand is from, 0: none was taken since the claim
) = range(12)
THREAD_WORDS = 16
NAME_BYTES = 256
THREAD_BYTES = THREAD_WORDS * WORD + NAME_BYTES

# One tube, by word.
(
    TUBE_THREAD,  # thread entry + 1, 0: free
    TUBE_PRIORITY,  # two's complement
    TUBE_NEXT,  # next tube + 1 of the same thread
    TUBE_HEAD_SEQUENCE,  # next message to be handled; storing it acknowledges all below
    TUBE_HEAD_RECORD,  # byte address of the record that holds it, or of an earlier one
    TUBE_TAIL,  # byte address of the last record, 0: none; storing it commits an append
    TUBE_NEXT_SEQUENCE,  # of the next message, while there is no record to derive it from
    TUBE_HANDED,  # messages below it were given to a worker
    TUBE_CANCELLED,  # 1: some records have cancelled messages
    TUBE_AHEAD,  # 1: it is served before the tube of the same priority
    # Failures of the message at the head, while it stood alone.
    TUBE_FAILED_SEQUENCE,  # the message meant; the rest counts only while it is at the head
    TUBE_ATTEMPTS,
    TUBE_FIRST_FAILED_US,
    TUBE_LAST_FAILED_US,
    TUBE_FAILED_BY,  # owner word of the process that died of it last, 0: it raised
    # Isolation: batches are at most so large while the head is below.
    TUBE_LIMIT,
    TUBE_LIMIT_THROUGH,
) = range(17)
TUBE_WORDS = 24

# What a byte of the thread map says. The values are looked for with `mmap.find`.
THREAD_FREE, THREAD_READY, THREAD_BOUND, THREAD_IDLE, THREAD_PAUSED, THREAD_DEAD_LETTERS = range(6)
# What a byte of the sleep map says.
ABSENT, AWAKE, ASLEEP, CALLED = range(4)

#: Room that appends leave for acknowledgements, dead letters and the like: one part in so many.
RESERVE_PART = 16
#: Which share of the capacity an operation may use: all but the reserve; half of the reserve as well, for what handlers
#: register (they could not make room otherwise); all.
GENERAL, FOLLOW_UP, ALL = range(3)
#: Each extent class is so many times the size of the one before.
CLASS_STEP = 16
#: The tables get memory in steps of so many bytes.
TABLE_STEP = 16 * PAGE
#: A growing tube takes extents up to this class (1 MiB); above are single large records only.
LARGEST_GROWTH_CLASS = 2

SMALLEST_CAPACITY_BYTES = 256 << 10
LARGEST_DIRECTORY = 65_536
DEFAULT_SLOTS = 256


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
        """A layout for this capacity. Without `threads` it has an entry for each page of it, at most 65,536."""
        if threads is None:
            threads = min(LARGEST_DIRECTORY, 1 << (max(1, capacity_bytes // PAGE).bit_length() - 1))
        return cls(capacity_bytes, slots, threads, threads)

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
    def tube_map(self) -> int:
        """One byte per tube entry: 1 while in use."""
        return self.thread_map + self.threads

    @cached_property
    def extent_map(self) -> int:
        """One byte per extent: 1 while lent."""
        return self.tube_map + self.tubes

    @cached_property
    def index_word(self) -> int:
        """First of `buckets` words, each the thread entry + 1 that starts a bucket's chain."""
        return -(-(self.extent_map + self.extents) // WORD)

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
    def fixed_bytes(self) -> int:
        return _pages((self.extent_next_word + self.extents) * WORD)

    @cached_property
    def thread_table(self) -> int:
        return self.fixed_bytes

    @cached_property
    def tube_table(self) -> int:
        return self.thread_table + _pages(self.threads * THREAD_BYTES)

    @cached_property
    def extents_base(self) -> int:
        return self.tube_table + _pages(self.tubes * TUBE_WORDS * WORD)

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
        return last.base + last.size * last.count

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

    def thread_word(self, thread: int) -> int:
        return (self.thread_table + thread * THREAD_BYTES) // WORD

    def thread_name(self, thread: int) -> int:
        """Byte address of the entry's name."""
        return self.thread_table + thread * THREAD_BYTES + THREAD_WORDS * WORD

    def tube_word(self, tube: int) -> int:
        return self.tube_table // WORD + tube * TUBE_WORDS


def _pages(nbytes: int) -> int:
    return -(-nbytes // PAGE) * PAGE
