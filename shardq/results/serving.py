"""Whether any worker serves a handler, for callers that would wait for ever otherwise."""

from __future__ import annotations

import time

from shardq.errors import NotServed
from shardq.model import INBOX, key_of, split_key
from shardq.pages import each
from shardq.protocols import Storage

#: After how long without a reply a caller looks whether its handler is still served, and after how long without any
#: worker it gives up: a family that is replaced is back before.
LOOK_S, GONE_S = 1.0, 10.0
#: For how long it is believed that a handler is served that was.
_BELIEVED_S = 1.0
#: What to do where a result did not come in time.
LATE = "`shardq status` and `shardq stack` show what workers are at; give it a longer timeout_s, or more workers"


class Serving:
    """What is known of who serves which handler."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._seen: dict[str, tuple[float, int]] = {}
        """When it was looked last, and how many processes served the handler then."""

    async def check(self, name: str) -> int:
        """How many processes serve the handler, 1 where that is not known. Raises `NotServed`."""
        seen_at, count = self._seen.get(name, (0.0, 0))
        if count and time.monotonic() - seen_at < _BELIEVED_S:
            return count
        count = await self._count(name)
        if not count:
            raise not_served(name)
        self._seen[name] = time.monotonic(), count
        return count

    async def check_still(self, name: str, silent_s: float) -> None:
        """Raise `NotServed` where no worker has the handler any more, and no reply came for so long."""
        if silent_s >= GONE_S and not await self._count(name):
            raise not_served(name)

    async def _count(self, name: str) -> int:
        count = await self._storage.serving(name)
        return 1 if count is None else count


async def without_worker(storage: Storage) -> list[str]:
    """Handlers that have requests queued, and no worker, or are paused."""
    names = {split_key(key_of(pipe))[0] async for pipe in each(storage.pipes)} - {INBOX}
    paused = {its.handler for its in await storage.pauses()}
    return sorted([name for name in names if name in paused or await storage.serving(name) == 0])


def not_served(name: str) -> NotServed:
    """The error for a handler that no worker has."""
    return NotServed(
        f"no living worker serves {name}, so there would be no result: start a supervisor for its module, or a worker"
    )
