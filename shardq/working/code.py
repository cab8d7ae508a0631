"""Runs the code of a handler for one stay: in contexts of its own, within its time, as long as the claim stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any

from shardq.errors import DecodeError, HandlerError
from shardq.handler import call, handling
from shardq.handling.awaiting import is_awaitable
from shardq.handling.isolation import InContext, plainly_with
from shardq.model import Batch
from shardq.text.printable import type_name
from shardq.working import failure
from shardq.working.hooks import Hooks
from shardq.working.lease import Lease
from shardq.working.time_limit import within

#: How a step of plain code ends that raises nothing.
_RETURNED = StopIteration()


class Code:
    """Calls into the handler. What comes out is an `Exception`, but for what is meant for the runner of the worker."""

    def __init__(self, hooks: Hooks, timeout_s: float | None, lease: Lease | None) -> None:
        self._hooks = hooks
        self._timeout_s = timeout_s
        self._lease = lease
        self.interrupts = timeout_s is not None or lease is not None
        """Whether the handler's code is interrupted where it takes too long, or where its claim is lost."""

    async def result(self, context: Context, function: Callable[..., Any], *arguments: Any, batch: Any = True) -> Any:
        """The result of the handler's code, run in this context, for a batch if for one. Raises `HandlerTimeout` where
        it takes too long and can be interrupted, and `ClaimLost` where it waits while the claim is lost.
        """
        result = InContext(context, call(function, *arguments, batch=batch), self._hooks.after_step)
        task = asyncio.current_task()
        former = task.cancelling() if task else 0
        try:
            if self._lease is not None:
                return await self._lease.unless_lost(self._in_time(result))
            if self._timeout_s is None:
                return await result
            return await within(self._timeout_s, result, self._hooks.alarm)
        except (Exception, SystemExit):
            raise
        except BaseException as error:
            self._contain(error, task is not None and task.cancelling() > former)
            raise

    def result_at_once(
        self, context: Context, function: Callable[..., Any], arguments: Sequence[Any], batch: Any
    ) -> Any:
        """As `result`, without a coroutine: for code that nothing interrupts, see `interrupts`, in a context that is
        for this call alone. Where what it returns is to be awaited, this is what to await for that: see `result`.
        """
        try:
            context.run(handling.set, batch)
            result = context.run(plainly_with, function, arguments)
        except BaseException as error:
            self._hooks.after_step(error)
            if not isinstance(error, Exception | SystemExit):
                self._contain(error)
            raise
        if result is not None and is_awaitable(result):
            return self.result(context, lambda: result, batch=batch)
        self._hooks.after_step(_RETURNED)
        return result

    def contained(self, context: Context, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The result of a function that calls code of request and result types. Raises `Unready` as well."""
        try:
            return context.run(plainly_with, partial(function, **named) if named else function, arguments)
        except OSError as error:
            if unready := failure.unready(error):
                raise unready from error
            raise
        except (Exception, SystemExit):
            raise
        except BaseException as error:
            self._contain(error)
            raise

    async def _in_time(self, result: InContext) -> Any:
        return await (result if self._timeout_s is None else within(self._timeout_s, result, self._hooks.alarm))

    def _contain(self, error: BaseException, cancelled: bool = False) -> None:
        """Raise what came out of the handler's code as a `HandlerError`, unless it is meant for the code that runs the
        worker. `cancelled`: whether its task was, while the code ran.
        """
        if not self._comes_from_outside(error, cancelled):
            raise HandlerError(f"{type_name(type(error))} came out of the handler") from error

    def _comes_from_outside(self, error: BaseException, cancelled: bool) -> bool:
        """Whether what came out of the handler's code is meant for the code that runs the worker: a cancellation of its
        loop, or an interrupt. In a supervised worker nothing is: all comes from the handler.
        """
        if issubclass(type(error), asyncio.CancelledError) and not cancelled:
            return False
        if self._hooks.interruptible:
            return True
        task = asyncio.current_task()
        while task and task.uncancel():
            continue
        return False


def decodable(batch: Batch, decode: Callable[[Batch], list[Any]]) -> tuple[Batch, list[Any], DecodeError | None]:
    """The part of the batch up to the first message that does not decode, and its requests; or that message."""
    low, high = 0, batch.count
    while high - low > 1:
        middle = (low + high) // 2
        try:
            decode(batch.first(middle))
            low = middle
        except DecodeError:
            high = middle
    part = batch.first(max(low, 1))
    try:
        return part, decode(part), None
    except DecodeError as error:
        return part, [], error
