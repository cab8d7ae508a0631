"""Actions of operators, as verbs of a storage on a server. Partition 0 has them."""

from __future__ import annotations

from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.presence import HOME
from shardq.encoding.actions import decode_action, encode_action
from shardq.model import MOST_ACTIONS, Action


class Recording:
    """`Auditable` over a server."""

    server: Server

    async def record(self, action: Action) -> None:
        await self.server.run("record", HOME, {"most": MOST_ACTIONS}, encode_action(action), once=True)

    async def actions(self, limit: int = MOST_ACTIONS) -> list[Action]:
        found = await self.server.run("actions", HOME, {"most": MOST_ACTIONS, "limit": limit})
        return [action_said(its) for its in found if its]


def action_said(stored: bytes) -> Action:
    """An action as it stands on the server. Raises `ValueError` for what is none."""
    number, at_us, told = stored.split(b" ", 2)
    return decode_action(int(number), int(at_us), told)
