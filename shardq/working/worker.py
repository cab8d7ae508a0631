"""The working side: bind to a thread, take batches, call the handler, acknowledge, move on.

    storage.wait -> lock.acquire -> create, start -> [range -> decode -> handle -> pop]* -> stop -> lock.release

What is not acknowledged stays at the head of its tube, so a worker may end at any point.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from operator import is_
from typing import Any
from weakref import ref

from shardq.errors import ConfigurationError, HandlerError, QueueFull, SegmentNoRoom, shown
from shardq.handler import Handler, find_handler, handler_classes, importable_names, is_coming
from shardq.handling.checks import check_usable
from shardq.handling.inside import threads_noted
from shardq.handling.newcomers import listening
from shardq.model import EMPTY, Hand, Terms, handler_name, split_key
from shardq.protocols import Lock
from shardq.queue import Queue
from shardq.recurrent import TIME_HANDLERS
from shardq.settings import WorkerSettings
from shardq.text.portrait import Alarm, portrait
from shardq.working.binding import PAUSE_WHEN_FULL_S, Binding
from shardq.working.terms import begins_at_once, terms_of

log = logging.getLogger("shardq.worker")

#: How long a thread rests whose handler cannot be made or started, at first and at most.
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 300.0
LONGEST_PAUSE_WHEN_FULL_S = 1.0
#: After how long a worker looks again for a class whose definition has not ended in another thread.
IMPORT_LOOK_S = 0.1
#: For how long a worker with short batches goes on before the event loop has its turn.
LOOP_TURN_S = 0.001


class Worker:
    """Serves threads one at a time. Run several for several threads at once, in one process or in many."""

    def __init__(self, lock: Lock, queue: Queue, settings: WorkerSettings | None = None) -> None:
        self.lock = lock
        self.queue = queue
        self.settings = settings or WorkerSettings()
        self._only: dict[str, type[Handler[Any]]] | None = None
        self._only_names: frozenset[str] = frozenset()
        self._known: list[ref[type[Handler[Any]]]] = []
        """The handler classes that there were when `_found` was looked for."""
        self._registered = 0
        """How many handlers were registered with the queue then."""
        self._found: frozenset[str] = frozenset()
        self._takes_any = True
        """Whether the storage may choose how much it hands out. A limit forbids that."""
        self._looped_at = self._looked_at = 0.0
        """When the event loop had its turn, and when this worker looked for new handlers; monotonic."""
        self._with_terms: frozenset[str] | None = None
        """The handlers that `terms` is of."""
        self._outdated = self._incomplete = False
        """Whether a handler came that the current wait does not look for, and whether one is still being defined."""
        self.stopping = False
        self._waiting: asyncio.Task[str | None] | None = None
        self._failures: dict[str, int] = {}
        """How often in a row the handler of a thread did not start here."""
        self._without_room: dict[str, int] = {}
        """How often in a row a thread got no further here for lack of room."""
        self.alarm: Alarm = lambda timeout_s: nullcontext()
        """Interrupts plain code that takes too long. Set in supervised worker processes; by default it does nothing."""
        self.after_step: Callable[[BaseException | None], None] = lambda outcome: None
        """Called whenever the handler's code ends a step: it waits (None), has returned, or raised."""
        self.before_sleep: Callable[[], None] = lambda: None
        """Called when there is nothing to do, before this process sleeps."""
        self.interruptible = True
        """Whether interrupts and cancellations may come from outside: then they end the loop. Where none are sent from
        outside, they come from a handler's code, and count as a failure like others.
        """
        self.after_batch: Callable[[int], None] | None = None
        """Called after each batch with how many requests were done."""
        self._offered: str | None = None
        """A thread that the storage offered while this worker was bound to another: the next to serve."""
        self._bound = False
        """Whether the claim on the thread being served has to be released."""
        self._hand: Hand | None = None
        """A thread that the storage claimed for this worker in the step in which it released the one before."""
        self.terms: dict[str, Terms] = {}
        """By handler, for threads of which the storage can hand out before the handler is made."""

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

        Raises `ConfigurationError` for a `limit` that is no number of requests, and `HandlerError` for a `handler` that
        cannot be served.
        """
        if limit is not None and (type(limit) is not int or limit < 0):
            raise ConfigurationError(f"limit={shown(limit)} cannot be: give a number of requests from 0 up, or None")
        self._only = None if handler is None else _by_name(handler)
        self._only_names = frozenset(self._only or ())
        if self.lock.storage is None:
            self.lock.storage = self.queue.storage
        left = float("inf") if limit is None else limit
        self._takes_any, self._with_terms, self.terms = limit is None, None, {}
        with threads_noted():
            try:
                while left > 0 and not self.stopping:
                    hand, self._hand = self._hand or await self._next_hand(), None
                    if hand:
                        left -= await self._serve(hand, left)
            finally:
                if self._hand:
                    await self.lock.release(self._hand.key)
                    self._hand = None
        self.stopping = False

    def stop(self) -> None:
        """Finish the batch in hand, then leave `loop`. Call it from the loop's own thread."""
        self.stopping = True
        if self._waiting:
            self._waiting.cancel()

    @property
    def others_are_due(self) -> bool:
        """Whether the event loop should have its turn."""
        return time.monotonic() - self._looped_at >= LOOP_TURN_S

    async def let_others_run(self, *, long: bool, now: bool = False) -> None:
        """Let signals and the rest of the application have their turn where it is due: a round may suspend nowhere.
        A stop that arrived during a `long` batch needs several turns of the loop until it is acted on. After short
        batches that many turns would cost more than they save. `now`: also where it is not due.
        """
        if not (long or now or self.others_are_due):
            return
        for _ in range(3 if long else 1):
            await asyncio.sleep(0)
        self._looped_at = time.monotonic()

    async def _next_hand(self) -> Hand | None:
        """A thread to serve, claimed for this worker. None on stop, and where another worker was faster."""
        if self._offered is None and self._takes_any:
            hand = await self.queue.storage.turn(None, self.served(), self.terms)
            if hand:
                self.lock.adopt(hand.key, hand.token)
                return hand
        key, self._offered = self._offered or await self.next_key(), None
        token = await self._acquired(key) if key else 0
        return Hand(key, token, EMPTY) if key and token else None

    def moved_on(self, key: str, hand: Hand | None) -> None:
        """The storage released the thread `key` and claimed another one, or the same anew, or none."""
        self._bound = False
        self.lock.forget(key)
        if hand:
            self.lock.adopt(hand.key, hand.token)
        self._hand = hand

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
        key, pause_s = hand.key, 0.0
        self._bound = True
        try:
            handler_class = self._handler(key)
            if handler_class is None:
                self._known = []  # its handler was there when this worker looked last: look anew
                log.error("a thread was offered whose handler is not here", extra={"key": shown(key)})
                pause_s = self._backoff_s(key)
                return 0
            binding = Binding(self, hand, handler_class)
            try:
                if not await self._opened(binding, key, handler_class):
                    pause_s = self._backoff_s(key)
                    return 0
                await binding.work(limit)
                pause_s = binding.pause_s
                if binding.done:
                    self._without_room.pop(key, None)
                return binding.done
            finally:
                await binding.close()
        finally:
            if self._bound:
                await self.lock.release(key, pause_s)

    async def _opened(self, binding: Binding, key: str, handler_class: type[Handler[Any]]) -> bool:
        """Whether the handler could be made and started. No request is to blame where it could not."""
        try:
            if self._only is None and split_key(key)[0] not in self.terms:  # the others were checked before
                check_usable(handler_class)
            await binding.open()
        except (Exception, SystemExit) as error:
            log.error("handler did not start", extra={"key": key}, exc_info=portrait(error, self.alarm))
            return False
        self._failures.pop(key, None)
        return True

    def _backoff_s(self, key: str) -> float:
        """How long the thread of a handler that does not start rests, longer each time in a row."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(FIRST_BACKOFF_S * 2 ** min(failures - 1, 30), LONGEST_BACKOFF_S))

    def pause_when_full_s(self, key: str) -> float:
        """How long a thread rests that found no room for what its handler registers, longer each time in a row."""
        times = self._without_room[key] = self._without_room.get(key, 0) + 1
        return float(min(PAUSE_WHEN_FULL_S * 2 ** min(times - 1, 30), LONGEST_PAUSE_WHEN_FULL_S))

    def served(self) -> frozenset[str]:
        """Names of the handlers that this worker serves, with `terms` up to date. It looks for new ones as often as the
        event loop has its turn: each look takes the longer the more handlers there are.
        """
        now_s = time.monotonic()
        if self._with_terms is not None and now_s - self._looked_at < LOOP_TURN_S:
            return self._with_terms
        names, self._looked_at = self._served(), now_s
        if names is not self._with_terms:
            self.terms = dict(self._all_terms(names))
            self._with_terms = names
        return names

    def _all_terms(self, names: frozenset[str]) -> Iterator[tuple[str, Terms]]:
        for name in names:
            handler = self._class_of(name)
            if handler is not None and begins_at_once(handler):
                terms = terms_of(handler, self.settings.batch_size)
                if terms is not None:
                    yield name, terms

    def between_batches(self, done: int) -> None:
        """Called after each batch with how many requests were done."""
        if self.after_batch:
            self.after_batch(done)

    async def next_key(self) -> str | None:
        """A thread to serve. None on stop."""
        return await self._wait(None, None)

    async def more_comes(self, bound: str) -> bool:
        """Whether the thread this worker is bound to gets work soon enough, and before another thread does."""
        key = await self._wait(bound, self.settings.empty_limit * self.settings.empty_pause)
        self._offered = None if key == bound else key
        return key == bound

    async def others_wait(self) -> bool:
        """Whether another thread has work and no worker."""
        self._offered = await self.queue.storage.wait(self._served(), 0)
        return self._offered is not None

    async def _wait(self, bound: str | None, timeout_s: float | None) -> str | None:
        storage, loop = self.queue.storage, asyncio.get_running_loop()
        with listening(lambda: _call_soon(loop, self._look_again)):
            while True:
                self._outdated = False
                served = self._served()
                key = await storage.wait(served, 0, bound)
                if key is not None or self.stopping:
                    return key
                at_most_s = IMPORT_LOOK_S if self._incomplete else timeout_s
                key = await self._unless_stopped(storage.wait(served, at_most_s, bound))
                if key is not None or self.stopping or not (self._outdated or self._incomplete):
                    return key

    def _look_again(self) -> None:
        if self._only is not None:
            return
        self._outdated = True
        if self._waiting:
            self._waiting.cancel()

    async def _unless_stopped(self, waiting: Coroutine[Any, Any, str | None]) -> str | None:
        self.before_sleep()
        self._waiting = asyncio.ensure_future(waiting)
        if self._outdated:
            self._waiting.cancel()
        try:
            return await self._waiting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if (self.stopping or self._outdated) and not (task and task.cancelling()):
                return None
            raise
        finally:
            self._waiting = None

    def _served(self) -> frozenset[str]:
        """Names of the handlers that this worker serves now: one that was imported meanwhile counts as well."""
        if self._only is not None:
            return self._only_names
        classes = handler_classes()
        known, registered = list(map(ref, classes)), len(self.queue.handlers)
        if self._incomplete or registered != self._registered or not _same(known, self._known):
            self._incomplete = any(map(is_coming, classes))
            self._known, self._registered = known, registered
            self._found = frozenset((*self.queue.handlers, *importable_names(classes)))
        return self._found

    def _handler(self, key: str) -> type[Handler[Any]] | None:
        return self._class_of(split_key(key)[0])

    def _class_of(self, name: str) -> type[Handler[Any]] | None:
        if self._only is not None:
            return self._only.get(name)
        return self.queue.handlers.get(name) or find_handler(name)


def _same(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether these are the very same objects. Of a class that is gone only the reference stays: another class may have
    its address by now.
    """
    return len(some) == len(others) and all(map(is_, some, others))


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: no worker waits there any more
        loop.call_soon_threadsafe(callback)


def _by_name(handlers: Any) -> dict[str, type[Handler[Any]]]:
    """Handlers to serve, by name. Raises `HandlerError` where one of them is no handler class, or there is none."""
    one = isinstance(handlers, type | str) or not isinstance(handlers, Iterable)
    several = (handlers,) if one else tuple(handlers)
    if not several:
        raise HandlerError(f"handler={shown(handlers)} names no handler: give handler classes, or None for all")
    for handler in several:
        if handler not in TIME_HANDLERS:
            check_usable(handler)
    return {handler_name(handler): handler for handler in several}
