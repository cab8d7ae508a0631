"""The lock of the in-memory driver."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from functools import partial

from shardq.drivers.memory.storage import RuntimeStorage
from shardq.losses import Losses
from shardq.settings import LockSettings

#: The last part of a lease, in which its holder stops and releases the key.
_LAST_PART = 1 / 8


@dataclass
class _Claim:
    storage: RuntimeStorage
    """The one that gave the token, since that of the lock may change while a claim is held."""
    token: int
    lease_s: float | None


class RuntimeLock:
    """`Lock` in memory, held until it is released or its lease has run out.

    Without a storage it keeps its claims in one of its own, until `storage` is assigned. `lease_s` gives each claim a
    lease, which has to be renewed as on a driver for many hosts: for tests. Without it only `ttl` gives one.
    """

    def __init__(
        self,
        storage: RuntimeStorage | None = None,
        settings: LockSettings | None = None,
        *,
        lease_s: float | None = None,
    ) -> None:
        self.storage = storage
        self.settings = settings or LockSettings()
        self.lease_s = lease_s
        self._making = threading.Lock()
        # Not put into `storage`: there it would look like one that the application chose.
        self._own_storage: RuntimeStorage | None = None
        self._held: dict[str, _Claim] = {}
        self._losses = Losses()

    async def acquire(self, key: str) -> int:
        storage = self._current_storage()
        token = await storage.claim(key)
        if token:
            self._hold(key, storage, token)
        return token

    async def exists(self, key: str) -> bool:
        return await self._current_storage().claimed(key)

    async def release(self, key: str, pause_s: float = 0.0) -> bool:
        claim = self._held.pop(key, None)
        self._losses.forget(key)
        return claim is not None and await claim.storage.unclaim(key, claim.token, pause_s)

    async def ttl(self, key: str, seconds: float) -> bool:
        if seconds <= 0:
            return await self.release(key)
        claim = self._held.get(key)
        if claim is None:
            return False
        claim.lease_s = seconds
        held = await self.renew(key)
        for future in self._losses.of(key):
            self._watch(key, claim, future)
        return held

    async def renew(self, key: str) -> bool:
        claim = self._held.get(key)
        if claim is None:
            return False
        held = claim.storage.lease(key, claim.token, claim.lease_s)
        if not held:
            self._losses.tell(key)
        return held

    def lost(self, key: str) -> asyncio.Future[None]:
        claim = self._held.get(key)
        future = self._losses.future(key, held=claim is not None)
        if claim:
            self._watch(key, claim, future)
        return future

    def adopt(self, key: str, token: int) -> None:
        """Take over the claim on a thread that a turn of the storage claimed."""
        self._hold(key, self._current_storage(), token)

    def forget(self, key: str) -> None:
        """Forget the claim on a thread that a turn of the storage released."""
        self._held.pop(key, None)
        self._losses.forget(key)

    def _hold(self, key: str, storage: RuntimeStorage, token: int) -> None:
        self._held[key] = _Claim(storage, token, self.lease_s)
        if self.lease_s is not None:
            storage.lease(key, token, self.lease_s)

    def _watch(self, key: str, claim: _Claim, future: asyncio.Future[None]) -> None:
        """Tell of the loss when the last part of the lease begins, unless it is renewed before."""
        if future.done():
            return
        left_s = claim.storage.lease_left_s(key, claim.token)
        if left_s is None or left_s <= (claim.lease_s or 0.0) * _LAST_PART:
            self._losses.tell(key)
        elif claim.lease_s is not None:
            due_s = left_s - claim.lease_s * _LAST_PART
            timer = future.get_loop().call_later(due_s, partial(self._watch, key, claim, future))
            future.add_done_callback(lambda _: timer.cancel())

    def _current_storage(self) -> RuntimeStorage:
        if self.storage is not None:
            return self.storage
        with self._making:
            if self._own_storage is None:
                self._own_storage = RuntimeStorage()
            return self._own_storage
