"""What each word of a segment means, by its number in the part it belongs to; and the constants of the format.

Where the parts lie is computed in `layout`. A word is 8 bytes, aligned.
"""

from __future__ import annotations

from shardq.model import LONGEST_ACTION_BYTES

#: "shardq" and two bytes that no text file has, little endian.
MAGIC_NUMBER = int.from_bytes(b"shardq\x1f\xf1", "little")
#: Grows with every change of the layout. A segment carries it in its header, written last of all.
LAYOUT_VERSION = 12

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
    CLOSED,  # what the segment takes and hands out: OPEN, SHUT, LEAVING, LEFT or ARRIVING
    TOKEN,  # last fencing token given out
    ACCEPTED,  # messages ever accepted
    HANDLED,  # messages that ever left
    SEQUENCE_FLOOR,  # a new tube counts from here, so that a reclaimed one's numbers never come back
    THREADS_BACKED,  # bytes of the thread table that have memory
    TUBES_BACKED,
    RECLAIM_CURSOR,
    GUARD_OWNER,  # incarnation << 16 | slot + 1 of the process inside, 0: none
    INTENT_THREAD,  # thread entry + 1 that the process inside is changing
    INTENT_TUBE,  # tube entry + 1 that it is adding to the thread
    TOUCHED,  # how many other thread entries it is changing, which the journal lists
    STORES,  # how many stores of the journal count and have to be done, 0: no commit is under way
    BURIED,  # dead letters ever written
    UNBURIED,  # dead letters that ever left
    SUPERVISOR_PID,
    SUPERVISOR_SLOT,  # slot + 1 of the process that supervises, or did so last
    WATCHED,  # 1: the supervisor knows that some batches have a deadline
    AWAITED,  # 1: the supervisor wants to be rung when one of its workers takes a batch
    SERVERS,  # counts the processes that began to serve threads
    DEATHS_CURSOR,  # entries ever written to the table of deaths
    KEPT_BYTES,  # room kept for the letter of the largest message since nothing was queued; 0: the reserve is enough
    WANTED_BYTES,  # room kept for the largest follow-up that found none since nothing was queued
    INTENT_PENDING,  # 1: the process inside is changing pending records, 2: and lends extents for them
    PENDING_CELL,  # byte address of a pending record that is coming or going, 0: none
    COMING,  # how many other pending records are coming, which the journal lists
    PENDING_NUMBER,  # numbers ever given to pending messages
    DEFERRED,  # messages that wait for their time
    RECURRENT,  # messages that come again and again
    # The heaps: of deferred messages first, then of recurrent ones.
    HEAP_COUNT,
    RECURRENT_HEAP_COUNT,
    HEAP_BACKED,  # bytes of the heap that have memory
    RECURRENT_HEAP_BACKED,
    # A heap being put in order after a commit: once its count is SIFT_COUNT and the record is due at SIFT_DUE_US, the
    # record at SIFT_RECORD goes into place SIFT_PLACE or from there to where it belongs, and after it those from the
    # place SIFT_NEXT on.
    SIFT_RECORD,  # 0: nothing to do
    SIFT_HEAP,
    SIFT_PLACE,
    SIFT_COUNT,
    SIFT_DUE_US,
    SIFT_NEXT,
    NEXT_DUE_US,  # when the first pending record is due, 0: there is none
    ARMED_US,  # for when the supervisor has set its timer
    EQUALITY_STATE,  # which tables of equal messages there are, packed into one word: see `unique_index`
    EQUALITY_ENTRIES,  # about how many places of the current table are taken
    EQUALITY_KEY,  # what digests are salted with, 16 bytes that cannot be known beforehand
    EQUALITY_KEY_END,
    MONOTONIC_OFFSET_NS,  # how far the creator's clocks are from the machine's, two's complement
    BOOTTIME_OFFSET_NS,
    RESERVED_BYTES,  # memory that the reserve has, see `reserve`
    # For observers: a process that had the guard for longer than others had patience, and since when they waited.
    STUCK_ATTEMPT,  # see `stuck` in `processes.holding`
    STUCK_SINCE_NS,  # CLOCK_BOOTTIME
    EVICTED,  # dead letters that ever left to make room for others; they are among those that left
    HANDLERS,  # entries of the handler table in use
    HANDLERS_BACKED,  # bytes of the handler table that have memory
    LEAVING_BY,  # number of the move by which the content leaves or left
    ARRIVING_BY,  # number of the move by which the content arrives or arrived
    ARRIVED,  # messages of that move that are stored
    TARGET_BYTES,  # length of the URL of where the content goes, which stands at TARGET
    ORIGIN_BYTES,  # length of what says where the content comes from, which stands at ORIGIN
    TALLIES_BYTES,  # memory that tallies have, see `tubes.tallies`
    PAUSED,  # one bit for each place of the table of pauses that counts, 0: no handler is paused
    PAUSE_NUMBER,  # pauses ever made
    ACTIONS,  # actions of operators ever recorded; storing it makes the last one count
    DIED,  # a word for each of the ways in which workers died
) = range(72)
#: What CLOSED says. SHUT: nothing is accepted any more, the segment is about to go. LEAVING: the content is about to go
#: elsewhere; only what is in hand may still be acknowledged. LEFT: it is elsewhere. ARRIVING: that of another storage
#: comes; nothing else is taken, and nothing handed out.
OPEN, SHUT, LEAVING, LEFT, ARRIVING = range(5)
HEADER_BYTES = PAGE
#: Most tubes, messages and bytes that one append takes, so that its section stays below about a millisecond; of a small
#: segment at most one part in so many of the capacity, and of the threads.
MOST_PARTS, MOST_MESSAGES, MOST_STEP_BYTES, STEP_PART, DIRECTORY_PART = 128, 4096, 1 << 20, 8, 4
#: Most entries of the journal: threads that are touched, pending records that come, and stores of one commit.
MOST_TOUCHED, MOST_COMING, MOST_STORES = MOST_PARTS + 8, MOST_PARTS, MOST_PARTS + 8
#: In the header page, byte addresses of the texts that say where the content goes and comes from; most bytes of each.
TARGET, ORIGIN, LONGEST_PLACE = 1024, 1536, 512
#: In the header page, for the last processes that died: owner word, how it ended.
DEATHS, DEATH_WORDS, DEATH_ENTRIES = 256, 2, 128

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
    SLOT_PROGRESS_VERSION,  # odd: what follows is being written, 0: nothing was; no version comes back
    SLOT_PROGRESS,  # PROGRESS_WORDS words, see `processes.progress`
) = range(14)
#: How far the batch in hand has come: SLOT_BATCH_SINCE_NS of that batch, done, total, and a note of so many bytes.
NOTE_BYTES = 64
PROGRESS_WORDS = 3 + NOTE_BYTES // WORD
SLOT_WORDS = 24

