"""One stay of a worker in one thread: take, decode, handle, acknowledge, and deal with requests that fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context, copy_context
from time import monotonic
from typing import Any

from shardq.deadletters import DeadLetter
from shardq.errors import DecodeError, FencedError, HandlerError, QueueFull, shown
from shardq.handler import Handler, call
from shardq.handling.checks import batch_size_of, check_priorities, request_type
from shardq.handling.isolation import InContext, plainly
from shardq.model import Batch, Hand, dead_pipe, handler_name, split_key
from shardq.text.portrait import line, portrait
from shardq.text.printable import type_name
from shardq.text.wording import counted
from shardq.working import failure
from shardq.working.host import Host
from shardq.working.pipes import Pipes
from shardq.working.terms import terms_of
from shardq.working.time_limit import within

log = logging.getLogger("shardq.worker")

#: How long a thread rests where there was no room for what its handler registered, or for a dead letter.
PAUSE_WHEN_FULL_S = 0.05
#: How long a thread rests whose handler gave a usable batch size at its start, and later one that is not usable.
PAUSE_WHEN_UNUSABLE_S = 1.0
#: How often in a row work that a storage offered may turn out to be gone.
MOST_MISSES = 10
#: During a batch that took longer, a stop may have arrived, on which the loop acts only after several turns.
_LONG_BATCH_S = 0.01
#: Requests of a batch that are few.
_FEW = 8


class Binding:
    """A worker with the claim on a thread. `open`, `work`, `close`."""

    def __init__(self, worker: Host, hand: Hand, handler_class: type[Handler[Any]]) -> None:
        self._worker = worker
        self._storage = worker.queue.storage
        self._key, self._token, taken = hand
        self._class = handler_class
        self._taken = taken if taken.count else None
        """A batch that the storage handed out already."""
        self._terms = worker.terms.get(split_key(self._key)[0])
        """The terms by which a turn of the storage hands out batches. None: no turns are made."""
        self._at_once = self._terms is not None
        """Whether no code of the handler runs before its first batch and after its last one."""
        self._turned = False
        """Whether the batch was acknowledged by a turn, which took another one."""
        self._since, self._before = monotonic(), 0
        """When the quantum began, and how many requests were done then."""
        self._handler: Handler[Any] | None = None
        self._batch_began = monotonic()
        self._batch: Batch | None = None
        self._acknowledged = 0
        """How many requests of the batch in hand are acknowledged."""
        self.done = 0
        """Requests that left their tube so far: acknowledged or buried."""
        self.pause_s = 0.0
        """For how long no worker should come back to the thread."""
        self._kind: Any = None
        self._pipes: Pipes | None = None
        self._context = Context()
        """Context variables of the stay: those of `create` and `start`, which each batch begins with, and of `stop`."""

    async def open(self) -> None:
        """Make the handler and start it. Raises what these raise, and `HandlerError`."""
        self._kind, self._context = request_type(self._class), copy_context()
        if self._at_once:
            self._handler = self._class()
            self._handler.queue = self._worker.queue
            return
        self._terms = terms_of(self._class, self._worker.settings.batch_size)
        handler = await self._in_time(self._context, self._class.create)
        handler.queue = self._worker.queue
        self._handler = handler
        await self._in_time(self._context, handler.start)
        batch_size_of(handler, self._worker.settings.batch_size)

    async def close(self) -> None:
        """Stop the handler. What that raises is only logged: no request is in hand."""
        if self._handler is None or self._at_once:
            return
        try:
            await self._in_time(self._context, self._handler.stop)
        except (Exception, SystemExit) as error:
            log.error("handler did not stop", extra={"key": self._key}, exc_info=self._shown(error))

    async def work(self, limit: float) -> None:
        """Handle batches until the thread is empty for long enough or has to rest, other threads wait for too long, the
        limit is reached, or the worker is stopped.
        """
        assert self._handler
        misses = 0
        if limit != float("inf"):
            self._terms = None  # a turn could hand out more requests than the limit allows
        while self.done < limit and not self._worker.stopping:
            batch, self._taken = self._taken, None
            if batch is None:
                batch = await self._next_batch(self._handler, limit)
            if batch is None:
                self.pause_s = PAUSE_WHEN_UNUSABLE_S
                break
            if not batch.count:
                if not await self._worker.more_comes(self._key):
                    break
                misses += 1
                if misses > 1 and not await self._found_what_was_missed(misses):
                    break
                continue
            done, misses, self._turned, trickles = self.done, 0, False, self._trickles(batch)
            goes_on = await self._settled(self._handler, batch)
            self._worker.between_batches(self.done - done)
            if not self._turned:
                long = monotonic() - self._batch_began > _LONG_BATCH_S
                await self._worker.let_others_run(long=long, now=trickles)
            if not goes_on:
                break
            if self._quantum_is_over():
                if await self._worker.others_wait():
                    break
                self._begin_quantum()

    async def _next_batch(self, handler: Handler[Any], limit: float) -> Batch | None:
        """The next batch. None where the handler gives a batch size that cannot be."""
        size = self._terms.limit if self._terms else self._context.run(plainly, self._batch_size, handler)
        if not size:
            return None
        self._pipes = self._pipes or Pipes(self._key, check_priorities(self._class))
        return await self._storage.take(
            self._pipes.names,
            int(min(size, limit - self.done)),
            self._token,
            self._class.timeout_s,
            self._class.starvation_limit,
        )

    async def _finished(self, batch: Batch) -> bool:
        """Acknowledge a batch that was handled, and take what is next in the same step. False where that is another
        thread. While other tasks of this process run, the worker has no batch in hand: should one of them end the
        process, no request would be to blame.
        """
        alone = self._worker.stopping or self._worker.others_are_due or self._trickles(batch)
        if self._terms is None or alone:
            await self.acknowledge(batch.count)
            return True
        stay = not self._quantum_is_over()
        # A handler that has to be stopped keeps its thread until it is stopped: so no other thread is served before.
        served = self._worker.served() if self._at_once else frozenset[str]()
        terms = self._worker.terms if self._at_once else {split_key(self._key)[0]: self._terms}
        hand = await self._storage.turn(Hand(self._key, self._token, batch), served, terms, stay=stay)
        self._turned = True
        self.done += batch.count - self._acknowledged
        self._acknowledged = batch.count
        if hand is None or hand.token != self._token:
            self._worker.moved_on(self._key, hand)
            return False
        self._taken = hand.batch
        if not stay:
            self._begin_quantum()
        return True

    def _trickles(self, batch: Batch) -> bool:
        """Whether the thread gets a few requests at a time, one batch after the other. A turn of the event loop is time
        outside of the guard then: the producer gets in, and the next batch is larger. That makes 34,000 single requests
        a second on two cores, and 25,000 without it.
        """
        return self.done > 0 and batch.count <= _FEW

    async def _found_what_was_missed(self, misses: int) -> bool:
        """Whether to look again, after the storage said that there is work and it was in none of the pipes. The work
        may have been cancelled meanwhile, but not each time.
        """
        await self._worker.let_others_run(long=True)
        if misses > MOST_MISSES:
            log.error("the storage offers work and hands out none", extra={"key": self._key})
            self.pause_s = PAUSE_WHEN_UNUSABLE_S
            return False
        if self._pipes:
            await self._pipes.find_unlisted(self._storage)
        return True

    def _quantum_is_over(self) -> bool:
        """Whether the worker stayed for long enough while others may wait."""
        settings = self._worker.settings
        return self.done - self._before >= settings.quantum_items or monotonic() - self._since > settings.quantum

    def _begin_quantum(self) -> None:
        self._since, self._before = monotonic(), self.done

    def _batch_size(self, handler: Handler[Any]) -> int:
        """Most requests in a batch, 0 where what the handler says of it cannot be used."""
        try:
            return batch_size_of(handler, self._worker.settings.batch_size)
        except Exception as error:
            log.error("handler cannot be used", extra={"key": self._key}, exc_info=self._shown(error))
            return 0

    async def acknowledge(self, count: int) -> None:
        """See `Handler.acknowledge`."""
        batch = self._batch
        if batch is None or type(count) is not int or not 0 <= count <= batch.count:
            has = "there is no batch in hand" if batch is None else f"its batch has {counted(batch.count, 'request')}"
            raise HandlerError(f"{handler_name(self._class)} acknowledged {shown(count)} of its requests, but {has}")
        if count > self._acknowledged:
            await self._storage.pop(batch.pipe, batch.through_first(count), self._token)
            self.done += count - self._acknowledged
            self._acknowledged = count

    async def _settled(self, handler: Handler[Any], batch: Batch) -> bool:
        """Handle and acknowledge a batch, or bury it. False where the thread has to be left, with the batch in it."""
        try:
            if batch.failed:
                now_us = await self._storage.now_us()
                if failure.spent(self._class.retry, batch.failed.attempts):
                    self.pause_s = failure.news_due_s(batch.failed, now_us)
                    if self.pause_s:
                        return False
                    return await self._bury(batch, failure.died(batch, batch.failed), batch.sequence)
                self.pause_s = failure.rest_s(self._class.retry, batch.pipe, batch.sequence, batch.failed, now_us)
                if self.pause_s:
                    return False
            return await self._handled(handler, batch)
        except FencedError as error:
            log.warning("batch not acknowledged", extra={"pipe": batch.pipe, "reason": str(error)})
            return False
        finally:
            self._batch, handler._in_hand = None, None

    async def _handled(self, handler: Handler[Any], batch: Batch) -> bool:
        self._batch_began = monotonic()
        self._batch, self._acknowledged = batch, 0
        try:
            try:
                requests = self._decode(batch)
            except DecodeError:
                batch, requests, broken = self._decodable(batch)
                if broken:
                    letter = failure.undecodable(batch, broken, await self._storage.now_us())
                    return await self._bury(batch, letter, batch.sequence)
                self._batch = batch
            handler._in_hand = self
            await self._in_time(self._context.copy(), handler.handle, *requests)
        except (QueueFull, failure.Unready) as error:
            return await self._put_off(batch, error)
        except (Exception, SystemExit) as error:
            return await self._failed(batch, error)
        return await self._finished(batch)

    async def _in_time(self, context: Context, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of the handler's code, run in this context. Raises `HandlerTimeout` where it takes too long and
        can be interrupted.
        """
        result = InContext(context, call(function, *arguments), self._worker.after_step)
        try:
            if self._class.timeout_s is None:
                return await result
            return await within(self._class.timeout_s, result, self._worker.alarm)
        except (Exception, SystemExit):
            raise
        except BaseException as error:
            self._contain(error)
            raise

    def _contain(self, error: BaseException) -> None:
        """Raise what came out of the handler's code as a `HandlerError`, unless it is meant for the code that runs the
        worker.
        """
        if not self._comes_from_outside(error):
            raise HandlerError(f"{type_name(type(error))} came out of the handler") from error

    def _comes_from_outside(self, error: BaseException) -> bool:
        """Whether what came out of the handler's code is meant for the code that runs the worker: a cancellation of its
        loop, or an interrupt. In a supervised worker nothing is: all comes from the handler.
        """
        task = asyncio.current_task()
        if issubclass(type(error), asyncio.CancelledError) and (task is None or not task.cancelling()):
            return False
        if self._worker.interruptible:
            return True
        while task and task.uncancel():
            continue
        return False

    def _decode(self, batch: Batch) -> list[Any]:
        try:
            # A request type may have code of its own, as validators are.
            return self._context.copy().run(plainly, self._worker.queue.serializer.decode, self._kind, batch)
        except OSError as error:
            if unready := failure.unready(error):
                raise unready from error
            raise
        except (Exception, SystemExit):
            raise
        except BaseException as error:
            self._contain(error)
            raise

    def _decodable(self, batch: Batch) -> tuple[Batch, list[Any], DecodeError | None]:
        """The part of the batch up to the first message that does not decode, and its requests; or that message."""
        low, high = 0, batch.count
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self._decode(batch.first(middle))
                low = middle
            except DecodeError:
                high = middle
        part = batch.first(max(low, 1))
        try:
            return part, self._decode(part), None
        except DecodeError as error:
            return part, [], error

    def _shown(self, error: BaseException) -> Exception:
        """A copy of the handler's exception to log and write down. Only making it runs code of the exception."""
        return portrait(error, self._worker.alarm)

    async def _failed(self, batch: Batch, raised: BaseException) -> bool:
        # Done while the batch is in hand: should the exception's own code end this process, that counts as the failure.
        error = self._shown(raised)
        left = batch.count - self._acknowledged
        if not left:
            log.warning("handler failed after its last acknowledgement", extra={"pipe": batch.pipe}, exc_info=error)
            return False
        # Count the failure before the burial: should there be no room for a letter, the request need not fail again.
        attempts = await self._storage.fail(batch.pipe, self._token)
        if not attempts:
            log.warning("batch failed", extra={"pipe": batch.pipe, "batch": left, "error": line(error)})
            return False
        sequence = batch.through_first(batch.count) - 1
        now_us = await self._storage.now_us()
        if failure.spent(self._class.retry, attempts):
            letter = failure.raised(batch, batch.messages[-1], sequence, error, attempts, now_us)
            return await self._bury(batch, letter, sequence)
        failed = failure.raised_now(attempts, now_us)
        self.pause_s = failure.rest_s(self._class.retry, batch.pipe, sequence, failed, now_us)
        log.warning(
            "request failed",
            extra={
                "pipe": batch.pipe,
                "sequence": sequence,
                "attempts": attempts,
                "next_try_s": round(self.pause_s, 3),
            },
            exc_info=error,
        )
        return False

    async def _bury(self, batch: Batch, letter: DeadLetter, sequence: int) -> bool:
        """Put the letter in the place of its request. False for lack of room: the request stays, the thread rests."""
        pipe, grave = batch.pipe, dead_pipe(letter.handler)
        fields = {"pipe": pipe, "sequence": sequence, "attempts": letter.attempts, "error": letter.error}
        try:
            buried = await self._storage.bury(pipe, sequence, self._token, grave, letter.encoded())
        except QueueFull:  # there may be memory for the letter, but no entry for its tube
            buried = False
        if not buried:
            log.error("no room for a dead letter", extra=fields)
            self.pause_s = PAUSE_WHEN_FULL_S
            return False
        log.error("request became a dead letter", extra=fields)
        self.done += 1
        return True

    async def _put_off(self, batch: Batch, error: Exception) -> bool:
        """Leave the thread with its batch: serving other threads makes room, and smaller batches register less."""
        reason = str(self._shown(error))
        await self._storage.fail(batch.pipe, self._token, counts=False)
        log.info("thread paused", extra={"pipe": batch.pipe, "batch": batch.count, "reason": reason})
        self.pause_s = self._worker.pause_when_full_s(self._key)
        return False
