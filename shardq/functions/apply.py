"""The handler that calls functions. Workers whose supervisor has a key serve it, beside other handlers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Coroutine, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from shardq.encoding.codec import MsgspecSerializer, array_header, decode_array
from shardq.encoding.replies import Failure
from shardq.errors import DecodeError, HandlerError, RequestError, ResultTooLarge, shown
from shardq.functions.named import Function, found
from shardq.functions.proofs import is_proven
from shardq.handler import Handler
from shardq.model import Retry, Route
from shardq.queue import Queue
from shardq.supervisor.code.launch import FUNCTIONS_KEY
from shardq.text.portrait import line, portrait, text

#: Most characters of a traceback in an answer.
_TRACEBACK_CHARACTERS = 8000
#: How many bytes a message may have beside what a function returned.
_ANSWER_BYTES = 128
#: Of these, values of the class are values of the type.
_PLAIN = frozenset((int, float, bool, str, bytes))
#: What a function does not raise by itself: an interrupt is meant for its worker, and a coroutine that is closed has no
#: answer to give.
_FROM_OUTSIDE = (KeyboardInterrupt, GeneratorExit)
_serializer = MsgspecSerializer()


class Task(NamedTuple):
    """An item for a function."""

    function: str
    """Its name, see `Function`."""
    proof: bytes
    """That an application named it whose functions the worker may call."""
    item: bytes
    """The message of the item."""
    thread: int
    """Where it is worked on. Items need no order, so this only spreads them over the workers."""


class Answer(NamedTuple):
    """What a function returned."""

    value: bytes = b""
    """The message of it."""
    failure: Failure | None = None
    """What it raised instead."""


class Apply(Handler[Task, Answer]):
    """Calls functions. What one of them raises is its answer at once, so no item of the batch is done twice for it. An
    item whose worker dies is tried again.
    """

    retry = Retry(max_attempts=3, backoff_s=0.0)
    # An item is bytes here: which of its fields are secrets, only the process knows that has its function.
    secret_fields = ("item", "proof")

    @classmethod
    def route(cls, *tasks: Task) -> list[Route]:
        return [Route(task.thread) for task in tasks]

    def perform(self, *tasks: Task) -> Any:
        most_bytes = cast(Queue, self.queue).storage.limits.message_bytes - _ANSWER_BYTES
        answers = [_answer(task, most_bytes) for task in tasks]
        return answers if {Answer}.issuperset(map(type, answers)) else _completed(answers)


@lru_cache(maxsize=256)
def _named(name: str, given: bytes) -> Function:
    """Raises `HandlerError`, and imports nothing, where no application with the key of this worker named it."""
    if not is_proven(name, given):
        raise HandlerError(
            f"{shown(name)} was not named by an application whose functions this worker calls: programs that share a "
            f"storage need the same {FUNCTIONS_KEY}"
        )
    return found(name)


def _answer(task: Task, most_bytes: int) -> Answer | Coroutine[Any, Any, Answer]:
    """The answer, or for a coroutine function what gives it. A result may have so many bytes at most."""
    pid = os.getpid()
    try:
        function = _named(task.function, task.proof)
        [item] = decode_array(function.item, array_header(1) + task.item)
        value = function.call(item)
        if isinstance(value, Awaitable):
            return _awaited(function, value, pid, most_bytes)
        return _answer_of(function, value, most_bytes)
    except _FROM_OUTSIDE:
        raise
    except BaseException as error:
        if os.getpid() != pid:
            raise  # a process that the function forked has no answer to give, and ends
        return _failed(error)


async def _awaited(function: Function, value: Awaitable[Any], pid: int, most_bytes: int) -> Answer:
    """`pid`: of the process that is to await it, and not of one that another function forks meanwhile."""
    try:
        if os.getpid() != pid:
            await asyncio.get_running_loop().create_future()  # until this process ends, in the same turn of the loop
        return _answer_of(function, await value, most_bytes)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _failed(error)  # of something that the function waited for
    except _FROM_OUTSIDE:
        raise
    except BaseException as error:
        if os.getpid() != pid:
            raise
        return _failed(error)


async def _completed(answers: Sequence[Answer | Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """The answers, once the coroutines among them have ended, which run at the same time. Where one of them has to end
    early, all do: an item that is done again must not go on beside that.
    """
    running = [asyncio.ensure_future(answer) for answer in answers if not isinstance(answer, Answer)]
    try:
        ended = iter(await asyncio.gather(*running))
    except BaseException:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        raise
    return [answer if isinstance(answer, Answer) else next(ended) for answer in answers]


def _answer_of(function: Function, value: Any, most_bytes: int) -> Answer:
    """Raises `HandlerError` for a value that would not arrive as one of the type, and `ResultTooLarge`."""
    try:
        [message] = _serializer.encode(function.result, [value])
        if len(message) > most_bytes:
            raise ResultTooLarge(
                f"{function.name} returned a result of {len(message):,} bytes, and the storage takes at most "
                f"{most_bytes:,}: return something smaller, as the name of a file, or give the storage more capacity"
            )
        if type(value) is not function.result or function.result not in _PLAIN:
            decode_array(function.result, array_header(1) + message)
    except (RequestError, DecodeError) as error:
        raise HandlerError(f"{function.name} returned {shown(value)}, which cannot be sent: {error}") from error
    return Answer(message)


def _failed(error: BaseException) -> Answer:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    shown_error = portrait(error)
    return Answer(failure=Failure(name, line(shown_error), text(shown_error, _TRACEBACK_CHARACTERS), 1, None))
