"""Segments for tests: small, with names of their own, and gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shardq.shm.files.names import SHM_DIRECTORY, full_name
from shardq.shm.files.own_files import remove_files
from shardq.shm.layout import Layout
from shardq.shm.observing.observer import Observer
from shardq.shm.registry import close_store, create_store, observe, stop_observing
from shardq.shm.segment import Segment
from shardq.shm.store import Store
from tests.support.drivers import MIB
from tests.support.leaks import segment_name

#: Opens stores, `new_store(capacity_bytes, threads)`.
NewStore = Callable[..., Store]
#: Opens segments, `new_segment(capacity_bytes, threads)`, without a store around them.
NewSegment = Callable[..., Segment]


new_name = segment_name


def files_of(name: str) -> set[str]:
    """Everything in /dev/shm that belongs to the segment, its semaphore included."""
    return {entry.name for entry in SHM_DIRECTORY.iterdir() if full_name(name) in entry.name}


@contextmanager
def observing(name: str) -> Iterator[Observer]:
    """What looks at the segment from outside."""
    observer = observe(name)
    try:
        yield observer
    finally:
        stop_observing(observer)


@contextmanager
def stores() -> Iterator[NewStore]:
    """Closes what it opened and removes its files."""
    opened: list[Store] = []

    def opener(capacity_bytes: int = MIB, threads: int | None = None) -> Store:
        opened.append(create_store(new_name(), capacity_bytes, threads=threads))
        return opened[-1]

    try:
        yield opener
    finally:
        for store in opened:
            close_store(store)
            remove_files(store.segment.name)


@contextmanager
def segments() -> Iterator[NewSegment]:
    """Closes what it opened and removes its files."""
    opened: list[Segment] = []

    def opener(capacity_bytes: int = MIB, threads: int | None = None) -> Segment:
        opened.append(Segment.create(new_name(), Layout.sized(capacity_bytes, threads)))
        return opened[-1]

    try:
        yield opener
    finally:
        for segment in opened:
            segment.close()
            remove_files(segment.name)


def remove_all_like(name: str) -> None:
    """Unlink every file that has the name in its own, whatever it is."""
    for path in SHM_DIRECTORY.iterdir():
        if name in path.name:
            path.unlink()
