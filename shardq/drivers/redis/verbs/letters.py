"""Dead letters on a server: S20 to S22 of the contract."""

from __future__ import annotations

import logging

from shardq.drivers.redis.connections.replies import NoMemory
from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.hands import tube_name
from shardq.drivers.redis.verbs.records import bodies_of
from shardq.drivers.redis.verbs.rooms import CALL_AGAIN, NO_ROOM, Room
from shardq.model import Batch, Hand, Reason, key_of
from shardq.pages import Page
from shardq.settings import StorageSettings

log = logging.getLogger("shardq.storage")

#: How many letters a script drops, so that it is short.
_DROPPED = 64


class Letters:
    """The graves of one storage."""

    def __init__(self, server: Server, settings: StorageSettings, forwarding: Forwarding) -> None:
        self._server = server
        self._settings = settings
        self._forwarding = forwarding

    async def bury(self, hand: Hand, sequence: int, grave: str, letter: bytes, reason: Reason | None) -> bool:
        layout = await self._server.layout()
        room = Room(self._settings.capacity_bytes, layout.partitions)
        arguments = {
            "key": hand.key,
            "token": hand.token,
            "name": tube_name(hand.batch),
            "sequence": sequence,
            "grave": grave,
            "most_letters": self._settings.dead_letters,
            "capacity": room.capacity_bytes,
            "most_bytes": room.grave_bytes,
            "partition": layout.partition_of(hand.key),
            "partitions": layout.partitions,
        }
        if reason is not None:
            arguments["reason"] = reason
        done, evicted = CALL_AGAIN, 0
        while done == CALL_AGAIN:
            done, some = await self._server.run_on(hand.key, "bury", arguments, letter, once=True)
            evicted += some
        if evicted > 0:
            log.warning("dead letters dropped to make room", extra={"grave": grave, "letters": evicted})
        return bool(done != NO_ROOM)

    async def graves(self, after: str | None, limit: int) -> Page[str]:
        limit = max(1, limit)
        replies = await self._server.run_everywhere("graves", {"after": after, "limit": limit})
        found = sorted({grave.decode() for reply in replies for grave in reply})[:limit]
        return Page(found, found[-1] if len(found) >= limit else None)

    async def requeue(self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool) -> bool | None:
        layout = await self._server.layout()
        most = Room(self._settings.capacity_bytes, layout.partitions).most()
        source, target = sequence % layout.partitions, layout.partition_of(key_of(pipe))
        arguments = {"grave": grave, "sequence": sequence, "pipe": pipe, "front": front, "most": most}
        if target != source:
            arguments["target"] = target
        try:
            done = await self._server.run("requeue", source, arguments, bodies_of([message])[0], once=True)
        except NoMemory:
            return False
        if done == 1 and target != source:
            await self._forwarding.bring_on(source)
        return None if done == -1 else bool(done)

    async def drop(self, grave: str, sequences: tuple[int, ...]) -> int:
        layout, dropped = await self._server.layout(), 0
        for place in layout.everywhere:
            its = [number for number in sequences if number % layout.partitions == place]
            for start in range(0, len(its), _DROPPED):
                arguments = {"grave": grave, "sequences": its[start : start + _DROPPED]}
                dropped += await self._server.run("drop", place, arguments, once=True)
        return dropped

    async def range(self, grave: str, limit: int, after: int | None) -> Batch:
        replies = await self._server.run_everywhere("letters", {"grave": grave, "limit": limit, "after": after})
        pairs = sorted((int(n), its) for reply in replies for n, its in zip(reply[::2], reply[1::2], strict=True))[
            :limit
        ]
        return Batch.of([letter for _, letter in pairs], sequences=[number for number, _ in pairs])
