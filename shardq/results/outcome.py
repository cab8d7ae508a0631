"""What a caller gets of a reply: values, or the exception with which a request failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from shardq.encoding.codec import decode_array
from shardq.encoding.replies import Failure, Reply
from shardq.errors import RequestFailed, ResultTooLarge
from shardq.handler import Handler
from shardq.handling.info import HandlerInfo

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Value]):
    """What became of one request of a `map`."""

    index: int
    """Its number among the requests, from 0 on."""
    request: Any
    value: Value | None
    """The result. None where it failed."""
    error: Exception | None
    """None where it did not fail."""
    attempts: int
    """How often it was tried, while it was alone in its batch."""
    waited_s: float
    """From the call to the worker that handled it."""
    worked_s: float
    """How long its handler took for it: for a batch of several, an equal share of the whole."""


class Sent(NamedTuple):
    """A request that was sent, and when."""

    request: Any
    sent_us: int

    def outcome(self, index: int, reply: Reply, value: Any, error: Exception | None) -> Outcome[Any]:
        waited_s = max(0, reply.taken_us - self.sent_us) / 1e6
        worked_s = reply.worked_us / 1e6 / len(reply.requests)
        return Outcome(index, self.request, value, error, reply.attempts, waited_s, worked_s)


def values_of(info: HandlerInfo, reply: Reply) -> Sequence[Any]:
    """The results of a reply without a failure. Raises `DecodeError`."""
    return decode_array(Any if info.result is None else info.result, reply.results)


def error_of(handler: type[Handler[Any]], failure: Failure) -> Exception:
    """The exception that the caller of a request gets that failed for good."""
    failed = RequestFailed(failure.message, failure.type, failure.traceback, failure.attempts, failure.signal)
    if failure.type == _name_of(ResultTooLarge):
        return _noted(ResultTooLarge(failure.message), failed)
    if failure.arguments is None:
        return failed
    for kind in handler.errors:
        if _name_of(kind) == failure.type:
            try:
                return _noted(kind(*msgspec.msgpack.decode(failure.arguments)), failed)
            except Exception:  # all that the code of the class may raise
                return failed
    return failed


def _noted(error: Exception, failed: RequestFailed) -> Exception:
    """The exception with the traceback of the worker."""
    error.__cause__ = failed
    return error


def _name_of(kind: type[Exception]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
