"""A copy of a segment as it is at one instant."""

from __future__ import annotations

import mmap

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
        for start, end in segment.data(0, total_bytes):
            target[start:end] = source[start:end]
    return Segment(segment.name, descriptor, copy, None)
