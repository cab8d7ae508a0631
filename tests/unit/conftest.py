"""Queues, segments and stores that are gone after the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardq import Queue
from shardq.drivers import RuntimeStorage, SharedStorage
from shardq.drivers.redis.news import News
from shardq.shm.files.own_files import remove_files
from shardq.shm.segment import Segment
from shardq.shm.store import Store
from shardq.testing import Clock, LocalQueue
from tests.support.drivers import MIB
from tests.support.segments import NewSegment, NewStore, new_name, segments, stores
from tests.unit.local_handlers import START, Journal


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a segment; whatever the test makes of it is removed."""
    name = new_name()
    yield name
    remove_files(name)


@pytest.fixture
def new_store() -> Iterator[NewStore]:
    with stores() as opener:
        yield opener


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return new_store()


@pytest.fixture
def new_segment() -> Iterator[NewSegment]:
    with segments() as opener:
        yield opener


@pytest.fixture
def segment(new_segment: NewSegment) -> Segment:
    return new_segment()


@pytest.fixture
def queue() -> Queue:
    """A queue in memory."""
    return Queue(RuntimeStorage())


@pytest.fixture
def shared() -> Iterator[Queue]:
    """A queue over shared memory."""
    storage = SharedStorage.create(new_name(), MIB)
    yield Queue(storage)
    storage.destroy()


@pytest.fixture
def news() -> Iterator[News]:
    """What workers tell a supervisor over a server, by a pipe that is open."""
    news = News()
    news.open()
    yield news
    news.close()


@pytest.fixture
def local() -> Iterator[LocalQueue]:
    """A queue for tests, and what its handlers wrote down is gone afterwards."""
    local = LocalQueue(clock=Clock(START))
    Journal.clock = local.clock
    yield local
    Journal.entries.clear()
    Journal.batches.clear()
    Journal.attempts.clear()


@pytest.fixture
def lenient(local: LocalQueue) -> LocalQueue:
    """A queue that says nothing of requests that failed."""
    local.raises = False
    return local
