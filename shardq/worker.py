"""The working side: bind to a thread, take batches, call the handler, acknowledge, move on.

    storage.wait -> lock.acquire -> create, start -> [range -> decode -> handle -> pop]* -> stop -> lock.release

What is not acknowledged stays at the head of its tube, so a worker may end at any point.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Any

from shardq.errors import FencedError, QueueFull
from shardq.handler import Handler, call, check_priorities, find_handler, request_type
from shardq.model import Batch, handler_name, split_key
from shardq.protocols import Lock
from shardq.queue import Queue
from shardq.settings import WorkerSettings

log = logging.getLogger("shardq.worker")

#: How long a thread rests whose handler found no room for what it registered.
PAUSE_WHEN_FULL_S = 0.05
#: How long a thread rests whose handler raised, at first and at most.
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 300.0
#: After a batch that took longer, a worker looks twice whether it is to stop; after shorter ones that would cost more
#: than it saves.
_LONG_BATCH_S = 0.01


class Worker:
    """Serves threads one at a time. Run several for several threads at once, in one process or in many."""

    def __init__(self, lock: Lock, queue: Queue, settings: WorkerSettings | None = None) -> None:
        self.lock = lock
        self.queue = queue
        self.settings = settings or WorkerSettings()
        self._only: dict[str, type[Handler[Any]]] | None = None
        self.stopping = False
        self._waiting: asyncio.Task[str | None] | None = None
        self._failures: dict[str, int] = {}
        """How often in a row the handler of a thread failed here."""
        self._offered: str | None = None
        """A thread that the storage offered while this worker was bound to another: the next to serve."""

    async def loop(
        self,
        limit: int | None = None,
        handler: type[Handler[Any]] | Sequence[type[Handler[Any]]] | None = None,
    ) -> None:
        """Serve until `limit` requests left their tube through this worker, or until `stop()`.

        `handler`: serve this one only, or these. None: those registered with this queue, and those of imported modules;
        a name in a storage never triggers an import.

        An exception of a handler ends the loop; its batch stays and its thread rests for a while, longer each time in a
        row, so that calling `loop` again serves the others. Cancelling the loop releases the thread as well. Installs
        no signal handler.
        """
        if self.lock.storage is None:
            self.lock.storage = self.queue.storage
        self._only = None if handler is None else _by_name(handler)
        left = float("inf") if limit is None else limit
        while left > 0 and not self.stopping:
            key, self._offered = self._offered or await self.next_key(), None
            token = await self.lock.acquire(key) if key else 0
            if key and token:
                left -= await self._serve(key, token, left)
        self.stopping = False

    def stop(self) -> None:
        """Finish the batch in hand, then leave `loop`. Call it from the loop's own thread."""
        self.stopping = True
        if self._waiting:
            self._waiting.cancel()

    async def _serve(self, key: str, token: int, limit: float) -> int:
        """Bind to the thread and work until there is a reason to leave it. Returns how many requests were done."""
        pause_s = 0.0
        binding: _Binding | None = None
        try:
            handler_class = self._handler(key)
            if handler_class is None:
                return 0
            handler = await call(handler_class.create)
            handler.queue = self.queue
            binding = _Binding(self, key, token, handler_class, handler)
            try:
                await call(handler.start)
                await binding.work(limit)
            finally:
                pause_s = binding.pause_s
                await call(handler.stop)
        except Exception:
            if binding and binding.done:
                self._failures.pop(key, None)
            pause_s = self._backoff_s(key)
            raise
        else:
            self._failures.pop(key, None)
            return binding.done
        finally:
            await self.lock.release(key, pause_s)

    def _backoff_s(self, key: str) -> float:
        """How long the thread of a handler that failed rests, longer each time in a row."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(FIRST_BACKOFF_S * 2 ** (failures - 1), LONGEST_BACKOFF_S))

    async def next_key(self) -> str | None:
        """A thread to serve. None on stop."""
        return await self._wait(None, None)

    async def more_comes(self, bound: str) -> bool:
        """Whether the thread this worker is bound to gets work before another one does, and soon enough."""
        key = await self._wait(bound, self.settings.empty_limit * self.settings.empty_pause)
        self._offered = None if key == bound else key
        return key == bound

    async def others_wait(self) -> bool:
        """Whether another thread has work and nobody to serve it."""
        self._offered = await self.queue.storage.wait(self._serves, 0)
        return self._offered is not None

    async def _wait(self, bound: str | None, timeout_s: float | None) -> str | None:
        storage = self.queue.storage
        key = await storage.wait(self._serves, 0, bound)
        if key is not None or self.stopping:
            return key
        return await self._unless_stopped(storage.wait(self._serves, timeout_s, bound))

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, str | None]) -> str | None:
        self._waiting = asyncio.ensure_future(waiting)
        try:
            return await self._waiting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.stopping and not (task and task.cancelling()):
                return None
            raise
        finally:
            self._waiting = None

    def _serves(self, key: str) -> bool:
        return self._handler(key) is not None

    def _handler(self, key: str) -> type[Handler[Any]] | None:
        name, _ = split_key(key)
        if self._only is not None:
            return self._only.get(name)
        return self.queue.handlers.get(name) or find_handler(name)


def _by_name(handlers: type[Handler[Any]] | Sequence[type[Handler[Any]]]) -> dict[str, type[Handler[Any]]]:
    several = (handlers,) if isinstance(handlers, type) else handlers
    return {handler_name(handler): handler for handler in several}


class _Binding:
    """One stay of a worker in one thread."""

    def __init__(
        self, worker: Worker, key: str, token: int, handler_class: type[Handler[Any]], handler: Handler[Any]
    ) -> None:
        self._worker = worker
        self._storage = worker.queue.storage
        self._key = key
        self._token = token
        self._handler = handler
        self._batch_began = monotonic()
        self.done = 0
        """Requests acknowledged so far."""
        self.pause_s = 0.0
        """How long nobody should come back to the thread."""
        self._kind = request_type(handler_class)
        self._pipes = [f"{key}/{priority}" for priority in check_priorities(handler_class)]

    async def work(self, limit: float) -> None:
        """Handle batches until the thread is empty for long enough, others wait for too long, or stop or limit come."""
        since = monotonic()
        while self.done < limit and not self._worker.stopping:
            pipe, batch = await self._take(limit - self.done)
            if not batch.count:
                if not await self._worker.more_comes(self._key):
                    break
                continue
            if not await self._handle(pipe, batch):
                break
            self.done += batch.count
            if monotonic() - since > self._worker.settings.quantum:
                if await self._worker.others_wait():
                    break
                since = monotonic()
            await self._let_others_run()

    async def _let_others_run(self) -> None:
        """Nothing in a round need have suspended: let signals and the rest of the application have their turn. What
        arrived during a long batch needs several turns of the loop until it is acted on, a stop for instance.
        """
        turns = 3 if monotonic() - self._batch_began > _LONG_BATCH_S else 1
        for _ in range(turns):
            await asyncio.sleep(0)

    async def _take(self, limit: float) -> tuple[str, Batch]:
        size = self._handler.batch_size() or self._worker.settings.batch_size
        for pipe in self._pipes:
            batch = await self._storage.range(pipe, int(min(size, limit)), self._token)
            if batch.count:
                break
        return pipe, batch

    async def _handle(self, pipe: str, batch: Batch) -> bool:
        """Handle and acknowledge a batch. False where the thread has to be left, with the batch in it."""
        self._batch_began = monotonic()
        requests = self._worker.queue.serializer.decode(self._kind, batch)
        try:
            await call(self._handler.handle, *requests)
        except QueueFull as error:
            # Room is made by serving other threads, not by waiting here.
            log.info("thread paused", extra={"pipe": pipe, "batch": batch.count, "reason": str(error)})
            self.pause_s = PAUSE_WHEN_FULL_S
            return False
        try:
            await self._storage.pop(pipe, batch.through, self._token)
        except FencedError as error:
            log.warning("batch not acknowledged", extra={"pipe": pipe, "batch": batch.count, "reason": str(error)})
            return False
        return True
