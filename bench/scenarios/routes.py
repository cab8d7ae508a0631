"""What `register` costs before anything is stored: by a declared route, and by written ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle, islice
from pkgutil import resolve_name
from typing import Any

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Scenario
from bench.harness.size import Size
from bench.load.jobs import CALL, JOBS, THREADS, numbered
from shardq import Queue
from shardq.drivers import RuntimeStorage
from shardq.model import Part

_CALLS = 800
#: How many different keys the requests have.
_KEYS = (16, 1_000, 100_000)


class Sink(RuntimeStorage):
    """Takes everything and keeps nothing."""

    async def append(self, parts: Sequence[Part], **options: Any) -> int | None:
        return sum(len(messages) for _, messages in parts)


def registering(size: Size, *, handler: str) -> Figures:
    """`handler` names the class whose route it is."""
    routed, calls = resolve_name(f"{JOBS}:{handler}"), size.count(_CALLS)
    return {f"keys_{keys}_us": _call_us(Queue(Sink()), routed, keys, calls) for keys in _KEYS}


def _call_us(queue: Queue, handler: Any, keys: int, count: int) -> float:
    """What one call takes."""
    requests_of_all = cycle(numbered(0, keys))
    calls = [list(islice(requests_of_all, CALL)) for _ in range(count)]
    for requests in calls[: count // 4]:  # to warm up
        queue.register_sync(handler, *requests)
    start = time.perf_counter()
    for requests in calls:
        queue.register_sync(handler, *requests)
    return (time.perf_counter() - start) / count * 1e6


SCENARIOS = (
    Scenario(
        "routes",
        f"registering calls of {CALL} over {THREADS} threads into a storage that keeps nothing, by the kind of route",
        tuple(
            Figure(f"keys_{keys}_us", f"a call whose requests have {keys:,} different keys", "us", less_is_better=True)
            for keys in _KEYS
        ),
        (
            Contestant("declared, route_by", f"{__name__}:registering", {"handler": "Declared"}),
            Contestant("written, Route.by(request.number)", f"{__name__}:registering", {"handler": "ByKey"}),
            Contestant("written, Route(request.number % 16)", f"{__name__}:registering", {"handler": "Nothing"}),
        ),
        "Encoding is in each figure. `route_by` remembers the threads of up to 16,384 keys, so with 100,000 keys it "
        "knows none of them again; `Route.by` takes a hash of each key, a remainder takes none.",
    ),
)
