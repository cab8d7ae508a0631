"""The working side: bind to a thread, take batches, call the handler, acknowledge, move on.

    storage.rest -> create, start -> [decode -> handle -> storage.turn]* -> stop -> lock.release

What is not acknowledged stays at the head of its tube, so a worker may end at any point.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from shardq.errors import ClaimLost, ConfigurationError, QueueFull, SegmentNoRoom, shown
from shardq.handler import Handler
from shardq.handling.info import check_usable
from shardq.handling.inside import threads_noted
from shardq.model import EMPTY, Hand, Progress, split_key
from shardq.protocols import Lock
from shardq.queue import Queue
from shardq.settings import WorkerSettings
from shardq.text.portrait import portrait
from shardq.working.binding import Binding
from shardq.working.failure import PAUSE_WHEN_FULL_S
from shardq.working.handlers import Handlers
from shardq.working.hooks import Hooks
from shardq.working.outcome import End, Leave, MovedOn
from shardq.working.streaks import Streaks
from shardq.working.waiting import Waiting

log = logging.getLogger("shardq.worker")

#: How long a thread rests whose handler cannot be made or started, at first and at most.
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 300.0
LONGEST_PAUSE_WHEN_FULL_S = 1.0
_AT_ONCE = Leave()


class Worker:
    """Serves threads one at a time. Run several for several threads at once, in one process or in many."""

    def __init__(
        self, lock: Lock, queue: Queue, settings: WorkerSettings | None = None, *, hooks: Hooks | None = None
    ) -> None:
        self.lock = lock
        self.queue = queue
        self.settings = settings or WorkerSettings()
        self.hooks = hooks or Hooks()
        """What the code that runs the worker wants to do. A change takes effect with the next thread."""
        self.handlers = Handlers(queue, self.settings)
        self.waiting = Waiting(self)
        self.takes_any = True
        """Whether the storage may choose how much it hands out. A limit forbids that."""
        self.stopping = False
        self.said: tuple[float, float | None, str] | None = None
        """What the handler said last of how far the batch in hand has come."""
        self._offered: str | None = None
        """A thread that the storage offered while this worker was bound to another: the next to serve."""
        self._hand: Hand | None = None
        """A thread that the storage claimed for this worker in the step in which it released the one before."""
        self._failures = Streaks()
        """How often in a row the handler of a thread did not start here."""
        self._without_room = Streaks()
        """How often in a row a thread got no further here for lack of room."""

    async def loop(
        self,
        limit: int | None = None,
        handler: type[Handler[Any]] | Sequence[type[Handler[Any]]] | None = None,
    ) -> None:
        """Serve until `limit` requests left their tube through this worker, or until `stop()`.

        `handler`: serve this one only, or these. None: those registered with this queue, and those of imported modules;
        a name in a storage never triggers an import.

        What a handler raises is logged, and its request tried again or given up as `Handler.retry` says. Cancelling the
        loop releases what is in hand, which does not count as an attempt. Installs no signal handler.

        Raises `ConfigurationError` for a `limit` that is no number of requests, and for a lock of another storage in
        memory; `HandlerError` for a `handler` that cannot be served.
        """
        if limit is not None and (type(limit) is not int or limit < 0):
            raise ConfigurationError(f"limit={shown(limit)} cannot be: give a number of requests from 0 up, or None")
        self.handlers = Handlers(self.queue, self.settings, handler)
        self._give_storage_to_lock()
        left = float("inf") if limit is None else limit
        self.takes_any = limit is None
        with threads_noted(), self.waiting.newcomers_noted():
            try:
                while left > 0 and not self.stopping:
                    hand, self._hand = self._hand or await self.next_hand(), None
                    if hand:
                        left -= await self._serve(hand, left)
                    if not self._hand:  # a stay whose batches fail suspends nowhere
                        await self.waiting.let_others_run(long=False)
            finally:
                hand, self._hand, self._offered = self._hand, None, None
                try:
                    if hand:
                        await self.lock.release(hand.key)
                finally:
                    self.stopping = False

    def stop(self) -> None:
        """Finish the batch in hand, then leave `loop`. Call it from the loop's own thread."""
        self.stopping = True
        self.waiting.interrupt()

    async def next_hand(self, timeout_s: float | None = None) -> Hand | None:
        """A thread to serve, claimed for this worker. None on stop, and after `timeout_s`."""
        key, self._offered = self._offered, None
        token = await self._acquired(key) if key else 0
        if key and token:
            return Hand(key, token, EMPTY)
        hand = await self.waiting.rest(None, timeout_s)
        if hand:
            self.lock.adopt(hand.key, hand.token)
        return hand

    async def more_comes(self, bound: str) -> bool:
        """Whether the thread this worker is bound to gets work soon enough, and before another thread does."""
        key = await self.waiting.for_more(bound)
        self._offered = None if key == bound else key
        return key == bound

    async def others_wait(self) -> bool:
        """Whether another thread has work and no worker."""
        self._offered = await self.queue.storage.wait(self.handlers.served(), 0)
        return self._offered is not None

    def went_on(self, key: str, hand: Hand, done: int) -> None:
        """Take note that the storage released a thread after so many requests, and that a stay goes on in this one."""
        self._moved_on(key, hand, done)
        self._failures.end(hand.key)

    @property
    def progress(self) -> Progress | None:
        """How far the batch in hand has come, as its handler says. None: it said nothing, or there is none."""
        return Progress(*self.said) if self.said else None

    @property
    def hold_s(self) -> float:
        """How long the worker stays bound to a thread that is empty, while no other is ready."""
        return self.settings.empty_limit * self.settings.empty_pause

    def _give_storage_to_lock(self) -> None:
        """Give it that of the queue, unless it has one. Raises `ConfigurationError` where that is another one."""
        storage = self.queue.storage
        if self.lock.storage is None:
            self.lock.storage = storage
        # Two objects may be one storage where other processes have it too.
        elif self.lock.storage is not storage and not storage.importable_only:
            raise ConfigurationError(
                "the lock of this worker is that of another storage, so it could not release a thread of its queue: "
                "give each storage a lock of its own, as in Worker(RuntimeLock(), queue)"
            )

    async def _acquired(self, key: str) -> int:
        """The token of the claim on a thread that was offered. 0 where another worker was faster: that one has the
        thread, or has drained it already, so that it is forgotten and the storage may have no room to add it anew.
        """
        try:
            return await self.lock.acquire(key)
        except (QueueFull, SegmentNoRoom) as error:
            log.info("thread not claimed", extra={"key": key, "reason": str(error)})
            return 0

    async def _serve(self, hand: Hand, limit: float) -> int:
        """Bind to the thread and work until there is a reason to leave it. Returns how many requests were done."""
        key, done = hand.key, 0
        end: End = _AT_ONCE
        try:
            handler_class = self.handlers.of(key)
            if handler_class is None:
                self.handlers.look_anew()  # its handler was there when this worker looked last
                log.error("a thread was offered whose handler is not here", extra={"key": shown(key)})
                end = Leave(self._backoff_s(key))
                return 0
            binding = Binding(self, hand, handler_class)
            try:
                if not await self._opened(binding, key, handler_class):
                    end = Leave(self._backoff_s(key))
                    return 0
                end = await binding.work(limit)
                done = binding.done
                return done
            except ClaimLost as error:
                done = binding.done
                event = "thread is not this worker's any more" if done else "thread left while its handler started"
                log.warning(event, extra={"key": binding.key, "reason": str(error)})
                return done
            finally:
                key = binding.key
                await binding.close()
        finally:
            await self._let_go(key, end, done=done)

    async def _let_go(self, key: str, end: End, *, done: int) -> None:
        """Release the thread, unless the storage did that already."""
        if isinstance(end, MovedOn):
            self._moved_on(key, end.hand, done)
            self._hand = end.hand
            return
        await self.lock.release(key, self._pause_when_full_s(key) if end.for_room else end.pause_s)
        if done:
            self._without_room.end(key)

    def _moved_on(self, key: str, hand: Hand | None, done: int) -> None:
        self.lock.forget(key)
        if hand:
            self.lock.adopt(hand.key, hand.token)
        if done:
            self._without_room.end(key)

    async def _opened(self, binding: Binding, key: str, handler_class: type[Handler[Any]]) -> bool:
        """Whether the handler could be made and started. No request is to blame where it could not. Raises `ClaimLost`
        where the claim is lost meanwhile.
        """
        try:
            # The others were checked before.
            if not self.handlers.fixed and split_key(key)[0] not in self.handlers.terms:
                check_usable(handler_class)
            await binding.open()
        except (Exception, SystemExit) as error:
            if binding.is_lost_by(error):
                raise
            log.error("handler did not start", extra={"key": key}, exc_info=portrait(error, self.hooks.alarm))
            return False
        self._failures.end(key)
        return True

    def _backoff_s(self, key: str) -> float:
        """How long the thread of a handler that does not start rests, longer each time in a row."""
        times = self._failures.again(key)
        return float(min(FIRST_BACKOFF_S * 2 ** min(times - 1, 30), LONGEST_BACKOFF_S))

    def _pause_when_full_s(self, key: str) -> float:
        """How long a thread rests that found no room for what its handler registers, longer each time in a row."""
        times = self._without_room.again(key)
        return float(min(PAUSE_WHEN_FULL_S * 2 ** min(times - 1, 30), LONGEST_PAUSE_WHEN_FULL_S))
