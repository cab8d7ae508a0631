"""Where a worker waits: for work, and for the rest of its process."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, suppress
from time import monotonic
from typing import TYPE_CHECKING

from shardq.handling.newcomers import listening
from shardq.model import Hand

if TYPE_CHECKING:
    from shardq.working.worker import Worker

#: After how long a worker looks again for a class whose definition has not ended in another thread.
IMPORT_LOOK_S = 0.1
#: For how long a worker with short batches goes on before the event loop has its turn.
LOOP_TURN_S = 0.001


class Waiting:
    """The waits of one worker, each of which ends early when the worker is told to stop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.others_due_at = 0.0
        """When the event loop should have its next turn, monotonic."""
        self._turn_comes = False
        """Whether the loop tells when it has its next turn."""
        self.sleeper: asyncio.Task[object] | None = None
        """The task of the worker, while it waits for work."""
        self.interrupted = self._outdated = False
        """Whether the wait was ended early, and whether a handler came that it does not look for."""

    async def rest(self, hand: Hand | None, timeout_s: float | None = None, *, stay: bool = True) -> Hand | None:
        """`Storage.rest` with what the worker serves, which may grow meanwhile. Told to stop, it returns early. A hand
        has nothing to acknowledge: so it does not matter how far the storage came then.
        """
        worker, storage = self._worker, self._worker.queue.storage
        while not worker.stopping:  # a stop before the wait interrupts nothing
            self._outdated = False
            served, limit_s = worker.handlers.served(), self._at_most(timeout_s)
            terms = worker.handlers.terms if worker.takes_any else {}
            with self._interruptible():
                found = None
                found = await storage.rest(hand, served, terms, limit_s, stay=stay)
            if found is not None and found.leads_on_from(hand):
                return found
            if not self._looks_again(timeout_s):
                break
        return hand

    async def for_more(self, bound: str) -> str | None:
        """The thread that this worker is bound to, if it gets work soon enough and before another thread does; that
        other thread; or None.
        """
        worker = self._worker
        timeout_s, key = worker.hold_s, None
        while not worker.stopping:
            self._outdated = False
            served, limit_s, key = worker.handlers.served(), self._at_most(timeout_s), None
            with self._interruptible():
                key = await worker.queue.storage.wait(served, limit_s, bound)
            if key is not None or not self._looks_again(timeout_s):
                break
        return key

    def newcomers_noted(self) -> AbstractContextManager[None]:
        """Within, a wait hears of handlers that are new in this process."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed: no worker waits there any more
                loop.call_soon_threadsafe(self._heard_of_newcomer)

        return listening(tell)

    def interrupt(self) -> None:
        """End the wait for work, if the worker waits. Call it from the loop's own thread."""
        if self.sleeper and not self.interrupted:
            self.interrupted = True
            self.sleeper.cancel()

    async def let_others_run(self, *, long: bool) -> None:
        """Let signals and the rest of the application have their turn where it is due: a round may suspend nowhere.
        A stop that arrived during a `long` batch needs several turns of the loop until it is acted on. After short
        batches that many turns would cost more than they save.
        """
        if not long and monotonic() < self.others_due_at:
            return
        for _ in range(3 if long else 1):
            await asyncio.sleep(0)
        self.others_due_at = monotonic() + LOOP_TURN_S

    def _looks_again(self, timeout_s: float | None) -> bool:
        """Whether a wait that found nothing has to look for other handlers."""
        if self._worker.stopping or timeout_s == 0:
            return False
        return self._outdated or self._worker.handlers.incomplete

    def _at_most(self, timeout_s: float | None) -> float | None:
        return IMPORT_LOOK_S if timeout_s != 0 and self._worker.handlers.incomplete else timeout_s

    def _interruptible(self) -> _Interruptible:
        self._worker.hooks.before_sleep()
        if not self._turn_comes:
            self._turn_comes = True
            asyncio.get_running_loop().call_soon(self._loop_has_turn)
        return _Interruptible(self)

    def _loop_has_turn(self) -> None:
        self._turn_comes, self.others_due_at = False, monotonic() + LOOP_TURN_S

    def _heard_of_newcomer(self) -> None:
        if not self._worker.handlers.fixed:
            self._outdated = True
            self.interrupt()


class _Interruptible:
    """Within, `Waiting.interrupt` ends the block; what the block was to find is not there then."""

    __slots__ = ("_others", "_task", "_waiting")

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task
        self._task, self._others, self._waiting.sleeper = task, task.cancelling(), task

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        waiting, waiting.sleeper = self._waiting, None
        if not waiting.interrupted:
            return False
        waiting.interrupted = False
        return self._task.uncancel() == self._others and kind is asyncio.CancelledError
