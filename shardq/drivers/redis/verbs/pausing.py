"""Pauses of handlers, as verbs of a storage on a server. Partition 0 decides, and the others follow."""

from __future__ import annotations

import time
from typing import Any

from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.presence import HOME
from shardq.model import MOST_PAUSES, Pause, When, check_pause, too_many_pauses
from shardq.scheduling.schedule import resolved_us


class Pausing:
    """`Pausable` over a server."""

    server: Server

    async def pause(self, handler: str, until: When | None = None, reason: str = "") -> None:
        check_pause(handler, until, reason)
        told: dict[str, Any] = {"handler": handler, "reason": reason, "most": MOST_PAUSES}
        if until:
            resolved_us(until, time.time_ns() // 1000)  # the server says when, if it can be
            told |= {"until_us": until.due_us} if until.due_us is not None else {"after_us": until.after_us or 0}
        if (await self._decided(told)).get("many"):
            raise too_many_pauses(handler)

    async def resume(self, handler: str) -> bool:
        return bool((await self._decided({"handler": handler, "resumes": True}))["was"])

    async def pauses(self) -> list[Pause]:
        found = decoded(await self.server.run("pauses", HOME, {})) or {}
        return [Pause(name, its["since_us"], its.get("until_us"), its["reason"]) for name, its in sorted(found.items())]

    async def _decided(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What partition 0 says of a change, once all have it."""
        told: dict[str, Any] = decoded(await self.server.run("pause", HOME, arguments, once=True))
        others = [place for place in (await self.server.layout()).everywhere if place != HOME]
        if others:
            follows = {"follows": {"number": told["number"], "pauses": told["pauses"]}}
            answers((await self.server.run_each("pause", dict.fromkeys(others, (follows, ())))).values())
        return told
