"""The segment that a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shardq.connect import segment_name
from shardq.drivers.shared import SharedStorage


@contextmanager
def opened(url: str) -> Iterator[SharedStorage]:
    """Attached as long as it is entered."""
    storage = SharedStorage.attach(segment_name(url))
    try:
        yield storage
    finally:
        storage.detach()
