"""What a lock promises."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from shardq.settings import LockSettings


class Lock(Protocol):
    """Lets exactly one worker bind to a thread. The key is `module/Handler/thread`: one for all its priorities.

    The claim itself lives with the storage, so locks over one storage exclude each other. A lock made without a
    storage is given the worker's when its loop starts.

    Claims

    L1. `acquire` of a free key returns a token above 0; of a key that is held, also by this very lock, 0. (P2)
    L2. Tokens come from one counter per storage that never goes back. [Redis: one for each partition, and also after a
        fail-over, since no token is below the server's time in microseconds.]
    L3. `release` frees the key and returns True; for a key this lock does not hold it returns False and changes
        nothing.
    L4. The claim of a process that died, however it died, is free for the next `acquire`. (P5) [Memory: there is no
        other process. Redis: once its lease ran out.]
    L5. `exists` tells whether any worker holds the key.
    L6. `ttl(key, 0)` releases. `ttl(key, seconds)` sets the lease where a lock lives by time, and returns whether this
        lock holds the key; where a claim follows the life of its holder it changes nothing else. [Shared memory: no
        lease. Memory: a lease where it is set. Redis: always one.]
    L7. While a key is held no `wait` offers its thread to others; after `release` it does if messages are left.
    L8. After `release` with a pause no `wait` offers the thread before `pause_s` are over, also not for new messages;
        then it does, woken by the time itself. The key is free meanwhile. (P6)
    L9. `adopt` makes a claim one of this lock, and `forget` one that it was: for a worker whose storage claimed or
        released by `turn`.

    Leases

    L10. A claim lives for `lease_s` after `acquire` or `adopt`, and after each `renew`, which returns whether this lock
        still holds the key. Where the lease ran out, or the claim was ended otherwise, it returns False and changes
        nothing. Where `lease_s` is None a claim lives as long as its process, and `renew` only tells. A lease that ran
        out counts as the death of its holder (S19). (P2, P5) [Shared memory: `lease_s` is None. Memory: as the lock was
        given. Redis: always a number.]
    L11. `lost` gives a future for the claim that this lock has on the key. It is done when the lock learns that the
        claim is over, or about to be: where no `renew` came in time, while the lease still stands, so that the holder
        can stop and release the key before another worker has it; and where `renew` returned False. It is cancelled
        when this lock releases or forgets the key. Of a key that this lock does not hold it is done at once. (P2)
        [Shared memory: only by `renew`.]
    """

    settings: LockSettings
    lease_s: float | None
    """How many seconds a claim lives that is not renewed; None: as long as its process."""
    storage: Any
    """The storage that keeps the claims, None until one is given."""

    async def acquire(self, key: str) -> int: ...

    async def exists(self, key: str) -> bool: ...

    async def release(self, key: str, pause_s: float = 0.0) -> bool: ...

    async def ttl(self, key: str, seconds: float) -> bool: ...

    async def renew(self, key: str) -> bool: ...

    def lost(self, key: str) -> asyncio.Future[None]: ...

    def adopt(self, key: str, token: int) -> None: ...

    def forget(self, key: str) -> None: ...
