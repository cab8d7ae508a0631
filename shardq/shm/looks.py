"""Looks at a segment that this process may close meanwhile: in another thread, or in another task between two looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shardq.shm.damage import damage_told
from shardq.shm.processes.guard import closed
from shardq.shm.segment import Segment


@contextmanager
def looking_at(segment: Segment) -> Iterator[None]:
    """Raise `StorageClosed` where the segment is closed, or was closed within, and else `SegmentForeign` for signs of
    damage within.
    """
    if segment.closed:
        raise closed(segment.name)
    try:
        with damage_told(segment.name):
            yield
    except Exception as error:
        if segment.closed:
            raise closed(segment.name) from error
        raise
