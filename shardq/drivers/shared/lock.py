"""Locks of one host: claims that live in the segment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shardq.errors import SegmentMissing
from shardq.losses import Losses
from shardq.settings import LockSettings

if TYPE_CHECKING:
    from shardq.drivers.shared.storage import SharedStorage


class SharedLock:
    """Claims on threads, kept in the segment. A claim follows the life of its process, not time: it ends when it is
    released or when the process is dead. A stopped process keeps its claims, however long it is stopped.
    """

    lease_s: float | None = None

    def __init__(self, storage: SharedStorage | None = None, settings: LockSettings | None = None) -> None:
        self.storage = storage
        self.settings = settings or LockSettings()
        self._tokens: dict[str, int] = {}
        self._losses = Losses()

    async def acquire(self, key: str) -> int:
        token = await self._given().claim(key)
        if token:
            self._tokens[key] = token
        return token

    async def exists(self, key: str) -> bool:
        return await self._given().claimed(key)

    async def release(self, key: str, pause_s: float = 0.0) -> bool:
        token = self._tokens.pop(key, 0)
        self._losses.forget(key)
        return bool(token) and await self._given().unclaim(key, token, pause_s)

    async def ttl(self, key: str, seconds: float) -> bool:
        """With 0 seconds, release. Otherwise nothing changes: a claim lives as long as its process."""
        if seconds <= 0:
            return await self.release(key)
        return key in self._tokens

    async def renew(self, key: str) -> bool:
        """Whether this lock still holds the key. There is no lease to renew."""
        token = self._tokens.get(key, 0)
        held = bool(token) and await self._given().holds(key, token)
        if not held:
            self._losses.tell(key)
        return held

    def lost(self, key: str) -> asyncio.Future[None]:
        """Done only where `renew` finds that the claim is over."""
        return self._losses.future(key, held=key in self._tokens)

    def adopt(self, key: str, token: int) -> None:
        """Take over the claim on a thread that a turn of the storage claimed."""
        self._tokens[key] = token

    def forget(self, key: str) -> None:
        """Forget the claim on a thread that a turn of the storage released."""
        self._tokens.pop(key, None)
        self._losses.forget(key)

    def _given(self) -> SharedStorage:
        if self.storage is None:
            raise SegmentMissing("this SharedLock has no storage: make it with SharedLock(storage)")
        return self.storage
