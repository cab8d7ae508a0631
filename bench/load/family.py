"""What goes through a family: from the first `register` until nothing is queued or in hand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from shardq import Handler, Supervisor


async def seconds_for(
    family: Supervisor, handler: type[Handler[Any]], calls: Iterable[Sequence[Any]], *, sync: bool = False
) -> float:
    """The seconds that these calls take, by `register` or by `register_sync`, until all is done."""
    queue = family.queue
    start = time.perf_counter()
    if sync:
        for requests in calls:
            queue.register_sync(handler, *requests)
    else:
        for requests in calls:
            await queue.register(handler, *requests)
    await family.drain()
    return time.perf_counter() - start
