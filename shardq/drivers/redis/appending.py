"""Messages into a storage on a server: at once, at a time, or again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardq.drivers.redis.records import bodies_of
from shardq.drivers.redis.replies import NoMemory
from shardq.drivers.redis.rooms import CALL_AGAIN, NO_ROOM, Room
from shardq.drivers.redis.server import Server
from shardq.model import Part, When, check_parts, key_of
from shardq.scheduling.schedule import resolved_us
from shardq.settings import StorageSettings


class Appending:
    """Stores the messages of calls."""

    def __init__(self, server: Server, settings: StorageSettings) -> None:
        self._server = server
        self._settings = settings

    async def append(
        self, parts: Sequence[Part], when: When | None, absent: bool, kept_part: int, sleeper: str | None = None
    ) -> int | None:
        """See `Storage.append`. One part in `kept_part` of the room is left free; `sleeper` is told of new room."""
        room = Room(self._settings.capacity_bytes)
        check_parts(parts, room.limits.parts)
        room.check_names(parts)
        pipes, bodies = list[str](), list[bytes]()
        for pipe, messages in parts:
            if messages:
                its = bodies_of(messages)
                pipes += [pipe] * len(its)
                bodies += its
        if not pipes:
            return 0
        arguments: dict[str, Any] = {"pipes": pipes, "most": room.most(kept_part)}
        if absent:
            arguments["absent"] = [True] * len(pipes)
        if sleeper:
            arguments["sleeper"] = sleeper
        name = "append"
        if when:
            when = await self.resolved(when)
            name, arguments["due_us"] = "repeat" if when.schedule else "defer", when.due_us
            if when.schedule:
                arguments["schedule"] = when.schedule
        taken = await self._taken(name, arguments, bodies)
        if taken == NO_ROOM:
            room.check_fits(parts, again=bool(when and when.schedule))
            return None
        return taken

    async def resolved(self, when: When) -> When:
        """The same as an instant of the server's clock. Raises `ScheduleError`."""
        return When(resolved_us(when, await self._server.now_us()), when.schedule)

    async def _taken(self, name: str, arguments: dict[str, Any], bodies: Sequence[bytes]) -> int:
        """How many messages a script took that stores some."""
        try:
            taken: int = CALL_AGAIN
            while taken == CALL_AGAIN:
                taken = await self._server.run_on(key_of(arguments["pipes"][0]), name, arguments, *bodies, once=True)
            return taken
        except NoMemory:
            if "sleeper" in arguments:
                await self._server.run("await", 0, {"sleeper": arguments["sleeper"]})
            return NO_ROOM
