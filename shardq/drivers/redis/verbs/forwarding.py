"""Outputs on their way from the partition of their batch to that of their tube, and letters that are requeued. That may
be the same partition: what a batch sends on may be more than a short script can look at.

It is written into the outbox of its source in the script that acknowledges what it comes of. Any process may bring it
on, and several may at once: the target takes each entry once and in their order, by a cursor for each source. The
process that wrote an entry brings it on at once; what is left is seen by the next one that looks at the source.

Where copies are wanted (`replicas=`, `fsync=`) an entry stays in the outbox until its target has copies of it: should a
replica that lacks it take the place of the target's server, it comes again. Workers do not wait for that.

What was accepted once finds room in each partition, so partitions that are full never wait for one another. Of what
comes to a full one the room stays taken in its source, whose producers wait until the target has room of its own.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from shardq.blocking import here as blocking
from shardq.drivers.redis.connections.replies import NoMemory
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.rooms import Room
from shardq.errors import ShardqError, StorageMoved, StorageUnavailable
from shardq.settings import StorageSettings

#: Seconds after which targets that had no room are asked again.
_PAUSE_S = 0.1


class Forwarding:
    """Brings on what is in the outboxes of one storage."""

    def __init__(self, server: Server, settings: StorageSettings) -> None:
        self._server = server
        self._settings = settings
        self._behind: dict[tuple[asyncio.AbstractEventLoop, int], asyncio.Task[None]] = {}
        """Where a loop brings on what is in the outbox of a partition, while others do not wait for it."""
        self._once_more = set[int]()
        self._asked = dict[int, float]()
        """When the targets of a partition were asked for room, monotonic."""

    async def bring_on(self, source: int, *, asks: bool = False) -> None:
        """Bring on what is in the outbox of a partition, as far as its targets can be reached, and take back the room
        that it lent where they have room themselves. `asks`: for that, however short ago they were asked.
        """
        if asks or blocking.blocking or not self._server.wants_copies:
            await self._bring_on(source, asks=asks)
            return
        place = asyncio.get_running_loop(), source
        self._once_more.add(source)
        before = self._behind.get(place)
        if before is None or before.done():  # the loop has not called back yet
            task = self._behind[place] = place[0].create_task(self._bring_on_behind(source))
            task.add_done_callback(lambda its: self._behind.pop(place) if self._behind.get(place) is its else None)

    async def _bring_on_behind(self, source: int) -> None:
        with suppress(ShardqError):  # what is left is seen by the next one that looks
            while source in self._once_more:
                self._once_more.discard(source)
                await self._bring_on(source)

    async def _bring_on(self, source: int, *, asks: bool = False) -> None:
        after: int | None = None
        try:
            while True:
                told = {"after": after, "own": source}
                borrowers, *reply = await self._server.run("outgoing", source, told, patience_s=0.0)
                if not reply:
                    break
                target, numbers, entries = int(reply[0]), [int(number) for number in reply[1::2]], reply[2::2]
                if target == source:
                    await self._unfold(source)
                    after = target
                elif not await self._delivered(source, target, numbers, entries):
                    after = target
            if borrowers and (asks or time.monotonic() - self._asked.get(source, float("-inf")) > _PAUSE_S):
                self._asked[source] = time.monotonic()
                for target in borrowers:
                    await self._take_back(source, int(target))
        except StorageUnavailable:
            return  # the source: what is there is brought on later

    async def _unfold(self, partition: int) -> None:
        """Have what the partition put away for itself come into its tubes."""
        while await self._server.run("unfold", partition, {"partition": partition}, patience_s=0.0):
            continue

    async def _delivered(self, source: int, target: int, numbers: list[int], entries: list[bytes]) -> bool:
        """Whether the target has all of them now."""
        if not await self._server.reaches(target):
            return False
        left, last, again, is_full = list(zip(numbers, entries, strict=True)), 0, 1, 0
        try:
            while again:
                left = [(number, entry) for number, entry in left if number > last]
                told = {"source": source, "numbers": [number for number, _ in left], "most": self._most}
                bodies = [entry for _, entry in left]
                last, again, full = await self._server.run("incoming", target, told, *bodies, patience_s=0.0)
                is_full = is_full or full
            if self._server.wants_copies:
                if blocking.blocking:
                    return False  # a supervisor has no time to wait: a worker that looks sees it
                last = await self._server.run("cursor", target, {"source": source}, patience_s=0.0)
        except (StorageUnavailable, NoMemory):
            return False
        if last >= numbers[0]:
            done = {"target": target, "through": last, "lends": bool(is_full)}
            await self._server.run("arrived", source, done, patience_s=0.0)
        return bool(last >= numbers[-1])

    async def _take_back(self, source: int, target: int) -> None:
        with suppress(StorageUnavailable, StorageMoved, NoMemory):
            owes = await self._server.run("room", target, {"owes": True, "most": self._most}, patience_s=0.0)
            await self._server.run("arrived", source, {"target": target, "owes": owes}, patience_s=0.0)

    @property
    def _most(self) -> int | None:
        return Room(self._settings.capacity_bytes, self._server.partitions).most()
