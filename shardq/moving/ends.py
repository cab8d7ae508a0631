"""The two ends of a move, by their URLs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from shardq.connect import is_redis, segment_name, signpost
from shardq.errors import ConfigurationError, SegmentBusy, SegmentMissing, shown
from shardq.moving.mover import Ends
from shardq.protocols import Movable

if TYPE_CHECKING:
    from shardq.drivers.shared.storage import SharedStorage

#: A URL that begins so names an environment variable that has the URL: a list of processes would show a password.
_VARIABLE = "env:"


def url_of(text: str) -> str:
    """The URL that was given, or that stands in the variable that was named. Raises `ConfigurationError`."""
    if not text.startswith(_VARIABLE):
        return text
    name = text.removeprefix(_VARIABLE)
    if not os.environ.get(name):
        raise ConfigurationError(f"there is no environment variable {shown(name)}: set it to a URL")
    return os.environ[name]


@asynccontextmanager
async def ends(
    source: str, target: str, capacity_bytes: int | None = None, *, for_now: bool = False
) -> AsyncIterator[Ends]:
    """Both ends, connected. A segment that the target names is made where there is none, of that capacity: see
    `opened`. Raises `ConfigurationError`, and what the drivers raise.
    """
    if signpost(source) == signpost(target):
        raise ConfigurationError(f"{signpost(source)} cannot move to itself: give another target")
    made = opened(target, capacity_bytes, make=True, for_now=for_now)
    async with opened(source) as come_from, made as go_to:
        yield Ends(come_from, go_to, signpost(source), signpost(target))


@asynccontextmanager
async def opened(
    url: str, capacity_bytes: int | None = None, *, make: bool = False, for_now: bool = False
) -> AsyncIterator[Movable]:
    """One end. `make`: a segment that is not there is made. Where the block raises it goes again, unless there is
    something in it: so another try may make it otherwise. `for_now`: also where the block does not raise.
    """
    if is_redis(url):
        from shardq.drivers.redis.connecting import connected
        from shardq.drivers.redis.moving import MovableServer

        server = await connected(url)
        try:
            yield MovableServer(server)
        finally:
            await server.close()
        return
    from shardq.drivers.shared.moving import MovableSegment
    from shardq.drivers.shared.segments import Share
    from shardq.drivers.shared.storage import SharedStorage

    name, stays = segment_name(url), True
    try:
        segment = SharedStorage.attach(name, share=Share.VISITORS)
    except SegmentMissing:
        if not make:
            raise
        segment, stays = SharedStorage.create(name, capacity_bytes, share=Share.VISITORS), False
    try:
        yield MovableSegment(segment)
        stays = stays or not for_now
    finally:
        if not stays:
            _remove_unused(segment)
        await segment.close()


def _remove_unused(segment: SharedStorage) -> None:
    """Unless another process came to it, content arrived, or is to arrive."""
    from shardq.drivers.shared.supervised import SupervisedSegment

    with suppress(SegmentBusy):
        if SupervisedSegment(segment).close_if_unused():
            segment.destroy()
