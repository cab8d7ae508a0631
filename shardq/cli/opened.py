"""The segment that a command is about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shardq.connect import segment_name
from shardq.drivers.shared import SharedStorage


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SharedStorage]:
    """Attached as long as it is entered."""
    storage = SharedStorage.attach(segment_name(url))
    try:
        yield storage
    finally:
        await storage.close()
