"""The lock of many hosts: claims that live by time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from shardq.behind import behind
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.leases import lease_of
from shardq.errors import ConfigurationError, ShardqError
from shardq.leases import Claim, LeasedLock
from shardq.settings import LockSettings, StorageSettings


@dataclass
class _Claim(Claim[RedisStorage]):
    lease_s: float
    granted_s: float
    """How long it lives since it was made or renewed."""
    ends: float
    """When that ends at the earliest, monotonic: counted from the sending of what made or renewed it."""


class RedisLock(LeasedLock[_Claim]):
    """`Lock` on a server. A claim that is not renewed lives for `settings.timeout` where that was set, else for 30 s.

    `redis`: a client of `redis.asyncio`, or a `RedisStorage`, whose claims they then are. With a client, or without
    anything, the lock is given the storage of its worker.
    """

    def __init__(self, redis: Any = None, settings: LockSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or LockSettings()
        self.storage: RedisStorage | None = redis if isinstance(redis, RedisStorage) else None
        self._redis = None if self.storage else redis
        # Not put into `storage`: there it would look like one that the application chose.
        self._own_storage: RedisStorage | None = None
        self.renewed_for_it = False
        """Whether a supervisor renews the claims, so that this lock has to ask whether one stands."""
        self._lease_s: float | None = None

    @property
    def lease_s(self) -> float | None:
        """Always a number."""
        return self._span_s

    @lease_s.setter
    def lease_s(self, lease_s: float | None) -> None:
        self._lease_s = lease_s

    @property
    def _span_s(self) -> float:
        return lease_of(self.settings) if self._lease_s is None else self._lease_s

    async def acquire(self, key: str) -> int:
        storage, sent, lease_s = self._current_storage(), time.monotonic(), self._span_s
        token = await storage.claim(key, lease_s)
        if token:
            self._held[key] = _Claim(storage, token, lease_s, lease_s, sent + lease_s)
        return token

    async def exists(self, key: str) -> bool:
        return await self._current_storage().claimed(key)

    async def renew(self, key: str) -> bool:
        claim = self._held.get(key)
        if claim is None:
            return False
        sent, lease_s = time.monotonic(), claim.lease_s
        [held] = await claim.storage.lease((key, claim.token, lease_s))
        await claim.storage.turning.presence.renew(lease_s, sent)
        if held:
            claim.granted_s, claim.ends = lease_s, sent + lease_s
        else:
            self._losses.tell(key)
        return held

    def adopt(self, key: str, token: int) -> None:
        """Take over the claim on a thread that a turn of the storage claimed."""
        storage, lease_s = self._current_storage(), self._span_s
        granted_s = min(lease_s, storage.turning.lease_s)
        claim = self._held[key] = _Claim(storage, token, lease_s, granted_s, storage.turning.sent_at + granted_s)
        if lease_s != storage.turning.lease_s:
            storage.turning.lease_s = lease_s  # of the claims of later turns
            behind(self._give_lease(key, claim))

    async def _ask(self, key: str, claim: _Claim, future: asyncio.Future[None]) -> None:
        """The claim was not renewed by this lock: see whether a supervisor did. Where the server does not answer before
        the lease is over, another worker may have the thread.
        """
        try:
            async with asyncio.timeout(claim.ends - time.monotonic()):
                if await self.renew(key):
                    self._watch(key, claim, future)
                return
        except (ShardqError, TimeoutError):
            pass
        await asyncio.sleep(max(0.0, claim.ends - time.monotonic()))
        if self._held.get(key) is claim and claim.ends <= time.monotonic():
            self._losses.tell(key)

    async def _give_lease(self, key: str, claim: _Claim) -> None:
        if self._held.get(key) is claim:
            await self.renew(key)

    def _lease(self, key: str, claim: _Claim) -> tuple[float, float]:
        return claim.granted_s, claim.ends - time.monotonic() if self._held.get(key) is claim else 0.0

    def _ends(self, key: str, claim: _Claim, future: asyncio.Future[None]) -> None:
        if self.renewed_for_it and self._held.get(key) is claim:
            behind(self._ask(key, claim, future))
        else:
            self._losses.tell(key)

    def _current_storage(self) -> RedisStorage:
        if self.storage is not None:
            return self.storage
        if self._own_storage is None:
            if self._redis is None:
                raise ConfigurationError("this lock has no storage: write RedisLock(redis) or RedisLock(storage)")
            self._own_storage = RedisStorage(self._redis, StorageSettings(prefix=self.settings.prefix))
        return self._own_storage
