"""The claim of a stay, where it lives by time: it is renewed until the stay ends, which hears where it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shardq.errors import ClaimLost, ShardqError
from shardq.protocols import Lock

log = logging.getLogger("shardq.worker")

_Result = TypeVar("_Result")


class Lease:
    """The claim on one thread. `begin`, `end`; in between `over` says whether it is lost."""

    def __init__(self, lock: Lock, key: str, lease_s: float, *, renews: bool) -> None:
        self._lock = lock
        self._key = key
        self._every_s = lease_s / 3 if renews else None
        self._lost: asyncio.Future[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._told: ClaimLost | None = None

    @classmethod
    def of(cls, lock: Lock, key: str, *, renews: bool) -> Lease | None:
        """None where a claim lives as long as its process."""
        return None if lock.lease_s is None else cls(lock, key, lock.lease_s, renews=renews)

    def begin(self, tell: Callable[[], None]) -> None:
        """`tell` is called where the claim is lost."""
        self._lost = self._lock.lost(self._key)
        self._lost.add_done_callback(lambda lost: None if lost.cancelled() else tell())
        if self._every_s is not None:
            self._renewing = asyncio.create_task(self._renew(self._every_s))

    async def end(self) -> None:
        """Renew no more."""
        if self._renewing:
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))
            self._renewing = None

    @property
    def over(self) -> bool:
        return self._lost is not None and self._lost.done()

    async def unless_lost(self, code: Awaitable[_Result]) -> _Result:
        """The result of the handler's code. Code that waits is cancelled where the claim is lost, and this raises
        `ClaimLost` at its end, whatever it did about that. Plain code is not interrupted: it comes to its end, and the
        storage refuses its acknowledgement where another worker may have the thread.
        """
        task, lost = asyncio.current_task(), self._lost
        assert task
        assert lost
        others, told, ended = task.cancelling(), False, False

        def tell(future: asyncio.Future[None]) -> None:
            nonlocal told
            # A future that is done calls this in a later step of the loop, whether or not it was removed by then.
            if not ended and not future.cancelled():
                told = True
                task.cancel()

        lost.add_done_callback(tell)
        try:
            result = await code
        except BaseException as error:
            if told and (isinstance(error, Exception) or task.cancelling() == others + 1):
                raise self._claim_lost() from error
            raise
        else:
            if told:
                raise self._claim_lost()
            return result
        finally:
            ended = True
            lost.remove_done_callback(tell)
            if told:
                task.uncancel()

    def is_lost_by(self, error: BaseException) -> bool:
        """Whether this is what `unless_lost` raised. A handler may have other claims, and lose them."""
        return error is self._told

    def _claim_lost(self) -> ClaimLost:
        self._told = ClaimLost(
            f"the claim on {self._key!r} is lost: its lease was not renewed in time, or was ended. The handler was "
            f"interrupted, and nothing of its batch is acknowledged by this worker any more"
        )
        return self._told

    async def _renew(self, every_s: float) -> None:
        while not self.over:
            await asyncio.sleep(every_s)
            try:
                if not await self._lock.renew(self._key):
                    return
            except ShardqError:  # the next try may succeed before the lease is over
                log.exception("claim not renewed", extra={"key": self._key})
