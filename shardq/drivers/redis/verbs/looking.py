"""Which thread is next, and what is due: looks at one partition, or at several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.hands import decoded
from shardq.drivers.redis.verbs.rooms import Room
from shardq.drivers.redis.verbs.sleeping import Look, Places, until
from shardq.errors import StorageUnavailable
from shardq.protocols import Served
from shardq.scheduling.schedule import next_us
from shardq.settings import StorageSettings


class Due(NamedTuple):
    """When the next request of a partition is due (None: no request waits) and the time, by the clock of its server."""

    due_us: int | None
    now_us: int


class Looking:
    """The looks of one process."""

    def __init__(self, server: Server, settings: StorageSettings, forwarding: Forwarding) -> None:
        self._server = server
        self._settings = settings
        self._forwarding = forwarding

    async def wait(self, served: Served, timeout_s: float | None, bound: str | None) -> str | None:
        """See `Storage.wait`."""
        layout = await self._server.layout()
        own = layout.partition_of(bound) if bound else None

        async def look(places: Places) -> str | None:
            todo, places.todo = places.todo, []
            if len(todo) == 1:
                more = {"fresh": len(places.partitions) > 1} | ({"bound": bound} if todo[0] == own else {})
                told = await self._told(todo[0], served, more, places)
                if "changed" not in told:
                    return told.get("key")
                todo = list(places.partitions)
            while True:
                peeked = await self.peeked(todo, served, places, {own: {"bound": bound}} if bound else {})
                ready = sorted((told.get("turn", ""), place) for place, told in peeked.items() if "key" in told)
                if not ready or not ready[0][0]:
                    return bound if ready else None
                turn, place = ready[0]
                told = await self._told(place, served, {"expected": turn}, places)
                if "key" in told:
                    key: str = told["key"]
                    return key  # else another one was faster

        every = layout.everywhere
        found: str | None = await until(self._server, look, {}, timeout_s, self._settings.safety_net, every)
        return found

    async def peeked(
        self,
        partitions: Sequence[int],
        served: Served,
        places: Places,
        more: Mapping[int | None, dict[str, Any]] | None = None,
    ) -> dict[int, dict[str, Any]]:
        """What a look says of each partition whose server can be reached. A thread that is found keeps its turn."""
        left = [place for place in partitions if await self._server.reaches(place)]
        found, away = dict[int, dict[str, Any]](), set[int]()
        while left:
            calls = {
                place: (
                    {"served": _told(served), "peek": True} | (more or {}).get(place, {}) | places.lie_as(place),
                    (),
                )
                for place in left
            }
            replies = await self._server.run_each("look", calls, patience_s=0.0)
            left = []
            for place, reply in replies.items():
                if isinstance(reply, StorageUnavailable):
                    continue
                [reply] = answers([reply])
                told = found[place] = decoded(reply)
                places.note(place, look_said(told, told.get("key")))
                if "key" not in told and told["schedules"]:
                    left.append(place)
                if told["away"]:
                    away.add(place)
            for place in left:
                await self.promote_at(place)
        for place in away:
            await self._forwarding.bring_on(place)
        return found

    async def promote(self) -> int | None:
        """See `Storage.promote`."""
        found = await self._promoted_everywhere({}, ())
        return min((its.due_us for its in found if its.due_us is not None), default=None)

    async def promote_until(self, names: Mapping[int, str], events: Sequence[str]) -> int | None:
        """As `promote`, with a sleeper that lies down in the same step, until one of these events. `names`: what it is
        called on the partitions. Returns in how many microseconds the next request is due, by the clock of its server.
        """
        found = await self._promoted_everywhere(names, events)
        return min((its.due_us - its.now_us for its in found if its.due_us is not None), default=None)

    async def promote_at(self, partition: int, arguments: dict[str, Any] | None = None) -> Due:
        """The same on one partition."""
        arguments = arguments or {}
        return await self._promoted(partition, await self._server.run("promote", partition, arguments), arguments)

    async def _promoted_everywhere(self, names: Mapping[int, str], events: Sequence[str]) -> list[Due]:
        layout = await self._server.layout()
        told = {
            place: {"sleeper": names[place], "events": events} if place in names else {} for place in layout.everywhere
        }
        if layout.partitions == 1:
            return [await self.promote_at(0, told[0])]
        replies = await self._server.run_each("promote", {place: (its, ()) for place, its in told.items()})
        return [
            await self._promoted(place, reply, told[place])
            for place, reply in zip(replies, answers(replies.values()), strict=True)
        ]

    async def _promoted(self, partition: int, reply: bytes, arguments: dict[str, Any]) -> Due:
        while True:
            due_us, now_us, schedules, away = decoded(reply)
            if away:
                await self._forwarding.bring_on(partition)
            if schedules:
                times = [[number, due, next_us(schedule, due, now_us) or False] for number, due, schedule in schedules]
                most = Room(self._settings.capacity_bytes, await self._parts()).most()
                await self._server.run("come", partition, {"times": times, "most": most})
            elif due_us is False or due_us > now_us:
                return Due(due_us or None, now_us)
            reply = await self._server.run("promote", partition, arguments)

    async def _told(self, place: int, served: Served, more: dict[str, Any], places: Places) -> dict[str, Any]:
        """What a look says at one partition. Where there are others, nothing of a server that cannot be reached."""
        alone = (await self._parts()) == 1
        while True:
            arguments = {"served": _told(served)} | more | places.lie_as(place)
            try:
                reply = await self._server.run("look", place, arguments, patience_s=None if alone else 0.0)
            except StorageUnavailable:
                return {}
            told: dict[str, Any] = decoded(reply)
            places.note(place, look_said(told, told.get("key")))
            if told["away"]:
                await self._forwarding.bring_on(place)
            if "key" in told or "changed" in told or not told["schedules"]:
                return told
            await self.promote_at(place)

    async def _parts(self) -> int:
        return (await self._server.layout()).partitions


def look_said(told: dict[str, Any], found: Any) -> Look:
    """What a script said of a look that found this."""
    return Look(found, bool(told.get("sleeps")), told.get("for_us"), told.get("looks_in_us"))


def _told(served: Iterable[str] | None) -> Any:
    return False if served is None else list(served)
