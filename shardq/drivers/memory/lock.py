"""The lock of the in-memory driver."""

from __future__ import annotations

import threading
from math import inf

from shardq.drivers.memory.storage import RuntimeStorage
from shardq.leases import Claim, LeasedLock
from shardq.settings import LockSettings


class RuntimeLock(LeasedLock[Claim[RuntimeStorage]]):
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
        super().__init__()
        self.storage = storage
        self.settings = settings or LockSettings()
        self.lease_s = lease_s
        self._making = threading.Lock()
        # Not put into `storage`: there it would look like one that the application chose.
        self._own_storage: RuntimeStorage | None = None

    async def acquire(self, key: str) -> int:
        storage = self._current_storage()
        token = await storage.claim(key)
        if token:
            self._hold(key, storage, token)
        return token

    async def exists(self, key: str) -> bool:
        return await self._current_storage().claimed(key)

    async def renew(self, key: str) -> bool:
        claim = self._held.get(key)
        if claim is None:
            return False
        held = claim.storage.lease(key, claim.token, claim.lease_s)
        if not held:
            self._losses.tell(key)
        return held

    def adopt(self, key: str, token: int) -> None:
        """Take over the claim on a thread that a turn of the storage claimed."""
        self._hold(key, self._current_storage(), token)

    def _hold(self, key: str, storage: RuntimeStorage, token: int) -> None:
        self._held[key] = Claim(storage, token, self.lease_s)
        if self.lease_s is not None:
            storage.lease(key, token, self.lease_s)

    def _lease(self, key: str, claim: Claim[RuntimeStorage]) -> tuple[float, float]:
        left_s = claim.storage.lease_left_s(key, claim.token)
        granted_s = inf if claim.lease_s is None else claim.lease_s
        return (0.0, 0.0) if left_s is None else (granted_s, left_s)

    def _current_storage(self) -> RuntimeStorage:
        if self.storage is not None:
            return self.storage
        with self._making:
            if self._own_storage is None:
                self._own_storage = RuntimeStorage()
            return self._own_storage
