"""Messages that are taken out, wherever they are: in a tube, or waiting for their time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardq.drivers.redis.servers.server import Server
from shardq.model import key_of
from shardq.model.trace import distinct

#: How many messages a script looks for at most that wait for their time, and in a tube.
_AT_ONCE, _IN_TUBE_AT_ONCE = 256, 4096


class Cancelling:
    """`Storage.remove` and `unschedule` over a server."""

    server: Server

    async def remove(self, pipe: str, *messages: bytes) -> int:
        if not messages:
            return 0
        key, _, priority = pipe.rpartition("/")
        unwanted = tuple(distinct(messages))
        removed = await self._unwait({"pipe": pipe}, unwanted)
        for start in range(0, len(unwanted), _IN_TUBE_AT_ONCE):
            for name in (f"f{priority}", priority):
                removed += await self._take_out(key, name, unwanted[start : start + _IN_TUBE_AT_ONCE])
        return removed

    async def _take_out(self, key: str, name: str, messages: Sequence[bytes]) -> int:
        """So many of these messages were in a tube, and left it."""
        removed = 0
        at: int | None = None
        below: int | None = None
        while at != 0:
            arguments = {"key": key, "name": name, "from": at, "below": below}
            some, at, below = await self.server.run_on(key, "remove", arguments, *messages, once=True)
            removed += some
        return removed

    async def unschedule(self, pipe: str, *messages: bytes) -> int:
        return await self._unwait({"pipe": pipe, "schedules": True}, tuple(distinct(messages)))

    async def _unwait(self, arguments: dict[str, Any], messages: Sequence[bytes]) -> int:
        """So many of these messages waited, and wait no more."""
        key, ended = key_of(arguments["pipe"]), 0
        for start in range(0, len(messages), _AT_ONCE):
            some, again = messages[start : start + _AT_ONCE], 1
            while again:
                gone, again = await self.server.run_on(key, "unwait", arguments, *some, once=True)
                ended += gone
        return ended
