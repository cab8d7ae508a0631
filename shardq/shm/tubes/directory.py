"""Threads by name, and the tubes of each: hash buckets of chained entries, published by one store.

Names are opaque. A thread's tubes hang on it in a list, one for each priority, and one for what was put in front of
that; there are few.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

from shardq.errors import DirectoryFull, HandlerError, shown
from shardq.model import key_of, priority_of, split_key
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.tubes.entry_memory import EntryMemory
from shardq.shm.tubes.handler_table import HandlerTable
from shardq.shm.words import TUBE_WORDS

#: How many idle entries are given up at once when all are in use.
_RECLAIM_BATCH = 256
_FREE, _IDLE = bytes((at.THREAD_FREE,)), bytes((at.THREAD_IDLE,))
_DEAD_LETTERS = bytes((at.THREAD_DEAD_LETTERS,))
_LIVING = re.compile(b"[%s]" % re.escape(bytes((at.THREAD_READY, at.THREAD_BOUND, at.THREAD_PAUSED))))
#: How many entries an operation leaves, by its share.
_SPARED = {
    at.GENERAL: at.SPARE_ENTRIES,
    at.FOLLOW_UP: at.SPARE_ENTRIES // 2,
    at.HAND_OVER: at.SPARE_ENTRIES // 4,
    at.ALL: 0,
}
#: Words of a new entry.
_ZEROS = memoryview(bytes(max(at.THREAD_WORDS, TUBE_WORDS) * at.WORD)).cast("Q")
NOT_FOUND = -1
NO_ROOM = -2


class Directory:
    """Finds and adds entries. All methods want the guard held; indices found stay valid while it is."""

    def __init__(self, segment: Segment, journal: Journal, extents: Extents, handlers: HandlerTable) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._journal = journal
        self._memory = EntryMemory(segment, extents)
        self._handlers = handlers
        self._known: dict[str, tuple[int, int]] = {}
        self._known_tubes: dict[str, tuple[int, int, int]] = {}
        self._known_priorities: dict[int, tuple[int, int, dict[int, list[int]]]] = {}

    def thread(self, key: str) -> int:
        """The entry of this name, or NOT_FOUND."""
        known = self.known(key)
        if known != NOT_FOUND:
            return known
        digest = digest_of(key)
        entry, passed = self._words[self._bucket(digest)], 0
        while entry:
            passed = self._followed(entry, passed)
            word = self._layout.thread_word(entry - 1)
            if self._words[word + at.THREAD_HASH] == digest and self.name(entry - 1) == key:
                return self._remember(key, entry - 1)
            entry = self._words[word + at.THREAD_NEXT]
        return NOT_FOUND

    def known(self, key: str) -> int:
        """As `thread`, where this process knows it; NOT_FOUND where it has to look. Wants no guard."""
        known = self._known.get(key)
        if known and self._words[self._layout.thread_word(known[0]) + at.THREAD_GENERATION] == known[1]:
            return known[0]
        return NOT_FOUND

    def knows(self, pipe: str) -> bool:
        """Whether this process knows the tube of the pipe. Wants no guard."""
        known = self._known_tubes.get(pipe)
        return known is not None and self.generation(known[0]) == known[1]

    def tube(self, pipe: str, *, front: bool = False) -> tuple[int, int]:
        """Thread and tube entry of a pipe, or of what is in front of it; NOT_FOUND for what there is not."""
        known = None if front else self._known_tubes.get(pipe)
        if known and self._words[self._layout.thread_word(known[0]) + at.THREAD_GENERATION] == known[1]:
            return known[0], known[2]
        thread, tubes = self.tubes(pipe)
        for tube in tubes:
            if self.front(tube) == front:
                return thread, tube if front else self._remember_tube(pipe, thread, tube)
        return thread, NOT_FOUND

    def tubes(self, pipe: str) -> tuple[int, Sequence[int]]:
        """The thread of a pipe, NOT_FOUND where there is none, and its tubes as far as there are any: what is in front
        comes first.
        """
        priority, thread = priority_of(pipe), self.thread(key_of(pipe))
        return thread, () if thread == NOT_FOUND else self.priorities(thread).get(priority, ())

    def priorities(self, thread: int) -> Mapping[int, Sequence[int]]:
        """The tubes of a thread by priority, what is in front of each first. A worker looks for them before each
        batch, so they are remembered.
        """
        word = self._layout.thread_word(thread)
        generation, first = self._words[word + at.THREAD_GENERATION], self._words[word + at.THREAD_FIRST_TUBE]
        known = self._known_priorities.get(thread)
        if known and known[0] == generation and known[1] == first:
            return known[2]
        found: dict[int, list[int]] = {}
        for tube in reversed(self.tubes_of(thread)):
            its = found.setdefault(self.priority(tube), [])
            its.insert(0 if self.front(tube) else len(its), tube)
        self._known_priorities[thread] = generation, first, found
        return found

    def check_name(self, pipe: str) -> None:
        """Raise `HandlerError` for a pipe that cannot have an entry. Wants no guard."""
        if pipe in self._known_tubes:
            return
        priority_of(pipe)
        _encoded(key_of(pipe))

    def add_thread(self, key: str, *, share: int = at.GENERAL, apart: int = 0) -> int:
        """A new entry, or NO_ROOM for lack of memory. Raises `DirectoryFull`."""
        name = _encoded(key)
        thread = self._new_entry(self._layout.thread_map, self._layout.threads, self._memory.back_threads, share)
        if thread == NO_ROOM:
            return NO_ROOM
        self._journal.declare(thread)
        self._bytes[self._layout.thread_map + thread] = at.THREAD_IDLE
        word, digest = self._layout.thread_word(thread), digest_of(key)
        kept = word + at.THREAD_GENERATION
        self._words[word:kept] = _ZEROS[: at.THREAD_GENERATION]
        self._words[kept + 1 : word + at.THREAD_WORDS] = _ZEROS[: at.THREAD_WORDS - at.THREAD_GENERATION - 1]
        self._words[word + at.THREAD_HASH] = digest
        self._words[word + at.THREAD_NAME_BYTES] = len(name)
        self._words[word + at.THREAD_APART] = apart
        self._words[word + at.THREAD_HANDLER] = 0 if apart else self._handlers.number(split_key(key)[0])
        address = self._layout.thread_name(thread)
        self._bytes[address : address + len(name)] = name
        bucket = self._bucket(digest)
        self._words[word + at.THREAD_NEXT] = self._words[bucket]
        self._words[bucket] = thread + 1
        return self._remember(key, thread)

    def add_tube(self, pipe: str, *, front: bool = False, share: int = at.GENERAL, apart: int = 0) -> tuple[int, int]:
        """Thread and tube entry of a pipe, or of what is in front of one. They are added where there are none;
        (NO_ROOM, NO_ROOM) for lack of memory. `apart`: a new thread is for LETTERS or RESULTS, and no worker serves
        it. Raises `DirectoryFull`.
        """
        thread, tube = self.tube(pipe, front=front)
        if tube != NOT_FOUND:
            return thread, tube
        if thread == NOT_FOUND:
            thread = self.add_thread(key_of(pipe), share=share, apart=apart)
        if thread == NO_ROOM:
            return NO_ROOM, NO_ROOM
        self._journal.declare(thread)  # also keeps it from being reclaimed to make place for its own tube
        tube = self._new_entry(self._layout.tube_map, self._layout.tubes, self._memory.back_tubes, share)
        if tube == NO_ROOM:
            return NO_ROOM, NO_ROOM
        self._journal.declare(thread)
        self._journal.declare_tube(tube)
        self._bytes[self._layout.tube_map + tube] = 1
        word, thread_word = self._layout.tube_word(tube), self._layout.thread_word(thread)
        self._words[word : word + TUBE_WORDS] = _ZEROS[:TUBE_WORDS]
        floor = self._words[at.SEQUENCE_FLOOR]
        self._words[word + at.TUBE_HEAD_SEQUENCE] = self._words[word + at.TUBE_NEXT_SEQUENCE] = floor
        self._words[word + at.TUBE_PRIORITY] = priority_of(pipe) % (1 << 64)
        self._words[word + at.TUBE_FRONT] = front
        self._words[word + at.TUBE_NEXT] = self._words[thread_word + at.THREAD_FIRST_TUBE]
        self._words[word + at.TUBE_THREAD] = thread + 1
        self._words[thread_word + at.THREAD_FIRST_TUBE] = tube + 1
        self._journal.forget_tube()
        return thread, tube if front else self._remember_tube(pipe, thread, tube)

    def tubes_of(self, thread: int) -> list[int]:
        """Tube entries of a thread."""
        tube = self._first_tube(thread)
        tubes: list[int] = []
        while tube:
            if tube > self._layout.tubes or len(tubes) > self._layout.tubes:
                raise damaged(self._segment.name, f"the tubes of thread {thread} lead nowhere")
            tubes.append(tube - 1)
            tube = self._words[self._layout.tube_word(tube - 1) + at.TUBE_NEXT]
        return tubes

    def priority(self, tube: int) -> int:
        unsigned = self._words[self._layout.tube_word(tube) + at.TUBE_PRIORITY]
        return unsigned - (1 << 64) if unsigned >> 63 else unsigned

    def front(self, tube: int) -> bool:
        """Whether what is in this tube is in front of the other one of its priority."""
        return bool(self._words[self._layout.tube_word(tube) + at.TUBE_FRONT])

    def pipes_of(self, thread: int) -> Iterator[tuple[str, Sequence[int]]]:
        """Each pipe of a thread, the oldest first, and its tubes: what is in front comes first."""
        key = self.name(thread)
        return ((f"{key}/{priority}", tubes) for priority, tubes in self.priorities(thread).items())

    def name(self, thread: int) -> str:
        """The key of a thread entry."""
        address = self._layout.thread_name(thread)
        length = self._words[self._layout.thread_word(thread) + at.THREAD_NAME_BYTES]
        if length > at.NAME_BYTES or not 0 <= thread < self._layout.threads:
            raise damaged(self._segment.name, f"thread {thread} has no name")
        return self._bytes[address : address + length].decode()

    def handler(self, thread: int) -> int:
        """Number of the handler whose thread it is."""
        number = self._words[self._layout.thread_word(thread) + at.THREAD_HANDLER]
        if number > at.OTHER_HANDLER:
            raise damaged(self._segment.name, f"thread {thread} is no handler's")
        return number

    def apart(self, thread: int) -> int:
        """LETTERS or RESULTS where the thread holds dead letters or results that are kept, else 0."""
        kind: int = self._words[self._layout.thread_word(thread) + at.THREAD_APART]
        return kind

    def living(self, after: int | None = None) -> Iterator[int]:
        """Entries of threads that have work or a worker, behind that one. Idle ones, however many, cost little."""
        first = 0 if after is None else after + 1
        states = self._bytes[self._layout.thread_map + first : self._layout.thread_map + self._layout.threads]
        return (first + found.start() for found in _LIVING.finditer(states))

    def graves(self, after: int | None = None) -> list[int]:
        """Threads that hold dead letters or results that are kept, behind that one."""
        start, end = self._layout.thread_map, self._layout.thread_map + self._layout.threads
        found, place = [], self._bytes.find(_DEAD_LETTERS, start if after is None else start + after + 1, end)
        while place >= 0:
            found.append(place - start)
            place = self._bytes.find(_DEAD_LETTERS, place + 1, end)
        return found

    def generation(self, thread: int) -> int:
        """Changes when the entry is given up: what was known of it is void then."""
        return self._words[self._layout.thread_word(thread) + at.THREAD_GENERATION]

    def threads(self) -> Iterator[int]:
        """All entries in use."""
        start, end = self._layout.thread_map, self._layout.thread_map + self._layout.threads
        used = self._bytes[start:end].rstrip(_FREE)
        return (thread for thread, state in enumerate(used) if state != at.THREAD_FREE)

    def linked(self, thread: int) -> bool:
        """Whether the entry can be found by its name."""
        if not 0 <= thread < self._layout.threads:
            raise damaged(self._segment.name, f"there can be no thread {thread}")
        entry, passed = self._words[self._bucket(self._words[self._layout.thread_word(thread) + at.THREAD_HASH])], 0
        while entry and entry != thread + 1:
            passed = self._followed(entry, passed)
            entry = self._words[self._layout.thread_word(entry - 1) + at.THREAD_NEXT]
        return entry == thread + 1

    def forget(self, thread: int) -> None:
        """Give up an entry and its tubes, which are empty. Their sequence numbers are not used again."""
        word = self._layout.thread_word(thread)
        self._journal.declare(thread)
        for tube in self.tubes_of(thread):
            used = self._words[self._layout.tube_word(tube) + at.TUBE_NEXT_SEQUENCE]
            self._words[at.SEQUENCE_FLOOR] = max(self._words[at.SEQUENCE_FLOOR], used)
        self._words[word + at.THREAD_GENERATION] += 1
        self._unlink(thread)
        self.free_entries(thread)

    def free_entries(self, thread: int) -> None:
        """Mark an entry that cannot be found any more, and its tubes, as free."""
        word = self._layout.thread_word(thread)
        for tube in self.tubes_of(thread):
            self._bytes[self._layout.tube_map + tube] = 0
        self._words[word + at.THREAD_FIRST_TUBE] = 0
        self._bytes[self._layout.thread_map + thread] = at.THREAD_FREE

    def _first_tube(self, thread: int) -> int:
        """Entry + 1 of the thread's newest tube, 0: none. Changes with every tube that is added."""
        return self._words[self._layout.thread_word(thread) + at.THREAD_FIRST_TUBE]

    def _new_entry(self, byte_map: int, entries: int, back: Callable[[int, int], bool], share: int) -> int:
        """The lowest free entry of a table, with memory. Where there is none, or no memory for it, that of a thread
        without work will do. NO_ROOM: there is no memory even so. Raises `DirectoryFull`.
        """
        for reclaimed in (False, True):
            entry = self._lowest_free(byte_map, entries - _SPARED[share])
            if entry != NOT_FOUND and back(entry + 1, share):
                return entry
            if reclaimed or not self._reclaim():
                break
        if entry == NOT_FOUND:
            raise self._exhausted()
        return NO_ROOM

    def _lowest_free(self, start: int, count: int) -> int:
        return max(NOT_FOUND, self._bytes.find(_FREE, start, start + count) - start)

    def _reclaim(self) -> bool:
        """Give up some threads that are drained and to which no worker is bound, going round the table."""
        start, end = self._layout.thread_map, self._layout.thread_map + self._layout.threads
        place, reclaimed = start + self._words[at.RECLAIM_CURSOR], 0
        protected = self._journal.threads
        for _ in range(2):
            while reclaimed < _RECLAIM_BATCH and (place := self._bytes.find(_IDLE, place, end)) >= 0:
                if place - start not in protected:
                    self.forget(place - start)
                    reclaimed += 1
                place += 1
            if reclaimed:
                break
            place = start
        self._words[at.RECLAIM_CURSOR] = max(0, place - start) % self._layout.threads
        return reclaimed > 0

    def _exhausted(self) -> DirectoryFull:
        return DirectoryFull(
            f"segment {self._segment.name!r} has {self._layout.threads - at.SPARE_ENTRIES} entries for threads and "
            f"tubes and all hold work: route to fewer threads (`threads = 1024` beside `route_by`, or "
            f"Route.by(key, threads=1024)), or create it with more"
        )

    def _unlink(self, thread: int) -> None:
        word = self._layout.thread_word(thread)
        place, passed = self._bucket(self._words[word + at.THREAD_HASH]), 0
        while self._words[place] != thread + 1:
            if not self._words[place]:
                return
            passed = self._followed(self._words[place], passed)
            place = self._layout.thread_word(self._words[place] - 1) + at.THREAD_NEXT
        self._words[place] = self._words[word + at.THREAD_NEXT]

    def _followed(self, entry: int, passed: int) -> int:
        """How many entries of a bucket's chain were passed with this one. Raises `SegmentForeign` for what none has."""
        if entry > self._layout.threads or passed > self._layout.threads:
            raise damaged(self._segment.name, "the names of its threads lead round in a circle, or nowhere")
        return passed + 1

    def _bucket(self, digest: int) -> int:
        return self._layout.index_word + digest % self._layout.buckets

    def _remember(self, key: str, thread: int) -> int:
        if len(self._known) > self._layout.threads:
            self._known.clear()
        self._known[key] = thread, self.generation(thread)
        return thread

    def _remember_tube(self, pipe: str, thread: int, tube: int) -> int:
        if len(self._known_tubes) > self._layout.tubes:
            self._known_tubes.clear()
        self._known_tubes[pipe] = thread, self.generation(thread), tube
        return tube


@lru_cache(maxsize=16)  # of a new thread it is asked for twice in a row, and takes 2 us
def digest_of(key: str) -> int:
    """What an entry has of its name beside the name."""
    return digest_of_name(_text(key))


def digest_of_name(name: bytes) -> int:
    """The same of a name as it stands in an entry."""
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")


def _encoded(key: str) -> bytes:
    name = _text(key)
    if len(name) > at.NAME_BYTES:
        raise HandlerError(
            f"{shown(key)} is longer than {at.NAME_BYTES} bytes: shorten the name of the module or class"
        )
    return name


def _text(key: str) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError:
        raise HandlerError(f"{shown(key)} is no name that can be stored: it is not UTF-8") from None
