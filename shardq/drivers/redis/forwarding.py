"""What is on its way from one partition to another: outputs of handlers, and letters that are requeued.

It is written into the outbox of its source in the script that acknowledges what it comes of. Any process may bring it
on, and several may at once: the target takes each entry once and in their order, by a cursor for each source. The
process that wrote an entry brings it on at once; what is left is seen by the next one that looks at the source.
"""

from __future__ import annotations

from shardq.drivers.redis.replies import NoMemory
from shardq.drivers.redis.rooms import HAND_OVER_PART, Room
from shardq.drivers.redis.server import Server
from shardq.errors import StorageUnavailable
from shardq.settings import StorageSettings


class Forwarding:
    """Brings on what is in the outboxes of one storage."""

    def __init__(self, server: Server, settings: StorageSettings) -> None:
        self._server = server
        self._settings = settings

    async def bring_on(self, source: int) -> None:
        """Bring on what is in the outbox of a partition, as far as its targets can be reached and have room."""
        after: int | None = None
        try:
            while True:
                reply = await self._server.run("outgoing", source, {"after": after}, patience_s=0.0)
                if not reply:
                    return
                target, numbers, entries = int(reply[0]), [int(number) for number in reply[1::2]], reply[2::2]
                if not await self._delivered(source, target, numbers, entries):
                    after = target
        except StorageUnavailable:
            return  # the source: what is there is brought on later

    async def _delivered(self, source: int, target: int, numbers: list[int], entries: list[bytes]) -> bool:
        """Whether the target has all of them now."""
        most = Room(self._settings.capacity_bytes, self._server.partitions).most(HAND_OVER_PART)
        told = {"source": source, "numbers": numbers, "most": most}
        try:
            again = 1
            while again:
                last, again = await self._server.run("incoming", target, told, *entries, patience_s=0.0)
        except (StorageUnavailable, NoMemory):
            return False
        if last >= numbers[0]:
            await self._server.run("arrived", source, {"target": target, "through": last}, patience_s=0.0)
        return bool(last >= numbers[-1])
