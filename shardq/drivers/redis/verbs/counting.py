"""How many messages there are on all partitions, and whether there are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.sleeping import Look, Places, until
from shardq.model import Counts
from shardq.settings import StorageSettings


class Counting:
    """`Storage.backlog` and `wait_for_quiet` over a server."""

    server: Server
    settings: StorageSettings

    async def wait_for_quiet(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        async def look(places: Places) -> bool | None:
            # Lie down in all: one that has become quiet since may get messages of another.
            names = {place: places.lie_as(place) | {"deferred": deferred} for place in places.partitions}
            seen = await self._counts(names)
            for place in names:
                places.note(place, Look(None, sleeps=True))
            while all(_is_quiet(counts, deferred) for counts in seen):
                # Between two counts of all partitions that are the same nothing came anywhere.
                before, seen = seen, await self._counts({}) if len(seen) > 1 else seen
                if seen == before:
                    return True
            return None

        every = (await self.server.layout()).everywhere
        return bool(await until(self.server, look, {}, timeout_s, self.settings.safety_net, every))

    async def is_quiet(self, *, deferred: bool = False) -> bool:
        """Whether there is an instant at which `queued` is 0."""
        seen = await self._counts({})
        if not all(_is_quiet(counts, deferred) for counts in seen):
            return False
        return len(seen) == 1 or seen == await self._counts({})

    async def backlog(self) -> Counts:
        return Counts(*map(sum, zip(*await self._counts({}), strict=True)))

    async def _counts(self, arguments: Mapping[int, dict[str, Any]]) -> list[Counts]:
        """The figures of each partition, of one instant each."""
        every = (await self.server.layout()).everywhere
        calls = {place: (arguments.get(place, {}), ()) for place in every}
        return [Counts(*said) for said in answers((await self.server.run_each("backlog", calls)).values())]


def _is_quiet(counts: Counts, deferred: bool) -> bool:
    return counts.queued == 0 and not (deferred and counts.deferred)
