"""What the code of a handler sees of the process that calls it: no running loop where it is plain, and context
variables of its own.
"""

from __future__ import annotations

import sys
from asyncio import _enter_task, _get_running_loop, _leave_task, _set_running_loop, current_task
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextvars import Context, ContextVar
from typing import Any, TypeVar

#: From 3.14 on a thread has one current task, and another loop refuses to run beside it; before, each loop has its own.
_ONE_TASK_A_THREAD = sys.version_info >= (3, 14)

#: Whether a loop runs only for the call of code that has none.
_for_plain_caller: ContextVar[bool] = ContextVar("shardq_for_plain_caller", default=False)

_Result = TypeVar("_Result")


async def for_plain_caller(awaitable: Awaitable[_Result]) -> _Result:
    """What the awaitable returns, for code that has no event loop and runs one for this alone."""
    _for_plain_caller.set(True)
    return await awaitable


def as_for_caller(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call a function as code of the caller, who sees a running loop, or does not."""
    return plainly_with(function, arguments) if _for_plain_caller.get() else function(*arguments)


def plainly(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call a function as code without an event loop is called: it finds no running loop, and may run its own."""
    return plainly_with(function, arguments)


def plainly_with(function: Callable[..., _Result], arguments: Iterable[Any]) -> _Result:
    """As `plainly`. Arguments that are there already, as the requests of a batch, are not packed once more."""
    loop = _get_running_loop()
    if loop is None:
        return function(*arguments)
    task = current_task(loop) if _ONE_TASK_A_THREAD else None
    if task is not None:
        _leave_task(loop, task)
    # An alarm may raise wherever no loop runs. So the loop is hidden inside the `try`, and the first thing that happens
    # afterwards is that it is shown again, by a single call.
    try:
        _set_running_loop(None)
        return function(*arguments)
    finally:
        _set_running_loop(loop)
        if task is not None:
            _enter_task(loop, task)


class InContext:
    """Awaits a coroutine in the task that awaits this, but with each of its steps in the context given. `after_step` is
    told how each step ended: by waiting (None), by returning (`StopIteration`), by another exception.
    """

    def __init__(
        self,
        context: Context,
        coroutine: Coroutine[Any, Any, Any],
        after_step: Callable[[BaseException | None], None],
    ) -> None:
        self._context = context
        self._coroutine = coroutine
        self._after_step = after_step

    def __await__(self) -> Generator[Any, Any, Any]:
        run, coroutine, after_step = self._context.run, self._coroutine, self._after_step
        step: Callable[[Any], Any] = coroutine.send
        sent: Any = None
        while True:
            try:
                awaited = run(step, sent)
            except StopIteration as end:
                after_step(end)
                return end.value
            except BaseException as error:
                after_step(error)
                raise
            after_step(None)
            try:
                step, sent = coroutine.send, (yield awaited)
            except BaseException as error:
                step, sent = coroutine.throw, error