# One (handler, thread), by word; its name follows the words.
(
    THREAD_HASH,
    THREAD_NEXT,  # next entry + 1 of the same bucket
    THREAD_OWNER,  # incarnation << 16 | slot + 1 of the process whose worker is bound, 0: none
    THREAD_TOKEN,  # fencing token of that binding
    THREAD_FIRST_TUBE,  # tube entry + 1
    THREAD_GENERATION,  # one more each time the entry is given up
    THREAD_NAME_BYTES,
    THREAD_FAILURES,  # deaths in a row of workers that had it and no batch of it in hand
    THREAD_NOT_BEFORE_NS,  # not offered to any worker before, CLOCK_BOOTTIME
    THREAD_APART,  # LETTERS or RESULTS: it holds dead letters, or results that are kept, which no worker serves
    THREAD_HANDLER,  # number of its handler in the handler table
    THREAD_TAKEN,  # tube entry + 1 that the batch in hand is from, 0: none was taken since the claim
    THREAD_TURN,  # batches ever taken
) = range(13)
THREAD_WORDS = 16
#: What THREAD_APART says.
LETTERS, RESULTS = 1, 2
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
    TUBE_FRONT,  # 1: it has what was put in front of the other tube of its priority
    # Failures of the message at the head, while it stood alone.
    TUBE_FAILED_SEQUENCE,  # the message meant; the rest counts only while it is at the head
    TUBE_ATTEMPTS,
    TUBE_FIRST_FAILED_US,
    TUBE_LAST_FAILED_US,
    TUBE_FAILED_BY,  # owner word of the process that died of it last, 0: it raised
    # Isolation: batches are at most so large while the head is below.
    TUBE_LIMIT,
    TUBE_LIMIT_THROUGH,
    # Equality: messages below are in the table of equal messages.
    TUBE_INDEXED,  # one more than that number, 0: no process asked for equality since the tube was empty
    TUBE_INDEXED_RECORD,  # the record in which the search goes on for those that are not
    TUBE_STAYED,  # messages below were with a worker, and stayed, when equal ones were taken out
) = range(20)

# One record that waits for its time, by word. Behind the words its pipe and its schedule, and a record as in a tube.
(
    PENDING_DUE_US,
    PENDING_FIRST,  # number of its first message, among equal times the order
    PENDING_PLACE,  # in its heap
    PENDING_TEXTS,  # bytes of the pipe | bytes of the schedule << 16
    PENDING_SCHEDULED_US,  # when it has to come; it is due later where there was no room for it
) = range(5)
PENDING_WORDS = 5
#: Which heap.
DEFERRED_HEAP, RECURRENT_HEAP = range(2)

# One place in a table of equal messages, by word.
(
    EQUAL_DIGEST,  # 0: free
    EQUAL_RECORD,  # tube entry + 1 << 48 | address of the message's record in the tube; without tube: pending record
    EQUAL_NUMBER,  # sequence number, or number of the pending message
) = range(3)
EQUAL_WORDS = 3
TUBE_WORDS = 24

