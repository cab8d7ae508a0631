"""Pauses of handlers, as verbs of the storage of one host."""

from __future__ import annotations

import time

from shardq.drivers.shared.attachment import Attachment
from shardq.model import Pause, When, check_pause
from shardq.scheduling.schedule import resolved_us


class Pausing(Attachment):
    """`Pausable` over a segment."""

    async def pause(self, handler: str, until: When | None = None, reason: str = "") -> None:
        check_pause(handler, until, reason)
        now_us = time.time_ns() // 1000
        made = Pause(handler, now_us, resolved_us(until, now_us) if until else None, reason)
        await self.patiently(lambda: self._store.pausing.pause(made))

    async def resume(self, handler: str) -> bool:
        return await self.patiently(lambda: self._store.pausing.resume(handler))

    async def pauses(self) -> list[Pause]:
        return await self.patiently(lambda: self._store.pausing.standing())
