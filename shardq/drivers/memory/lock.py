"""The lock of the in-memory driver."""

from __future__ import annotations

import threading

from shardq.drivers.memory.storage import RuntimeStorage
from shardq.settings import LockSettings


class RuntimeLock:
    """`Lock` in memory, held until it is released or its lease, where `ttl` gave it one, has run out.

    Without a storage it keeps its claims in one of its own, until `storage` is assigned.
    """

    def __init__(self, storage: RuntimeStorage | None = None, settings: LockSettings | None = None) -> None:
        self.storage = storage
        self.settings = settings or LockSettings()
        self._making = threading.Lock()
        # Not put into `storage`: there it would look like one that the application chose.
        self._own_storage: RuntimeStorage | None = None
        # With the storage that gave the token, since `storage` may change while a claim is held.
        self._held: dict[str, tuple[RuntimeStorage, int]] = {}

    async def acquire(self, key: str) -> int:
        storage = self._current_storage()
        token = await storage.claim(key)
        if token:
            self._held[key] = storage, token
        return token

    async def exists(self, key: str) -> bool:
        return await self._current_storage().claimed(key)

    async def release(self, key: str, pause_s: float = 0.0) -> bool:
        held = self._held.pop(key, None)
        if held is None:
            return False
        storage, token = held
        return await storage.unclaim(key, token, pause_s)

    async def ttl(self, key: str, seconds: float) -> bool:
        if seconds <= 0:
            return await self.release(key)
        held = self._held.get(key)
        if held is None:
            return False
        storage, token = held
        return await storage.lease(key, token, seconds)

    def adopt(self, key: str, token: int) -> None:
        """Take over the claim on a thread that a turn of the storage claimed."""
        self._held[key] = self._current_storage(), token

    def forget(self, key: str) -> None:
        """Forget the claim on a thread that a turn of the storage released."""
        self._held.pop(key, None)

    def _current_storage(self) -> RuntimeStorage:
        if self.storage is not None:
            return self.storage
        with self._making:
            if self._own_storage is None:
                self._own_storage = RuntimeStorage()
            return self._own_storage
