"""What the locks have in common whose claims live by time."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

from shardq.losses import Losses

#: The last part of a lease, in which its holder stops and releases the key.
_LAST_PART = 1 / 8

_Storage = TypeVar("_Storage")
_Claim = TypeVar("_Claim", bound="Claim[Any]")


@dataclass
class Claim(Generic[_Storage]):
    """One that a lock has."""

    storage: _Storage
    """The one that gave the token, since that of the lock may change while a claim is held."""
    token: int
    lease_s: float | None
    """How long it is to live from its next renewal on; None: until it is released."""


class LeasedLock(ABC, Generic[_Claim]):
    """The claims of a `Lock`, and what is called when one is lost."""

    def __init__(self) -> None:
        self._held: dict[str, _Claim] = {}
        self._losses = Losses()

    async def release(self, key: str, pause_s: float = 0.0) -> bool:
        claim = self._held.get(key)
        self.forget(key)
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

    @abstractmethod
    async def renew(self, key: str) -> bool: ...

    def lost(self, key: str) -> asyncio.Future[None]:
        claim = self._held.get(key)
        future = self._losses.future(key, held=claim is not None)
        if claim:
            self._watch(key, claim, future)
        return future

    def forget(self, key: str) -> None:
        """Forget the claim on a thread that a turn of the storage released."""
        self._held.pop(key, None)
        self._losses.forget(key)

    @abstractmethod
    def _lease(self, key: str, claim: _Claim) -> tuple[float, float]:
        """For how many seconds the claim was made or renewed, and how many are left. Endless ones: `inf`."""

    def _ends(self, key: str, claim: _Claim, future: asyncio.Future[None]) -> None:
        """The last part of the lease began, and the claim was not renewed here before."""
        self._losses.tell(key)

    def _watch(self, key: str, claim: _Claim, future: asyncio.Future[None]) -> None:
        """Tell of the loss when the last part of the lease begins, unless it is renewed before."""
        if future.done():
            return
        granted_s, left_s = self._lease(key, claim)
        if granted_s == left_s == inf:
            return
        due_s = left_s - granted_s * _LAST_PART
        if due_s <= 0:
            self._ends(key, claim, future)
            return

        def watch_on() -> None:
            future.remove_done_callback(cancel)
            self._watch(key, claim, future)

        def cancel(_: object) -> None:
            timer.cancel()

        timer = future.get_loop().call_later(due_s, watch_on)
        future.add_done_callback(cancel)
