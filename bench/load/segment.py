"""Segments for a run, gone after it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from shardq.drivers import SharedStorage


@contextmanager
def segment(capacity_bytes: int | None = None) -> Iterator[SharedStorage]:
    """A segment of this capacity, by default of the default one."""
    storage = SharedStorage.create(f"bench-{secrets.token_hex(6)}", capacity_bytes)
    try:
        yield storage
    finally:
        storage.destroy()
