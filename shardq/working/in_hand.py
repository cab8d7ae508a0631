"""What a worker has in hand: its claim on a thread, and of the batch that it handles how much is acknowledged."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from shardq.errors import HandlerError, shown
from shardq.handler import handling
from shardq.model import Batch, Hand
from shardq.text.wording import counted
from shardq.working.callers import Callers
from shardq.working.outbox import Outbox

if TYPE_CHECKING:
    from shardq.working.worker import Worker


class _OneThread:
    """Within, no other thread is."""

    def __init__(self) -> None:
        # Reentrant: an exception may leave it held by the thread that it interrupted, which is the worker's.
        self._lock = threading.RLock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *raised: object) -> None:
        self._lock.release()


class InHand:
    """The hand of one stay, which may go from one thread to the next. Here the handler acknowledges, and tells how far
    it has come.
    """

    def __init__(self, worker: Worker, hand: Hand, name: str, outbox: Outbox, callers: Callers) -> None:
        """`name` of the handler."""
        self._worker = worker
        self._storage = worker.queue.storage
        self._name = name
        self._outbox = outbox
        self._callers = callers
        # What is acknowledged is known once the storage answered: until then another acknowledgement waits.
        alone: AbstractAsyncContextManager[Any] = asyncio.Lock() if self._storage.suspends else _OneThread()
        self._alone = alone
        self.claim(hand)
        self.batch: Batch | None = None
        """The batch whose requests are handled. None: none are."""
        self.acknowledged = self._handed_out = 0
        """How many requests of the batch are acknowledged, and how many the storage handed out: more than are handled
        where some do not decode."""

    def claim(self, hand: Hand) -> None:
        """This is the thread in hand from now on."""
        self.key, self.token, _ = self.given = hand
        """`given` is the hand that the storage gave last."""
        self.done = 0
        """Requests that left the thread so far: acknowledged or buried."""

    def take(self, batch: Batch) -> None:
        """Handle this batch from now on."""
        self.batch, self.acknowledged, self._handed_out = batch, 0, batch.count

    def of(self, batch: Batch) -> Hand:
        """What the storage is told: the claim, with this batch."""
        return self.given if self.given.batch is batch else Hand(self.key, self.token, batch)

    @property
    def left(self) -> int:
        """How many messages the storage handed out that are not acknowledged."""
        return self._handed_out - self.acknowledged

    def note_acknowledged(self, count: int) -> None:
        """The first `count` requests of the batch left their tube."""
        self.done += count - self.acknowledged
        self.acknowledged = count

    async def acknowledge(self, count: int) -> None:
        """See `Handler.acknowledge`."""
        async with self._alone:
            batch = self._checked(count)
            if count <= self.acknowledged:
                return
            outputs = self._outbox.take(batch.count - count)
            stored = await self._storage.pop(self.of(batch), count, outputs)
            if outputs:
                left = batch.count - (count if stored else self.acknowledged)
                self._outbox.settle(batch, outputs, left=left, stored=stored)
            if self.batch is batch:
                self.note_acknowledged(count)

    def _checked(self, count: int) -> Batch:
        """The batch in hand. Raises `HandlerError` unless the calling code may acknowledge so much of it."""
        batch = self.batch
        if batch is None or type(count) is not int or not 0 <= count <= batch.count:
            has = "there is no batch in hand" if batch is None else f"its batch has {counted(batch.count, 'request')}"
            raise HandlerError(f"{self._name} acknowledged {shown(count)} of its requests, but {has}")
        if handling.get() is not batch:
            raise HandlerError(
                f"{self._name}.acknowledge() was called by code that does not belong to the batch in hand: acknowledge "
                f"in handle() itself, in tasks that it awaits, or in asyncio.to_thread"
            )
        if self._callers.wait:
            raise HandlerError(
                f"{self._name}.acknowledge() was called for a batch with callers that wait for results: they get them "
                f"once handle() has returned, so do not acknowledge a part of it"
            )
        return batch  # type: ignore[no-any-return]  # `handling` holds anything, and they are the same

    def progress(self, done: float, total: float | None, note: str) -> None:
        """See `Handler.progress`. A thread that the handler started does not know its batch: it speaks for this one."""
        batch = handling.get()
        if self.batch and (batch is self.batch or batch is False):
            self._worker.said = done, total, note
            self._worker.hooks.progress(self.batch, done, total, note)
