"""The two ends of a move, by their URLs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shardq.connect import is_redis, segment_name, signpost
from shardq.errors import ConfigurationError, SegmentMissing, shown
from shardq.moving.mover import Ends
from shardq.protocols import Movable

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
async def ends(source: str, target: str, capacity_bytes: int | None = None) -> AsyncIterator[Ends]:
    """Both ends, connected. A segment that the target names is made where there is none, of that capacity. Raises
    `ConfigurationError`, and what the drivers raise.
    """
    if signpost(source) == signpost(target):
        raise ConfigurationError(f"{signpost(source)} cannot move to itself: give another target")
    async with opened(source) as come_from, opened(target, capacity_bytes, make=True) as go_to:
        yield Ends(come_from, go_to, signpost(source), signpost(target))


@asynccontextmanager
async def opened(url: str, capacity_bytes: int | None = None, *, make: bool = False) -> AsyncIterator[Movable]:
    """One end. `make`: a segment that is not there is made."""
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

    name = segment_name(url)
    try:
        segment = SharedStorage.attach(name, share=Share.VISITORS)
    except SegmentMissing:
        if not make:
            raise
        segment = SharedStorage.create(name, capacity_bytes, share=Share.VISITORS)
    try:
        yield MovableSegment(segment)
    finally:
        await segment.close()
