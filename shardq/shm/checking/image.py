"""A copy of a segment as it is at one instant."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

from shardq.shm.files.refusals import told
from shardq.shm.segment import Segment

#: Linux's number, which Python names from 3.13 on. A copy has as many addresses as the segment, which may be more than
#: the machine has memory, and takes memory only for what the segment has memory for.
_MAP_NORESERVE = 0x4000


def image_of(segment: Segment) -> Segment:
    """Copy what the segment has memory for, about a gigabyte in 0.7 s; the copy takes as much memory again. Wants the
    guard held, or the copy is of no single instant. The caller closes the copy. Raises `SegmentError` where the system
    has no memory for it.
    """
    total_bytes = segment.layout.total_bytes
    with told(f"copy segment {segment.name!r}"):
        copy = mmap.mmap(-1, total_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
        descriptor = segment.duplicate()
    with memoryview(segment.bytes) as source, memoryview(copy) as target:
        for start, end in _backed(descriptor, total_bytes):
            target[start:end] = source[start:end]
    return Segment(segment.name, descriptor, copy, None)


def _backed(descriptor: int, total_bytes: int) -> Iterator[tuple[int, int]]:
    """The ranges of a file that take memory."""
    end = 0
    while end < total_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # there is nothing behind
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
