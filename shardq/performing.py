"""Runs a handler on one stored request, to see why it fails: no storage, no worker, and nothing that it sends on is
stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shardq.encoding.envelope import split
from shardq.handler import Handler, call
from shardq.handling.info import check_usable, info_of
from shardq.model import Batch
from shardq.testing import LocalQueue


@dataclass(frozen=True)
class Performed:
    """What a handler did with a request."""

    returned: Any
    """What its `handle` returned."""
    sent: Sequence[tuple[str, bytes]]
    """What it registered and emitted: tubes and messages. It is stored nowhere."""


def perform(handler: type[Handler[Any]], message: bytes) -> Performed:
    """Make and start the handler, have it handle the request that the message holds, and stop it, as a worker does.
    Without `timeout_s` and further attempts, and what it registers or emits is stored nowhere. All that it does besides
    happens: it is the handler itself.

    Raises what the handler raises, and `DecodeError` for a message that is none of its requests. Must not be called
    where an event loop runs.
    """
    return asyncio.run(_performed(handler, message))


async def _performed(handler: type[Handler[Any]], message: bytes) -> Performed:
    check_usable(handler)
    queue = LocalQueue()
    _, body = split(message)
    requests = queue.serializer.decode(info_of(handler).kind, Batch.of([body]))
    made: Any = await call(handler.create)
    made.queue, made.fencing_token, made._outbox, made._in_hand = queue, 1, _Outbox(queue), _InHand()
    await call(made.start)
    try:
        returned = await call(made.handle, *requests)
    finally:
        await call(made.stop)
    return Performed(
        returned, [(pipe, message) for pipe, messages in queue.registered_messages for message in messages]
    )


class _Outbox:
    """Takes what a handler emits."""

    def __init__(self, queue: LocalQueue) -> None:
        self._queue = queue

    async def emit(self, handler: Any, requests: Sequence[Any], **options: Any) -> None:
        await self._queue.register(handler, *requests, **options)

    def emit_sync(self, handler: Any, requests: Sequence[Any], **options: Any) -> None:
        self._queue.register_sync(handler, *requests, **options)


class _InHand:
    """The batch in hand. No worker has it."""

    async def acknowledge(self, count: int) -> None:
        pass

    def progress(self, done: float, total: float | None, note: str) -> None:
        pass
