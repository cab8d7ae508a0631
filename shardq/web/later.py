"""Requests that wait for their time as pages show them, and those that an action is about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from shardq.cli.deferred.coming import Coming
from shardq.errors import ConfigurationError
from shardq.later.match import Match
from shardq.later.requests import Waiting
from shardq.model import Deferred, due_in
from shardq.web.wish import Wish

#: Filters that tell nothing of what is in requests.
_HARMLESS = ("within=", "beyond=")
#: So many requests are read before others go on.
_AT_ONCE = 256


def match_of(filters: Sequence[str], *, sees_payloads: bool) -> Match:
    """The filter. Raises `ConfigurationError`, also for what would tell more than may be seen."""
    wanted = [its for its in filters if its.strip()]
    if not sees_payloads and not all(its.startswith(_HARMLESS) for its in wanted):
        raise ConfigurationError("without the right view_payloads filter by within= and beyond= only")
    return Match(*wanted)


async def chosen(wish: Wish, waiting: Waiting, *, sees_payloads: bool) -> list[Deferred]:
    """Those that an action is about now. Raises `ConfigurationError` for what is no id and no filter."""
    match, wanted = match_of(wish.filters, sees_payloads=sees_payloads), set(wish.ids)
    last_us, found, read = max(map(due_in, wanted), default=None), list[Deferred](), 0
    async with aclosing(waiting.each(wish.handler or None)) as requests:
        async for its in requests:
            if last_us is not None and its.due_us > last_us:
                break
            if its.id in wanted if wanted else match(its):
                found.append(its)
            read += 1
            if read % _AT_ONCE == 0:
                await asyncio.sleep(0)
    return found


async def recurrent(requests: AsyncIterator[Coming], wanted: str) -> Coming:
    """The recurrent request of this id. Raises `ConfigurationError` where it is not there."""
    async for its in requests:
        if its.id == wanted:
            return its
    raise ConfigurationError(f"there is no recurrent request {wanted}: it was ended, or its last time has come")
