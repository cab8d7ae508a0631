"""A copy of a segment in which no process is at work, with which that segment can be put back.

It has the bytes, and tells which pages have memory: the kernel counts also those that nothing was written to yet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import posix_ipc

from shardq.shm import words as at
from shardq.shm.files.names import bell_paths
from shardq.shm.segment import Segment, reserve_of
from shardq.shm.words import PAGE, WORD

#: More rings than this no bell of a scene has taken in.
_MOST_RINGS = 4096
#: Seconds: no scene is there for longer. A time from before was written into it on purpose.
_RECENT_S = 60
#: No time is below this, by any clock of a machine that runs for some seconds.
_LEAST_TIME = 1 << 32
#: Of what a process counts of a handler: how long things took, and what follows from that.
_DURATIONS = (at.TALLY_BUSY_NS, at.TALLY_ACCEPTED_RATE, at.TALLY_DONE_RATE, at.TALLY_WAITED_US)
_BUCKETS = ((at.TALLY_WAIT, at.TALLY_WORK), (at.TALLY_WORK, at.TALLY_WORDS))


class Image:
    """What a segment holds, and what is beside it."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._taken_bytes = segment.taken_bytes
        self._bells = _bells_of(segment)
        backed = backed_pages(segment)
        self._parts = [(start, segment.bytes[start:end]) for start, end in _ranges(backed)]
        self._holes = list(_ranges(set(range(segment.layout.total_bytes // PAGE)) - backed))

    def put_back(self) -> bool:
        """Have the segment as it was, now that no process is at work in it again. Returns whether that was possible: a
        bell may be gone.
        """
        segment = self._segment
        for start, end in self._holes:
            segment.give_back(start, end - start)
        for start, content in self._parts:
            if segment.taken_bytes < self._taken_bytes:
                segment.allocate(start, len(content))
            segment.bytes[start : start + len(content)] = content
        bells = set(bell_paths(segment.system_name))
        for bell in bells - self._bells.keys():
            bell.unlink()
        rung_as_before = all(rings(bell, count) == count for bell, count in self._bells.items() if bell in bells)
        _have_one_token(segment.semaphore)
        return segment.taken_bytes == self._taken_bytes and rung_as_before and self._bells.keys() <= bells


def _have_one_token(semaphore: posix_ipc.Semaphore) -> None:
    """A process that died inside the guard took it along."""
    while semaphore.value > 1:
        semaphore.acquire(0)
    if not semaphore.value:
        semaphore.release()


def state_of(segment: Segment) -> str:
    """What a segment and its bells hold, in short: equal states are equal to every process that enters, but for which
    process ids stand in its slots, when in the last minute something was, and how long it took.
    """
    words = segment.words
    said = blake2b(f"{segment.taken_bytes} {segment.semaphore.value} {_bells_of(segment)}".encode())
    descriptor = os.open(segment.path, os.O_RDONLY)
    try:
        for start, end in _ranges(_pages_with_data(descriptor)):
            content = bytearray(os.pread(descriptor, end - start, start))
            if start == 0:  # with all slots, which are in the part that has memory from the beginning
                for place in filter(words.__getitem__, _process_words(segment)):
                    content[place * WORD : (place + 1) * WORD] = b"\1" * WORD
            _forget_times(segment, start, content)
            said.update(start.to_bytes(8))
            said.update(content)
    finally:
        os.close(descriptor)
    return said.hexdigest()


def _process_words(segment: Segment) -> list[int]:
    """The words that differ where another process did the same."""
    first, behind = segment.layout.slot_word(0), segment.layout.slot_word(segment.layout.slots)
    slots = (range(first + field, behind, at.SLOT_WORDS) for field in (at.SLOT_PID, at.SLOT_START_TICKS))
    return [at.SUPERVISOR_PID, *chain(*slots)]


def _forget_times(segment: Segment, start: int, content: bytearray) -> None:
    """Have what lies there from `start` on say only that something was, and not when or for how long. Times to come
    stay: they say that it is to be waited.
    """
    clocks = ((time.CLOCK_REALTIME, 1000), (time.CLOCK_BOOTTIME, 1), (time.CLOCK_MONOTONIC, 1))
    now = [(time.clock_gettime_ns(clock) // unit_ns, _RECENT_S * 10**9 // unit_ns) for clock, unit_ns in clocks]
    with memoryview(content) as view, view.cast("Q") as words:
        for place, word in enumerate(words.tolist()):
            if word > _LEAST_TIME and any(clock - recent < word <= clock for clock, recent in now):
                words[place] = 1
        for block in _blocks(segment, start, len(content)):
            for place in _DURATIONS:
                words[block + place] = 0
            for first, behind in _BUCKETS:
                its = words[block + first : block + behind]
                its[0] = sum(its)
                its[1:] = memoryview(bytes(WORD * (behind - first - 1))).cast("Q")


def _blocks(segment: Segment, start: int, nbytes: int) -> Iterator[int]:
    """The words, counted from `start`, where begins what a process counts of a handler."""
    layout = segment.layout
    low = max(start, layout.tallies)
    high = min(start + nbytes, layout.tallies + layout.slots * at.TALLY_PAGES * PAGE)
    for page in range(low, high, PAGE):
        yield from ((page - start) // WORD + place * at.TALLY_WORDS for place in range(at.TALLIES_IN_PAGE))


def _bells_of(segment: Segment) -> dict[Path, int]:
    """How many rings each bell has that were not taken in yet."""
    return {bell: rings(bell) for bell in sorted(bell_paths(segment.system_name))}


def backed_pages(segment: Segment) -> set[int]:
    """Numbers of the pages that have memory. Pages without data are tried one by one, until all are found."""
    descriptor = os.open(segment.path, os.O_RDWR)
    try:
        backed = set(_pages_with_data(descriptor))
        count = segment.taken_bytes // PAGE
        for page in _pages_likely_first(segment):
            if len(backed) == count:
                break
            if page not in backed and not _is_hole(segment, page):
                backed.add(page)
    finally:
        os.close(descriptor)
    assert len(backed) == count, f"{count} pages have memory, {len(backed)} were found"
    return backed


def _pages_with_data(descriptor: int) -> Iterator[int]:
    end, size = 0, os.fstat(descriptor).st_size
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # ENXIO: there is none behind
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield from range(start // PAGE, -(-end // PAGE))


def _pages_likely_first(segment: Segment) -> Iterator[int]:
    layout, (start, _) = segment.layout, reserve_of(segment.layout)
    yield from range(start // PAGE, (start + segment.words[at.RESERVED_BYTES]) // PAGE)
    yield from range(layout.extents_base // PAGE)
    for group in layout.classes:
        for n in range(group.count):
            start, nbytes = group.base + n * group.size, segment.words[layout.extent_backed_word + group.first + n]
            yield from range(start // PAGE, (start + nbytes) // PAGE)
    yield from range(layout.total_bytes // PAGE)


def _is_hole(segment: Segment, page: int) -> bool:
    """Whether giving the page memory makes the segment larger. It is given back then."""
    before = segment.taken_bytes
    segment.allocate(page * PAGE, PAGE)
    if segment.taken_bytes == before:
        return False
    segment.give_back(page * PAGE, PAGE)
    return True


def _ranges(pages: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Where the pages begin and end, in bytes, those beside each other as one."""
    start = end = 0
    for page in sorted(pages):
        if page * PAGE != end:
            if end > start:
                yield start, end
            start = page * PAGE
        end = (page + 1) * PAGE
    if end > start:
        yield start, end


def rings(bell: Path, count: int | None = None) -> int:
    """How many rings the bell has that were not taken in yet. With `count` it has so many afterwards."""
    descriptor = os.open(bell, os.O_RDWR | os.O_NONBLOCK)
    try:
        try:
            had = len(os.read(descriptor, _MOST_RINGS))
        except BlockingIOError:
            had = 0
        return os.write(descriptor, b"!" * (had if count is None else count))
    finally:
        os.close(descriptor)
