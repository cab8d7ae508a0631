"""What a handler emits, until the step that acknowledges what it comes of. It keeps only what the handler of the batch
in hand emits while it runs, so that nothing of another batch leaves with this one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from shardq.errors import HandlerError, QueueFull, TooManyOutputs
from shardq.handler import handling
from shardq.handling.awaiting import is_awaitable, loop_runs, result_of
from shardq.handling.prepared import Prepared
from shardq.model import Batch, Limits, When
from shardq.outputs import Output
from shardq.scheduling.schedule import when
from shardq.text.wording import counted

if TYPE_CHECKING:
    from shardq.queue import Queue

#: Without the function that a NamedTuple makes one with, which takes as long again: most batches emit into many tubes.
_output = tuple.__new__


class Outbox:
    """The outputs of one stay. `open` before the handler gets a batch, `close` or `forget` once its code has ended."""

    def __init__(self, queue: Queue, name: str) -> None:
        self._queue = queue
        self._name = name
        self._pid = os.getpid()
        # Reentrant: an exception may leave it held by the thread that it interrupted, which is the worker's.
        self._lock = threading.RLock()
        """Code of the handler may emit in several threads."""
        self._batch: Batch | None = None
        """The batch in hand, while its handler runs."""
        self.left = 0
        """How many of its requests are not acknowledged."""
        self._outputs = list[Output]()
        self._last: dict[str, Output] = {}
        """The last output for each tube, to which more may be added. Empty until a second call emits: most batches have
        one call, and what is known of its messages is enough."""
        self._messages = self._nbytes = 0
        """How many messages, and how many bytes, are in the outputs, once `_last` is there."""
        self._unsure = 0
        """How many changes began and did not end: an exception may have cut them off anywhere."""
        self._calls = list[Coroutine[Any, Any, None]]()
        """What `emit` returned for the batch. The handler has to await each to its end."""
        self._used = False
        """Whether code emitted, or tried to: else the lock need not be taken. Code that emits says so before it looks
        whether it may; other methods end that before they look at this. So one of the two sees the other."""

    def open(self, batch: Batch) -> None:
        """Take what the code emits that works for the batch."""
        self._batch, self.left = batch, batch.count

    def close(self) -> Sequence[Output]:
        """Take nothing more. Returns the outputs that are still to leave, and keeps none. Raises as `take`, and
        `HandlerError` where the handler called `emit` and did not await it: its outputs would be lost without a word.
        """
        self._batch = None
        if not self._used:
            return ()
        with self._lock:
            if self._unsure:
                self._check_sure()
            for call in self._calls:
                if call.cr_frame:  # type: ignore[attr-defined]  # as long as a coroutine is not at its end
                    raise self._not_awaited()
            outputs = self._outputs
            self._outputs, self._last, self._calls, self._used = [], {}, [], False
            return outputs

    def forget(self) -> None:
        """Take nothing more, and forget what did not leave."""
        self._batch = None
        if self._used:
            with self._lock:
                self._outputs, self._last, self._calls, self._used = [], {}, [], False
                self._unsure = 0

    def emit(
        self, handler: type[Any], requests: Sequence[Any], *, defer: Any = None, if_not_exists: bool = False
    ) -> Coroutine[Any, Any, None]:
        """See `Handler.emit`."""
        batch = self._batch
        belongs = batch is not None and handling.get() is batch
        call = self._emitted(belongs, handler, requests, defer, if_not_exists)
        if belongs:
            self._used = True
            self._calls.append(call)
        return call

    async def _emitted(
        self, belongs: bool, handler: type[Any], requests: Sequence[Any], defer: Any, absent: bool
    ) -> None:
        if not belongs:
            self._check()
        time = None if defer is None else when(defer)
        facts, places = self._queue.routed(handler, requests)
        if is_awaitable(places):
            places = await places
        self._add(self._queue.prepared(facts, requests, places), time, absent=absent)

    def emit_sync(
        self, handler: type[Any], requests: Sequence[Any], *, defer: Any = None, if_not_exists: bool = False
    ) -> None:
        """See `Handler.emit_sync`."""
        self._check()
        time = None if defer is None else when(defer)
        facts, places = self._queue.routed(handler, requests)
        if is_awaitable(places):
            places = result_of(places, may_wait=not loop_runs())
        self._add(self._queue.prepared(facts, requests, places), time, absent=if_not_exists)

    def take(self, left: int) -> Sequence[Output]:
        """The outputs so far, to leave now with all requests of the batch but so many. `settle` says what became of
        them. Raises `HandlerError` where it is not known which outputs are there or have left, because the handler's
        code was interrupted.
        """
        self.left = left
        if not self._used:
            return ()
        with self._lock:
            self._check_sure()
            if not self._outputs:
                return ()
            self._unsure = 1  # first: an exception at any of the next lines must not lose what leaves the box here
            outputs = self._outputs
            self._empty()
            return outputs

    def settle(self, batch: Batch, outputs: Sequence[Output], *, left: int, stored: bool) -> None:
        """The outputs of the batch that were taken are stored, or stay for the next acknowledgement: this raises
        `QueueFull` then. `left` requests are in hand now.
        """
        with self._lock:
            if self._batch is batch:
                self.left = left
                self._unsure -= 1
                if not stored:
                    self._outputs[:0], self._last = outputs, {}
        if not stored:
            raise self.no_room(outputs)

    def with_replies(self, outputs: Sequence[Output], replies: Sequence[Output]) -> Sequence[Output]:
        """The outputs of a batch, and what is sent to its callers. Raises as `emit` where they are no step."""
        if not outputs:
            return replies
        both = [*outputs, *replies]
        messages = list(chain.from_iterable(output.messages for output in both))
        if not _is_one_step(len(both), len(messages), sum(map(len, messages)), self._queue.storage.limits):
            raise self._too_many()
        return both

    def no_room(self, outputs: Sequence[Output]) -> QueueFull:
        """The error for outputs that the storage has no room for."""
        count = counted(sum(len(output.messages) for output in outputs), "output")
        return QueueFull(
            f"the storage has no room for {count} of {self._name}: what they come of is not acknowledged, and comes "
            f"again later"
        )

    def _add(self, call: Prepared, time: When | None, *, absent: bool) -> None:
        self._used = True
        with self._lock:
            self._check()
            steps = call.steps
            if len(steps) > 1:
                raise self._too_many(call.requests)
            if not self._outputs:
                self._outputs = [
                    _output(Output, (pipe, messages, time, absent)) for step in steps for pipe, messages in step
                ]
                return
            self._look_back()
            groups = dict(call.parts)
            more = self._continued(groups, time, absent=absent)
            new = [Output(pipe, messages, time, absent) for pipe, messages in groups.items() if pipe not in more]
            count, nbytes = len(call.requests), sum(map(len, chain.from_iterable(groups.values())))
            totals = len(self._outputs) + len(new), self._messages + count, self._nbytes + nbytes
            if not _is_one_step(*totals, self._queue.storage.limits):
                raise self._too_many(call.requests)
            self._unsure += 1
            for pipe, messages in more.items():
                messages += groups[pipe]
            for output in new:
                self._last[output.pipe] = output
            self._outputs += new
            _, self._messages, self._nbytes = totals
            self._unsure -= 1

    def _look_back(self) -> None:
        """Find out what has to be known of the outputs so far before more are added."""
        if self._last:
            return
        self._messages = sum(len(output.messages) for output in self._outputs)
        self._nbytes = sum(len(message) for output in self._outputs for message in output.messages)
        # Last: an exception may come at any line.
        self._last = {output.pipe: output for output in self._outputs}

    def _continued(self, pipes: Iterable[str], time: When | None, *, absent: bool) -> dict[str, Any]:
        """The messages of the last output for each of these tubes, where more come behind them at the same time and by
        the same rule. Behind an earlier one they would pass the last one.
        """
        found = ((pipe, self._last.get(pipe)) for pipe in pipes)
        return {pipe: last.messages for pipe, last in found if last and (last.when, last.absent) == (time, absent)}

    def _check_sure(self) -> None:
        if self._unsure:
            raise HandlerError(
                f"{self._name} was interrupted while it emitted or acknowledged, so it is not known what has left: "
                f"what is still in its hands comes again"
            )

    def _not_awaited(self) -> HandlerError:
        return HandlerError(
            f"{self._name} called emit() and did not await it, so nothing of that call is there: write "
            f"`await self.emit(...)` in an `async def`, and `self.emit_sync(...)` in a plain `def`"
        )

    def _empty(self) -> None:
        self._outputs, self._last = [], {}

    def _check(self) -> None:
        """Raise `HandlerError` unless the calling code is that of the batch in hand, with something to leave with."""
        batch = self._batch
        if batch is not None and handling.get() is batch and os.getpid() == self._pid and self.left:
            return
        if batch is None:
            raise HandlerError(
                f"{self._name}.emit() was called while there is no batch in hand: emit while handle() runs, or "
                f"register with self.queue"
            )
        if handling.get() is not batch:
            raise HandlerError(
                f"{self._name}.emit() was called by code that does not belong to the batch in hand: emit in handle() "
                f"itself, in tasks that it awaits, or in asyncio.to_thread. Other threads hand their results to it"
            )
        if os.getpid() != self._pid:
            raise HandlerError(
                f"{self._name}.emit() was called in a process that the handler forked: outputs are with its worker, so "
                f"hand the results back to that"
            )
        raise HandlerError(
            f"{self._name}.emit() was called after all requests of its batch were acknowledged: outputs leave with a "
            f"request, so emit before the last acknowledgement"
        )

    def _too_many(self, not_accepted: Iterable[Any] = ()) -> Exception:
        limits = self._queue.storage.limits
        most = counted(limits.messages, "message"), counted(limits.parts, "tube"), counted(limits.nbytes, "byte")
        step = f"{most[0]}, {most[1]} and {most[2]}"
        if self.left == 1:
            return HandlerError(
                f"{self._name} emits more for one request than the storage takes in one step ({step}): emit less for "
                f"each, or register with self.queue"
            )
        error = TooManyOutputs(
            f"{self._name} emits more for {counted(self.left, 'request')} than the storage takes in one step ({step}): "
            f"they are handled again in smaller batches. A smaller batch_size spares that"
        )
        error.not_accepted = list(not_accepted)
        return error


def _is_one_step(parts: int, messages: int, nbytes: int, limits: Limits) -> bool:
    """Whether the storage takes so much at once. A single message may be larger than the bytes of a step."""
    fits = messages <= 1 or nbytes + parts * limits.part_bytes <= limits.nbytes
    return fits and parts <= limits.parts and messages <= limits.messages
