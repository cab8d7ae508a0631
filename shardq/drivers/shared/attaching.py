"""Attaching from a coroutine."""

from __future__ import annotations

import asyncio
import time

from shardq.drivers.shared.storage import SharedStorage
from shardq.drivers.shared.waiters import LONGEST_PAUSE_S, SHORT_S
from shardq.errors import SegmentBusy
from shardq.settings import StorageSettings
from shardq.shm.files.lock_bytes import PATIENCE_S


async def attached(name: str, settings: StorageSettings | None = None) -> SharedStorage:
    """As `SharedStorage.attach`. Where another process is stopped while it attaches, this waits without blocking the
    loop, and the caller can be cancelled.
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return SharedStorage.attach(name, settings, patience_s=SHORT_S)
        except SegmentBusy:
            if time.monotonic() >= end:
                raise
        await asyncio.sleep(LONGEST_PAUSE_S)
