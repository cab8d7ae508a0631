"""What `register` costs before anything is stored: by a declared route, and by written ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bench.jobs import CALL, THREADS, Job, Nothing, numbered
from shardq import Handler, Queue, Route
from shardq.drivers import RuntimeStorage
from shardq.model import Part

KEYS = (16, 1_000, 100_000)
CALLS = 800


class Declared(Nothing):
    route_by = "number"
    threads = THREADS


class WrittenByKey(Nothing):
    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        return [Route.by(request.number, threads=THREADS) for request in requests]


class Sink(RuntimeStorage):
    """Takes everything and keeps nothing."""

    async def append(self, parts: Sequence[Part], **options: Any) -> int | None:
        return sum(len(messages) for _, messages in parts)


def declared() -> dict[str, float]:
    return _measure(Declared)


def written_by_key() -> dict[str, float]:
    return _measure(WrittenByKey)


def written_remainder() -> dict[str, float]:
    return _measure(Nothing)


def _measure(handler: type[Handler[Job]]) -> dict[str, float]:
    figures = {}
    for keys in KEYS:
        requests = numbered(0, keys)
        calls = [[requests[n % keys] for n in range(first, first + CALL)] for first in range(0, CALLS * CALL, CALL)]
        queue = Queue(Sink())
        for call in calls[: CALLS // 4]:  # the first are to warm up
            queue.register_sync(handler, *call)
        start = time.perf_counter()
        for call in calls:
            queue.register_sync(handler, *call)
        figures[f"by_{keys}_keys_us"] = (time.perf_counter() - start) / CALLS * 1e6
    return figures
