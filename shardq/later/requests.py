"""Requests that wait for their time, and what can be done with them before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from shardq.errors import ConfigurationError, QueueFull, shown
from shardq.handler import Handler, check_is_handler
from shardq.model import Deferred, handler_name
from shardq.pages import each, first
from shardq.protocols import Readable, Storage
from shardq.recurrent import Recurring

#: How many requests are cancelled in one call of the storage.
_CANCELLED_AT_ONCE = 256

#: Says of a request whether it is wanted.
Wanted = Callable[[Deferred], bool]


class Waiting:
    """The requests of a storage that wait for their time, to be looked at."""

    def __init__(self, storage: Readable) -> None:
        self._readable = storage

    async def list(
        self,
        handler: type[Handler[Any]] | str | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        match: Wanted | None = None,
    ) -> Sequence[Deferred]:
        """Those of a handler, given as a class or as `module/Handler`; without one, of all. The first due come first.
        `after`: only those behind the one of this id, which may be gone; `limit`: at most so many; `match`: those that
        it is true for, as a `shardq.later.match.Match` is. Raises `HandlerError` for what is no handler, and
        `ConfigurationError` for what is no id.
        """
        return await first(self.each(handler, after=after, match=match), limit)

    async def each(
        self,
        handler: type[Handler[Any]] | str | None = None,
        *,
        after: str | None = None,
        match: Wanted | None = None,
    ) -> AsyncGenerator[Deferred, None]:
        """The same one by one, read page by page: for more than memory should hold."""
        if handler is not None and not isinstance(handler, str):
            check_is_handler(handler)
            handler = handler_name(handler)
        deferrals = self._readable.deferrals
        async for deferred in each(lambda further: deferrals.page(further or after)):
            if handler in (None, deferred.handler) and (match is None or match(deferred)):
                yield deferred


class Later(Waiting):
    """The requests of a storage that wait for their time. `Queue.later` makes it."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._deferrals = storage.deferrals

    async def get(self, request: str) -> Deferred | None:
        """The one of this id. None: it has come, or was taken out. Raises `ConfigurationError` for what is no id."""
        return await self._deferrals.find(request)

    async def cancel(self, *requests: Deferred) -> int:
        """Take these out: they never come. Returns how many still waited. Raises `ConfigurationError` for what `list`
        does not return; then none is taken out.
        """
        ids = [_id_of(request) for request in requests]
        starts = range(0, len(ids), _CANCELLED_AT_ONCE)
        return sum([await self._deferrals.cancel(*ids[start : start + _CANCELLED_AT_ONCE]) for start in starts])

    async def run(self, request: Deferred) -> bool:
        """Have this one come into its tube now, behind what is there. Either it waits or it is there, whichever process
        dies when. False: it had come already, or was taken out. Raises `QueueFull`, and `ConfigurationError` for what
        `list` does not return.
        """
        came = await self._deferrals.run(_id_of(request))
        if came is False:
            raise QueueFull(f"the storage has no room to have {request.id} come: it waits on, try again later")
        return bool(came)

    async def skip(self, recurring: Recurring) -> bool:
        """Have a recurrent request, as `Queue.recurrent.list` returned it, leave out its next time: it comes at the one
        after that, and where its schedule has none it ends. False: it came meanwhile, or was skipped, changed or ended
        by another. Raises `QueueFull` where a segment has no room to tell it from others of its call, and
        `ConfigurationError` for what `list` does not return.
        """
        if not isinstance(recurring, Recurring):
            raise ConfigurationError(
                f"{shown(recurring)} is no recurrent request: give one that recurrent.list() returned"
            )
        skipped = await self._deferrals.skip(recurring.scheduled)
        if skipped is False:
            raise QueueFull(f"the storage has no room to skip a time of {recurring.pipe}: try again later")
        return bool(skipped)


def _id_of(request: Any) -> str:
    if not isinstance(request, Deferred):
        raise ConfigurationError(f"{shown(request)} is no request that waits: give those that later.list() returned")
    return request.id
