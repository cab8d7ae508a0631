"""What waits for its time and what comes again and again, in one order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

from shardq.cli.recurrent import id_of
from shardq.errors import ConfigurationError
from shardq.later.requests import Waiting
from shardq.model import Deferred, Scheduled, due_in, key_of, split_key
from shardq.pages import each
from shardq.protocols import Observer, Readable


class Coming(NamedTuple):
    """A request that is to come."""

    id: str
    pipe: str
    due_us: int
    message: bytes
    schedule: str
    """By which it comes again and again. Empty: it comes once."""

    @property
    def handler(self) -> str:
        """`module/Handler`."""
        return split_key(key_of(self.pipe))[0]

    @property
    def as_deferred(self) -> Deferred:
        """The same without its schedule."""
        return Deferred(self.id, self.pipe, self.due_us, self.message)

    @property
    def as_scheduled(self) -> Scheduled:
        """A recurrent one as its storage has it."""
        return Scheduled(self.pipe, self.message, self.schedule, self.due_us)


async def coming(observer: Observer, after: str | None) -> AsyncGenerator[Coming, None]:
    """All that is to come, the next due first, behind the one of the id `after`. Raises `ConfigurationError` for what
    is no id, and for that of a recurrent request that is not there.
    """
    if after and "#" in after:
        start_us = await _due_of(observer, after)
        once = (its async for its in _once(observer, None) if its.due_us > start_us)
        recurrent = _behind(again(observer), after)
    else:
        from_us = due_in(after) if after else 0
        once = _once(observer, after)
        recurrent = (its async for its in again(observer) if its.due_us >= from_us)
    following = await anext(recurrent, None)
    async for its in once:
        while following and following.due_us < its.due_us:
            yield following
            following = await anext(recurrent, None)
        yield its
    while following:
        yield following
        following = await anext(recurrent, None)


async def _once(observer: Observer, after: str | None) -> AsyncGenerator[Coming, None]:
    async for its in Waiting(observer).each(after=after):
        yield Coming(*its, "")


async def again(readable: Readable) -> AsyncGenerator[Coming, None]:
    """All that comes again and again, the next due first."""
    async for its in each(readable.scheduled):
        yield Coming(id_of(its), its.pipe, its.due_us, its.message, its.schedule)


async def _behind(recurrent: AsyncIterator[Coming], after: str) -> AsyncGenerator[Coming, None]:
    passed = False
    async for its in recurrent:
        if passed:
            yield its
        passed = passed or its.id == after


async def _due_of(observer: Observer, wanted: str) -> int:
    async for its in again(observer):
        if its.id == wanted:
            return its.due_us
    raise ConfigurationError(f"there is no recurrent request {wanted}: `later list` shows what there is")
