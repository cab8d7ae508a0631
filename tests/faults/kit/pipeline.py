"""A pipeline of three stages, each of which emits to the next. No worker serves the last one: the test reads it."""

from __future__ import annotations

from typing import NamedTuple

from shardq import Handler, Retry

THREADS = 5
#: A death is never the fault of a request here, however often it happens.
_TIRELESS = Retry(max_attempts=1_000_000, backoff_s=0.0)


class Drop(NamedTuple):
    thread: int
    number: int
    """In its thread."""


class First(Handler[Drop]):
    """Sends on a batch at once."""

    route_by = "thread"
    retry = _TIRELESS
    batch_size = 16

    def handle(self, *drops: Drop) -> None:
        self.emit_sync(Second, *drops)


class Second(Handler[Drop]):
    """Sends on one request after the other, and acknowledges some of them before the end."""

    route_by = "thread"
    retry = _TIRELESS
    batch_size = 16

    async def handle(self, *drops: Drop) -> None:
        for done, drop in enumerate(drops, 1):
            await self.emit(Last, drop)
            if drop.number % 5 == 0:
                await self.acknowledge(done)


class Last(Handler[Drop]):
    route_by = "thread"

    def handle(self, *drops: Drop) -> None:
        raise AssertionError("no worker serves this")
