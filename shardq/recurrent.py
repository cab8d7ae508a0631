"""Requests that wait for their time: recurrent ones, and handlers that stand for waiting requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from shardq.encoding.envelope import split
from shardq.errors import HandlerError
from shardq.handler import Handler
from shardq.handling.info import request_type
from shardq.model import Batch, Scheduled, handler_name, key_of, split_key
from shardq.pages import each
from shardq.protocols import Serializer, Storage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DeferredHandler(Handler[Any]):
    """For a worker that only moves due requests to their tubes: `worker.loop(handler=DeferredHandler)` serves no tube.
    Every worker moves due requests while it waits, so no worker is needed for this alone.

    Nothing can be registered to it: use `register(..., defer=...)` with the handler that does the work.
    """

    @classmethod
    def route(cls, *requests: Any) -> Any:
        raise HandlerError(_not_to_register(cls, "defer"))


class RecurrentHandler(Handler[Any]):
    """The same for recurrent requests: a worker that is given only this handler moves due requests, and serves no tube.

    Nothing can be registered to it: use `register(..., recurrent=...)` with the handler that does the work.
    """

    @classmethod
    def route(cls, *requests: Any) -> Any:
        raise HandlerError(_not_to_register(cls, "recurrent"))


#: Handlers without requests: they need not define `handle` or `perform`.
TIME_HANDLERS: tuple[type[Handler[Any]], ...] = (DeferredHandler, RecurrentHandler)


@dataclass(frozen=True, slots=True)
class Recurring:
    """A request that comes again and again."""

    handler: str
    """`module/Handler`."""
    pipe: str
    """The tube it comes to."""
    schedule: str
    """When, as `shardq.scheduling.schedule` writes it."""
    due: datetime
    """When it comes next, in UTC."""
    message: bytes
    """The request as it is stored. `Recurrent.decoded` gives the request."""

    @property
    def scheduled(self) -> Scheduled:
        """The same as a storage has it."""
        return Scheduled(self.pipe, self.message, self.schedule, (self.due - _EPOCH) // timedelta(microseconds=1))


class Ends(Protocol):
    """Ends the schedules of requests, and returns how many there were."""

    def __call__(self, handler: type[Handler[Any]], *requests: Any) -> Awaitable[int]: ...


class Recurrent:
    """The requests of a storage that come again and again. `Queue.recurrent` makes it."""

    def __init__(self, storage: Storage, serializer: Serializer, ends: Ends) -> None:
        self._storage = storage
        self._serializer = serializer
        self._ends = ends

    async def list(self) -> Sequence[Recurring]:
        """All of them, the next due first."""
        return [recurring async for recurring in self.each()]

    async def each(self) -> AsyncIterator[Recurring]:
        """The same one by one, read page by page: for more than memory should hold."""
        async for scheduled in each(self._storage.scheduled):
            yield recurring_of(scheduled)

    async def cancel(self, handler: type[Handler[Any]], *requests: Any) -> int:
        """End the schedules of requests equal to these. Returns how many there were. A request that is already in its
        tube stays there: `Queue.cancel` takes it out.
        """
        return await self._ends(handler, *requests)

    def decoded(self, recurring: Recurring, handler: type[Handler[Any]]) -> Any:
        """The request itself, of the type its handler takes. Raises `HandlerError` for another handler, and
        `DecodeError`.
        """
        if handler_name(handler) != recurring.handler:
            raise HandlerError(f"this request is of {recurring.handler}, not of {handler_name(handler)}: give that one")
        _, message = split(recurring.message)
        [request] = self._serializer.decode(request_type(handler), Batch.of([message]))
        return request


def recurring_of(scheduled: Scheduled) -> Recurring:
    """The same as an application sees it."""
    name, _ = split_key(key_of(scheduled.pipe))
    due = _EPOCH + timedelta(microseconds=scheduled.due_us)
    return Recurring(name, scheduled.pipe, scheduled.schedule, due, scheduled.message)


def _not_to_register(handler: type[Handler[Any]], option: str) -> str:
    return (
        f"nothing can be registered to {handler.__qualname__}: register the request to the handler that does the work, "
        f"with `{option}=`"
    )
