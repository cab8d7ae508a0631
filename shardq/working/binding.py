"""One stay of a worker in one thread: take, decode, handle, acknowledge, and go on until there is a reason to leave; or
in one thread after another, where the storage goes on to the next one of the same handler by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from shardq.encoding.codec import lone_decoder
from shardq.errors import (
    DecodeError,
    FencedError,
    HandlerError,
    MessageTooLarge,
    QueueFull,
    ScheduleError,
    StorageMoved,
)
from shardq.handler import Handler
from shardq.handling.awaiting import is_awaitable
from shardq.handling.info import HandlerInfo, info_of
from shardq.model import Batch, Hand, handler_name
from shardq.outputs import Output
from shardq.results.inbox import Inbox
from shardq.tracing.api import is_there
from shardq.tracing.processing import processing
from shardq.working.callers import Callers, tell_holders
from shardq.working.code import Code, decodable
from shardq.working.failure import Failures, Unready, lack_in
from shardq.working.in_hand import InHand
from shardq.working.lease import Lease
from shardq.working.outbox import Outbox
from shardq.working.outcome import Done, End, Leave, MovedOn, Outcome
from shardq.working.turns import PAUSE_WHEN_UNUSABLE_S, Turns

if TYPE_CHECKING:
    from shardq.working.worker import Worker

log = logging.getLogger("shardq.worker")

#: How often in a row work that a storage offered may turn out to be gone.
MOST_MISSES = 10
#: During a batch that took longer, a stop may have arrived, on which the loop acts only after several turns.
_LONG_BATCH_S = 0.01
#: How many requests from the beginning of a batch a step acknowledges, and what leaves with it.
_Step = tuple[int, Sequence[Output]]


class Binding:
    """A worker with the claim on a thread of one handler. `open`, `work`, `close`."""

    def __init__(self, worker: Worker, hand: Hand, handler_class: type[Handler[Any]]) -> None:
        self._worker = worker
        self._storage = worker.queue.storage
        self._class = handler_class
        self._taken = hand.batch if hand.batch.count else None
        """A batch that the storage handed out already. An empty one: it has none now."""
        self._handler: Handler[Any] | None = None
        self._batch_began = monotonic()
        self._info: HandlerInfo
        self._decoded: Callable[[Batch], list[Any]]
        """The requests of a batch. Both are known from `open` on."""
        self._context = Context()
        """Context variables of the stay: those of `create` and `start`, which each batch begins with, and of `stop`."""
        self._untold: Sequence[Output] = ()
        """Results that are stored, and that nobody was told of yet. To tell may suspend, and may be cancelled there. So
        first the hand that came in the same step has to be known to what releases it."""
        self._lease = Lease.of(worker.lock, hand.key, renews=worker.hooks.renews)
        self._code = Code(worker.hooks, handler_class.timeout_s, self._lease)
        name = handler_name(handler_class)
        self._outbox = Outbox(worker.queue, name)
        self._callers = Callers(self._storage)
        self._in_hand = InHand(worker, hand, name, self._outbox, self._callers)
        self._turns = Turns(worker, self._in_hand, handler_class, self._code)

    @property
    def key(self) -> str:
        """That of the thread which this worker has now."""
        return self._in_hand.key

    @property
    def done(self) -> int:
        """Requests that left that thread so far: acknowledged or buried."""
        return self._in_hand.done

    async def open(self) -> None:
        """Make the handler and start it. Raises what these raise, and `HandlerError`."""
        self._info, self._context = info_of(self._class), copy_context()
        serializer, kind = self._worker.queue.serializer, self._info.kind
        decode_bare = lone_decoder(serializer, kind) or self._decoded_by_code
        # Of results that no caller waits for, nothing is decoded.
        self._decoded = _nothing if self._class is Inbox else partial(self._callers.decoded, decode_bare, serializer)
        if self._lease:
            self._lease.begin(self._worker.waiting.interrupt)
        if self._turns.at_once:
            self._give(self._class())
            return
        self._turns.terms = self._info.terms(self._worker.settings.batch_size)
        handler = self._give(await self._code.result(self._context, self._class.create))
        await self._code.result(self._context, handler.start)
        self._code.contained(self._context, self._info.batch_size, handler, self._worker.settings.batch_size)

    async def close(self) -> None:
        """Stop the handler, while the thread is still this worker's."""
        try:
            try:
                if self._untold:
                    await self._tell()
            finally:
                if self._handler is not None and not self._turns.at_once:
                    await self._stop(self._handler)
        finally:
            if self._lease:
                await self._lease.end()

    async def _stop(self, handler: Handler[Any]) -> None:
        """What it raises is only logged: no request is in hand. It comes to its end also where the claim is lost."""
        try:
            await Code(self._worker.hooks, self._class.timeout_s, None).result(self._context, handler.stop)
        except (Exception, SystemExit) as error:
            log.error("handler did not stop", extra={"key": self.key}, exc_info=self._failures.shown(error))

    async def work(self, limit: float) -> End:
        """Handle batches until the thread is empty for long enough or has to rest, other threads wait for too long, the
        limit is reached, the claim is lost, or the worker is stopped.
        """
        assert self._handler
        if limit != float("inf"):
            self._turns.terms = None  # a turn could hand out more requests than the limit allows
        in_hand = self._in_hand
        while in_hand.done < limit and self._may_go_on():
            if self._untold:
                await self._tell()
            batch: Batch | End | None = self._taken
            if batch is None or not batch.count:
                try:
                    batch = await self._next(self._handler, limit)
                except FencedError as error:
                    log.warning("thread is not this worker's any more", extra={"key": self.key, "reason": str(error)})
                    return Leave()
            if not isinstance(batch, Batch):
                if self._goes_on(batch):
                    continue
                return batch
            self._taken = None
            done = in_hand.done
            outcome = await self._settled(self._handler, batch)
            self._worker.hooks.after_batch(in_hand.done - done)
            if not isinstance(outcome, Done):
                if self._goes_on(outcome):
                    continue
                return outcome
            self._taken = outcome.more
            if outcome.more is None or self._storage.suspends:
                long = monotonic() - self._batch_began > _LONG_BATCH_S
                await self._worker.waiting.let_others_run(long=long)
            if outcome.more is None and await self._turns.give_way():
                return Leave()
        return Leave()

    async def _tell(self) -> None:
        """Tell those who wait of results that were stored."""
        results, self._untold = self._untold, ()
        await tell_holders(self._storage, results)

    def _goes_on(self, end: End) -> bool:
        """Whether the stay goes on in the thread that the storage claimed when it released this one: it is of the same
        handler, which neither begins nor ends anything with a thread.
        """
        turns = self._turns
        if not isinstance(end, MovedOn) or end.hand is None or self._lease or not turns.at_once:
            return False
        handlers, hand = self._worker.handlers, end.hand
        turns.terms = handlers.terms.get(self._info.name)
        if turns.terms is None or handlers.of(hand.key) is not self._class:
            return False
        self._worker.went_on(self.key, hand, self.done)
        self._in_hand.claim(hand)
        self._taken = hand.batch
        turns.begin()
        self._give(self._class())
        return True

    def is_lost_by(self, error: BaseException) -> bool:
        """Whether this came since the claim on the thread is lost. A handler may lose one of its own."""
        return self._lease is not None and self._lease.is_lost_by(error)

    @property
    def _failures(self) -> Failures:
        return Failures(self._storage, self.key, self._in_hand.token, self._class, self._worker.hooks.alarm)

    def _give(self, handler: Any) -> Handler[Any]:
        """Give the handler what it may use while it has the thread."""
        handler.queue, handler.fencing_token = self._worker.queue, self._in_hand.token
        handler._outbox = self._outbox
        self._handler = handler
        return handler  # type: ignore[no-any-return]

    def _may_go_on(self) -> bool:
        return not self._worker.stopping and not (self._lease and self._lease.over)

    async def _next(self, handler: Handler[Any], limit: float) -> Batch | End:
        """The next batch, where one comes soon enough, and before another thread has work; or how the stay ends."""
        misses = 0
        while self._may_go_on():
            batch: Batch | End | None
            batch, self._taken = self._taken, None
            if batch is None:
                batch = await self._turns.next_batch(handler, self._context, limit - self.done, missed=bool(misses))
            if not isinstance(batch, Batch):
                return batch
            if batch.count:
                return batch
            rests = not misses and self._turns.at_once and self._turns.terms and self.done
            if rests and not await self._turns.leaves_some():
                return await self._turns.rest()
            if not await self._worker.more_comes(self.key):
                break
            misses += 1
            if misses > MOST_MISSES:
                log.error("the storage offers work and hands out none", extra={"key": self.key})
                return Leave(PAUSE_WHEN_UNUSABLE_S)
            if misses > 1:
                await self._turns.find_missed()
        return Leave()

    async def _settled(self, handler: Handler[Any], batch: Batch) -> Outcome:
        """Handle and acknowledge a batch, or bury it."""
        try:
            outcome: Outcome | None = None
            if batch.failed:
                outcome = await self._failures.of_before(batch, batch.failed)
            outcome = outcome or await self._handled(handler, batch)
            if isinstance(outcome, Done):
                self._in_hand.done += outcome.buried
            return outcome
        except FencedError as error:
            log.warning("batch not acknowledged", extra={"pipe": batch.pipe, "reason": str(error)})
            return Leave()
        finally:
            self._in_hand.batch = handler._in_hand = self._worker.said = None
            self._outbox.forget()

    async def _handled(self, handler: Handler[Any], batch: Batch) -> Outcome:
        self._batch_began = monotonic()
        self._in_hand.take(batch)
        broken: DecodeError | None = None
        try:
            try:
                requests = self._decoded(batch)
            except DecodeError:
                batch, requests, broken = decodable(batch, self._decoded)
                self._in_hand.batch = batch
        except (QueueFull, Unready) as error:
            return await self._failures.of_room(batch, self._in_hand.left, error)
        except (Exception, SystemExit) as error:
            return await self._failed(batch, error)
        if broken:
            return await self._failures.of_decoding(batch, broken)
        if self._callers.wait:
            useless, wanted = await self._callers.wanted(batch.count)
            if useless:
                await self._storage.pop(self._in_hand.of(batch), useless)
                self._in_hand.note_acknowledged(useless)
                return Done()
            if wanted < batch.count:
                self._in_hand.batch = batch = batch.first(wanted)
                requests = requests[:wanted]
                self._callers.keep(wanted)
        steps: Sequence[_Step] = ()
        try:
            handler._in_hand = self._in_hand
            self._outbox.open(batch)
            returned = self._returned(handler, requests, batch)
            if returned is not None and is_awaitable(returned):
                returned = await returned
            outputs = self._outbox.close()
            if self._callers.wait:
                steps = self._steps(batch, returned, outputs)
        except (QueueFull, Unready) as error:
            return await self._failures.of_room(batch, self._in_hand.left, error)
        except (Exception, SystemExit) as error:
            if self.is_lost_by(error):
                raise
            if lack := lack_in(error):
                return await self._failures.of_room(batch, self._in_hand.left, lack)
            return await self._failed(batch, error)
        try:
            if steps:
                outputs = await self._answered(batch, steps)
            outcome = await self._turns.acknowledge(batch, outputs)
            if outcome is None:
                raise self._outbox.no_room(outputs)
            if steps:
                self._untold = outputs
            return outcome
        except QueueFull as error:
            if await self._nothing_else_is_stored():
                return await self._failures.of_handler(batch, 1, 1, error)
            return await self._failures.of_room(batch, self._in_hand.left, error)
        except (HandlerError, MessageTooLarge, ScheduleError) as error:
            left = batch.count - self._in_hand.acknowledged
            return await self._failures.of_handler(batch, left, self._in_hand.left, error)

    async def _failed(self, batch: Batch, error: BaseException) -> Outcome:
        """What becomes of a batch out of whose handler this came, or out of the types of its requests and results."""
        if issubclass(type(error), StorageMoved):
            await self._storage.check_stays()  # where it does, the handler used another one
        left = batch.count - self._in_hand.acknowledged
        return await self._failures.of_handler(batch, left, self._in_hand.left, error)

    def _returned(self, handler: Handler[Any], requests: Sequence[Any], batch: Batch) -> Any:
        """What the handler returns for the batch, or what to await for that. Plain code has run by then."""
        context, code, function = self._context.copy(), self._code, handler.handle
        if is_there():
            span = processing(self._info.name, batch, has_heads=self._callers.has_heads)
            result = code.result(context, function, *requests, batch=batch)
            return result if span is None else span.over(result, context, self._failures.shown)
        if self._info.suspends or code.interrupts:
            return code.result(context, function, *requests, batch=batch)
        return code.result_at_once(context, function, requests, batch)

    def _steps(self, batch: Batch, returned: Any, outputs: Sequence[Output]) -> Sequence[_Step]:
        """What leaves with the batch where callers wait for results, in steps: with the last one go its outputs."""
        worked_us = int((monotonic() - self._batch_began) * 1e6)
        arguments = self._info, self._storage.limits, batch, returned, worked_us
        steps = self._code.contained(self._context.copy(), self._callers.steps, *arguments, whole=bool(outputs))
        count, replies = steps[-1]
        return [*steps[:-1], (count, self._outbox.with_replies(outputs, replies))]

    async def _answered(self, batch: Batch, steps: Sequence[_Step]) -> Sequence[Output]:
        """What leaves with the last part of the batch. All before that is acknowledged here, with its results."""
        for count, replies in steps[:-1]:
            if not await self._storage.pop(self._in_hand.of(batch), count, replies):
                raise self._outbox.no_room(replies)
            self._in_hand.note_acknowledged(count)
            await tell_holders(self._storage, replies)
        return steps[-1][1]

    async def _nothing_else_is_stored(self) -> bool:
        """Whether the last request in hand is all that could make room: what it emits does not fit beside it, then."""
        counts = await self._storage.backlog()
        return self._in_hand.left == 1 and counts.queued == 1 and not counts.deferred

    def _decoded_by_code(self, batch: Batch) -> list[Any]:
        """The requests of messages, where their type has code, as validators are."""
        decode = self._worker.queue.serializer.decode
        return self._code.contained(self._context.copy(), decode, self._info.kind, batch)  # type: ignore[no-any-return]


def _nothing(_: Batch) -> list[Any]:
    return []
