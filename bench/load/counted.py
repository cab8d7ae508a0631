"""A worker that works as in a family and stops after so many requests: one with a limit takes its batches otherwise."""

from __future__ import annotations

from shardq import Queue, Worker
from shardq.protocols import Lock
from shardq.settings import WorkerSettings
from shardq.working.hooks import Hooks


class CountedWorker:
    def __init__(self, lock: Lock, queue: Queue, settings: WorkerSettings | None = None) -> None:
        self._worker = Worker(lock, queue, settings, hooks=Hooks(after_batch=self._note))
        self._left = 0

    async def loop(self, count: int) -> None:
        """Handle so many more. What the last batch has beyond that counts for the next time."""
        self._left += count
        if self._left > 0:
            await self._worker.loop()

    def _note(self, done: int) -> None:
        self._left -= done
        if self._left <= 0:
            self._worker.stop()
