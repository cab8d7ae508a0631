"""Single messages of the in-memory storage that wait for their time."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from shardq.drivers.memory.deferred import key_in
from shardq.drivers.memory.stored import Stored
from shardq.model import Deferred, Scheduled
from shardq.pages import PAGE_ITEMS, Page


class Deferrals:
    """`protocols.Deferrals` in memory."""

    def __init__(self, lock: threading.Lock, stored: Stored) -> None:
        self._lock = lock
        self._stored = stored

    async def page(self, after: Sequence[int] | str | None = None, limit: int = PAGE_ITEMS) -> Page[Deferred]:
        behind = key_in(after) if isinstance(after, str) else after
        with self._lock:
            return self._stored.pending.page(behind, limit)

    async def find(self, its_id: str) -> Deferred | None:
        with self._lock:
            return self._stored.pending.find(its_id)

    async def cancel(self, *ids: str) -> int:
        with self._lock:
            return self._stored.cancel(ids)

    async def run(self, its_id: str) -> bool | None:
        with self._lock:
            return self._stored.run(its_id)

    async def skip(self, scheduled: Scheduled) -> bool | None:
        with self._lock:
            return self._stored.skip(scheduled)
