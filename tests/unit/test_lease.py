"""A lease ends without a word more to the lock, and hides no cancellation of the worker."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.working.lease import Lease
from tests.support.tasks import LIMIT_S, finished

KEY = "m/H/0"


class SlowLock(RuntimeLock):
    """A renewal is at the server, and its end takes until the answer is there."""

    def __init__(self) -> None:
        super().__init__(RuntimeStorage(), lease_s=LIMIT_S)  # it is not over while the test runs
        self.asked, self.answered = asyncio.Event(), asyncio.Event()

    async def renew(self, key: str) -> bool:
        self.asked.set()
        with suppress(asyncio.CancelledError):
            await self.answered.wait()
        await self.answered.wait()
        return True


class RenewedLock(RuntimeLock):
    """Whenever the last part of a lease is about to begin it was renewed."""

    def __init__(self) -> None:
        super().__init__(RuntimeStorage(), lease_s=LIMIT_S)
        self.looks, self.looked_often = 0, asyncio.Event()

    def _lease(self, key: str, claim: Any) -> tuple[float, float]:
        self.looks += 1
        if self.looks == 100:
            self.looked_often.set()
        return 1.0, 1 / 8 + 1e-5


async def test_a_claim_that_is_held_for_long_takes_no_more_memory_with_each_lease() -> None:
    lock = RenewedLock()
    assert await lock.acquire(KEY)
    lost: Any = lock.lost(KEY)
    await lock.looked_often.wait()
    assert len(lost._callbacks) == 1
    await lock.release(KEY)


async def test_a_worker_that_is_cancelled_while_its_lease_ends_is_cancelled() -> None:
    lock = SlowLock()
    assert await lock.acquire(KEY)
    lease = Lease(lock, KEY, 3e-3, renews=True)
    lease.begin(lambda: None)
    await lock.asked.wait()

    ending = asyncio.create_task(lease.end())
    await asyncio.sleep(0)
    ending.cancel()
    lock.answered.set()
    with pytest.raises(asyncio.CancelledError):
        await finished(ending)
    await lock.release(KEY)


async def test_code_that_waits_for_nothing_leaves_no_cancellation_behind_where_the_claim_is_lost_before_it() -> None:
    """The storage refuses the acknowledgement of such a batch, and nothing else ends the worker."""
    lease = Lease(RuntimeLock(RuntimeStorage()), KEY, LIMIT_S, renews=False)
    lease.begin(lambda: None)
    assert lease.over

    async def seven() -> int:
        return 7

    assert await lease.unless_lost(seven()) == 7
    await asyncio.sleep(0)  # where a cancellation that is left would come
    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]
