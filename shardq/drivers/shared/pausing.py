"""Pauses of handlers, as verbs of the storage of one host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from shardq.model import Pause, When, check_pause
from shardq.scheduling.schedule import resolved_us
from shardq.shm.store import Store

_Result = TypeVar("_Result")


class Pausing:
    """`Pausable` over a segment."""

    _store: Store

    async def pause(self, handler: str, until: When | None = None, reason: str = "") -> None:
        check_pause(handler, until, reason)
        now_us = time.time_ns() // 1000
        made = Pause(handler, now_us, resolved_us(until, now_us) if until else None, reason)
        await self.patiently(lambda: self._store.pausing.pause(made))

    async def resume(self, handler: str) -> bool:
        return await self.patiently(lambda: self._store.pausing.resume(handler))

    async def pauses(self) -> list[Pause]:
        return await self.patiently(lambda: self._store.pausing.standing())

    async def patiently(self, verb: Callable[[], _Result]) -> _Result:
        """The result of a verb, which is called again where it found the guard held."""
        raise NotImplementedError
