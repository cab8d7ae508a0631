"""Whether a segment at rest is whole, and what stands in it, read without the code that is tested."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from shardq.shm import words as at
from shardq.shm.checking.look import Moment
from shardq.shm.checking.whole import wrongs
from shardq.shm.segment import Segment, reserve_of
from shardq.shm.words import PAGE
from tests.faults.kit.image import backed_pages


def fsck(segment: Segment) -> list[str]:
    """What is wrong with a segment in which no process is at work, one line each."""
    guard = {"guard owner": segment.words[at.GUARD_OWNER], "tokens": segment.semaphore.value - 1}
    none = guard | _wrong_bytes_of_reserve(segment)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return [f"{what}: {value}" for what, value in none.items() if value] + wrongs(segment, Moment(now_ns, now_ns, runs))


class Failures(NamedTuple):
    """What a tube says of the message at its head."""

    head: int
    attempts: int


def failures_at_heads(segment: Segment) -> dict[str, Failures]:
    """How often the message at the head of each tube failed, read without the code that counts."""
    layout, words, found = segment.layout, segment.words, {}
    for tube in (tube for tube in range(layout.tubes) if segment.bytes[layout.tube_map + tube]):
        word = layout.tube_word(tube)
        head, failed = words[word + at.TUBE_HEAD_SEQUENCE], words[word + at.TUBE_FAILED_SEQUENCE]
        attempts = words[word + at.TUBE_ATTEMPTS] if failed == head else 0
        found[_place_of(segment, tube)] = Failures(head, attempts)
    return found


def uncounted_bytes(segment: Segment) -> int:
    """Memory of extents that none of the segment's words accounts for. Tables never shrink: what a death left uncounted
    there is found again when they grow.
    """
    layout, words, counted = segment.layout, segment.words, set[int]()
    for group in layout.classes:
        for n in range(group.count):
            start, nbytes = group.base + n * group.size, words[layout.extent_backed_word + group.first + n]
            counted.update(range(start // PAGE, (start + nbytes) // PAGE))
    extents = range(layout.extents_base // PAGE, reserve_of(layout)[0] // PAGE)
    return PAGE * len({page for page in backed_pages(segment) if page in extents} - counted)


def runs(pid: int) -> bool:
    """Whether the process lives; a corpse that waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return pid == os.getpid() or state not in "ZX"


def _wrong_bytes_of_reserve(segment: Segment) -> dict[str, int]:
    """Memory behind the bytes that the reserve counts, and bytes that it counts and that have no memory. Only trying
    tells: what is wrong is right afterwards.
    """
    (start, _), counted, taken_bytes = reserve_of(segment.layout), segment.words[at.RESERVED_BYTES], segment.taken_bytes
    segment.give_back(start + counted, segment.layout.total_bytes - start - counted)
    uncounted = taken_bytes - segment.taken_bytes
    if counted:
        segment.allocate(start, counted)
    missing = uncounted - (taken_bytes - segment.taken_bytes)
    return {"memory of the reserve that is not counted": uncounted, "memory that the reserve lacks": missing}


def _place_of(segment: Segment, tube: int) -> str:
    """The pipe of a tube, with a mark where it has what is in front of it."""
    layout, word = segment.layout, segment.layout.tube_word(tube)
    thread = segment.words[word + at.TUBE_THREAD] - 1
    start, length = layout.thread_name(thread), segment.words[layout.thread_word(thread) + at.THREAD_NAME_BYTES]
    priority = int.from_bytes(segment.words[word + at.TUBE_PRIORITY].to_bytes(8, "little"), "little", signed=True)
    return f"{segment.bytes[start : start + length].decode()}/{priority}{'^' * segment.words[word + at.TUBE_FRONT]}"
