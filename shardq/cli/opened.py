"""The segment that a command is about, and the event loop for what it does there."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from typing import Any, TypeVar

from shardq.auditing import Deed, recorded
from shardq.cli.output import complain
from shardq.connect import is_redis, segment_name
from shardq.drivers.shared.observing import SharedObserver
from shardq.drivers.shared.segments import Share
from shardq.drivers.shared.storage import SharedStorage
from shardq.protocols import Observer, Storage
from shardq.system.descriptors import check_left
from shardq.system.refusals import refusing
from shardq.text.wording import counted

_Result = TypeVar("_Result")

#: How long a command waits for another process that does not leave the guard, or does not finish attaching. Then the
#: command says so and ends.
PATIENCE_S = 2.0
#: Descriptors of an event loop of asyncio: epoll and a pair of sockets.
_LOOP = 3


@contextmanager
def opened(url: str) -> Iterator[Storage]:
    """A segment or a storage on a server, for what all storages can do."""
    if is_redis(url):
        from shardq.cli import server

        with server.opened(url) as found:
            yield found
    else:
        with attached(url) as segment:
            yield segment


@contextmanager
def observed(url: str) -> Iterator[Observer]:
    """What looks at a segment or a storage on a server, without taking part."""
    if is_redis(url):
        from shardq.cli import server

        with server.observed(url) as found:
            yield found
    else:
        with observed_segment(url) as observer:
            yield observer


@asynccontextmanager
async def changed(options: argparse.Namespace, what: str, target: str = "") -> AsyncIterator[tuple[Storage, Deed]]:
    """The storage, for a command that does something to it, and what is recorded of that in the end: its `count` says
    how much was done so far.
    """
    with opened(options.url) as storage:
        async with recorded(storage, Deed(what, target, options.reason, "command")) as deed:
            yield storage, deed


def observer_of(url: str) -> Observer:
    """What looks at a segment or a storage on a server, until it is closed."""
    if is_redis(url):
        from shardq.cli import server

        return server.observer_of(url)
    return SharedObserver.attach(segment_name(url))


@contextmanager
def observed_segment(url: str) -> Iterator[SharedObserver]:
    """What looks at a segment."""
    observer = SharedObserver.attach(segment_name(url))
    try:
        yield observer
    finally:
        observer.close()
    if observer.missed:
        left_out = counted(observer.missed, "thread or request", "threads or requests")
        complain(f"shardq: {left_out} changed too fast to be looked at: look again")


@contextmanager
def attached(url: str) -> Iterator[SharedStorage]:
    """Attached as long as it is entered. Some slots are kept for commands, for when programs have all others."""
    storage = SharedStorage.attach(segment_name(url), share=Share.VISITORS, patience_s=PATIENCE_S)
    storage.limit_waits(PATIENCE_S)
    try:
        yield storage
    finally:
        storage.detach()


async def first(items: AsyncIterator[_Result], count: int) -> list[_Result]:
    """The first of the items; no more of them are read."""
    found = list[_Result]()
    async with aclosing(items):  # type: ignore[type-var]  # generators all of them, and typed as what they give
        while len(found) < count:
            try:
                found.append(await anext(items))
            except StopAsyncIteration:
                break
    return found


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """What the coroutine returns. Raises `SegmentUnavailable` where the system refuses an event loop."""
    with closing(work), refusing("run this command"):
        check_left(_LOOP, "run this command", kept=0)
        return asyncio.run(work)
