"""Single messages of a segment that wait for their time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shardq.model import Deferred, Scheduled
from shardq.pages import PAGE_ITEMS, Page
from shardq.scheduling.schedule import next_us
from shardq.shm.deferred.records import key_in
from shardq.shm.verbs.deferrals import CANCELLED_AT_ONCE
from shardq.shm.verbs.pending_pages import Unread

if TYPE_CHECKING:
    from shardq.drivers.shared.storage import SharedStorage


class Deferrals:
    """`protocols.Deferrals` of a segment."""

    def __init__(self, storage: SharedStorage) -> None:
        self._storage = storage

    async def page(self, after: Unread | str | None = None, limit: int = PAGE_ITEMS) -> Page[Deferred]:
        return await self._storage.patiently(lambda: self._storage.store.deferrals.page(after, limit))

    async def find(self, its_id: str) -> Deferred | None:
        key = key_in(its_id)
        return await self._storage.patiently(lambda: self._storage.store.deferrals.find(key))

    async def cancel(self, *ids: str) -> int:
        keys, cancelled = list(map(key_in, ids)), 0
        for start in range(0, len(keys), CANCELLED_AT_ONCE):
            some = keys[start : start + CANCELLED_AT_ONCE]
            cancelled += await self._storage.patiently(lambda some=some: self._storage.store.deferrals.cancel(some))  # type: ignore[misc]
        return cancelled

    async def run(self, its_id: str) -> bool | None:
        key = key_in(its_id)
        return await self._storage.patiently(lambda: self._storage.store.deferrals.run(key))

    async def skip(self, scheduled: Scheduled) -> bool | None:
        deferring = self._storage.store.deferring
        due_us = await self._storage.patiently(lambda: deferring.scheduled_us(scheduled))
        if due_us is None:
            return None
        next_due_us = next_us(scheduled.schedule, due_us, time.time_ns() // 1000)
        return await self._storage.patiently(lambda: deferring.skip(scheduled, next_due_us))