# One handler, by word; its name, `module/Handler`, follows the words.
(
    HANDLER_NAME_BYTES,
    HANDLER_SERVED,  # 1: some process looked for work of it
) = range(2)
HANDLER_WORDS = 2
HANDLER_BYTES = HANDLER_WORDS * WORD + NAME_BYTES
#: Handlers have the numbers from 1 to this one, which fits a byte; those without an entry share OTHER_HANDLER.
LARGEST_HANDLER = 254
OTHER_HANDLER = 255
#: In a set of numbers: some of the handlers have none of their own yet, and may get one.
UNNUMBERED = 0
#: Bytes of the set of numbers that a process serves, one bit for each.
SERVED_BYTES = 32

# One pause of a handler, by word; its name and the reason follow the words, each with as much room as it may need.
(
    PAUSE_MADE,  # its number, 0 while the others are being written
    PAUSE_SINCE_US,
    PAUSE_UNTIL_US,  # 0: until it is resumed
    PAUSE_NAME_BYTES,
    PAUSE_REASON_BYTES,
) = range(5)
PAUSE_WORDS = 8
REASON_BYTES = 128
PAUSE_BYTES = PAUSE_WORDS * WORD + NAME_BYTES + REASON_BYTES
#: One more than there can be pauses: what takes the place of a pause is written beside it.
PAUSE_PLACES = 32

# One action of an operator, by word; as many bytes as it has follow the words.
(
    ACTION_AT_US,  # when it was recorded
    ACTION_LENGTH,  # how many bytes it has
) = range(2)
ACTION_WORDS = 3
ACTION_TOLD_BYTES = LONGEST_ACTION_BYTES
ACTION_BYTES = ACTION_WORDS * WORD + ACTION_TOLD_BYTES
#: The places for actions take at most one part in so many of the capacity.
ACTIONS_PART = 64

# What one process counted of one handler, by word.
(
    TALLY_ACCEPTED,
    TALLY_DONE,
    TALLY_DEAD,
    TALLY_CANCELLED,
    TALLY_FAILED,  # a word for each of the reasons
) = range(5)
(
    TALLY_BUSY_NS,
    TALLY_RATE_AT_NS,  # CLOCK_BOOTTIME of what follows
    TALLY_ACCEPTED_RATE,  # how many came in a second
    TALLY_ACCEPTED_RATED,  # of those that were accepted so many are in the rate
    TALLY_DONE_RATE,
    TALLY_DONE_RATED,
    TALLY_WAITED_US,  # for how long the oldest messages of all batches had waited
    TALLY_FULL,  # a word for each way in which calls found no room
) = range(8, 16)
#: A word for each bucket of times: how long the oldest message of a batch had waited, and how long batches took.
TALLY_WAIT, TALLY_WORK, TALLY_WORDS = 24, 88, 152
#: Which part of the capacity is set aside for them.
TALLIES_PART = 64
#: Blocks of so many words in a page, and pages of a slot.
TALLIES_IN_PAGE = 3
TALLY_PAGES = -(-(OTHER_HANDLER + 1) // TALLIES_IN_PAGE)

# What a byte of the thread map says. The values are looked for with `mmap.find`.
THREAD_FREE, THREAD_READY, THREAD_BOUND, THREAD_IDLE, THREAD_PAUSED, THREAD_DEAD_LETTERS = range(6)
# What a byte of the sleep map says.
ABSENT, AWAKE, ASLEEP, CALLED = range(4)

#: Room that appends leave for acknowledgements, dead letters and the like: one part in so many, and at most so much.
RESERVE_PART, LARGEST_RESERVE_BYTES = 16, 32 << 20
#: Which share of the capacity an operation may use: all but the reserve; half of the reserve as well, for what handlers
#: register (they could not make room otherwise); half of the rest as well, for a handler that sends on no more requests
#: than it acknowledges; all.
GENERAL, FOLLOW_UP, HAND_OVER, ALL = range(4)
#: Each extent class is so many times the size of the one before.
CLASS_STEP = 16
#: The tables get memory in steps of so many bytes, and of at most one part in so many of the capacity.
TABLE_STEP, TABLE_PART = 16 * PAGE, 16
#: A growing tube takes extents up to this class (1 MiB); above are single large records only.
LARGEST_GROWTH_CLASS = 2

#: Extents of this class are cut into cells for pending records.
SLAB_CLASS = 1
#: Bytes of the smallest cell: no pending record is smaller.
SMALLEST_CELL_BYTES = 96
#: A table of equal messages gets memory in steps of so many places, which are whole pages.
EQUAL_STEP = 512
EQUAL_STEP_BYTES = EQUAL_STEP * EQUAL_WORDS * WORD

SMALLEST_CAPACITY_BYTES = 256 << 10
LARGEST_DIRECTORY = 65_536
#: Entries that appends leave: for dead letters and claims, and half of them for what handlers register.
SPARE_ENTRIES = 64
DEFAULT_SLOTS = 256
