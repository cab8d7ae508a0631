"""The segment that a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shardq.connect import segment_name
from shardq.drivers.shared.storage import SharedStorage
from shardq.shm.processes.shares import Share
from shardq.shm.registry import attach_store

#: How long a command waits where another process does not leave the guard, or does not come to the end of attaching,
#: before it says so and ends.
PATIENCE_S = 2.0


@contextmanager
def opened(url: str) -> Iterator[SharedStorage]:
    """Attached as long as it is entered, with a slot that is kept for that where programs have all others."""
    storage = SharedStorage(attach_store(segment_name(url), Share.VISITORS, PATIENCE_S))
    storage.limit_waits(PATIENCE_S)
    try:
        yield storage
    finally:
        storage.detach()
