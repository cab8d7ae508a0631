"""Messages into a storage on a server: at once, at a time, or again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from shardq.blocking import here as blocking
from shardq.drivers.redis.connections.replies import NoMemory
from shardq.drivers.redis.connections.tries import PATIENCE_S
from shardq.drivers.redis.servers.layout import Layout
from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.records import bodies_of
from shardq.drivers.redis.verbs.rooms import CALL_AGAIN, NO_ROOM, RESERVE_PART, Room
from shardq.drivers.redis.verbs.sleeping import Look, Places, until
from shardq.errors import ShardqError, StorageMoved, StorageUnavailable
from shardq.model import Full, Part, When, check_parts, key_of, split_key
from shardq.scheduling.schedule import resolved_us
from shardq.settings import StorageSettings

#: Seconds until a server without memory is asked again that has to store the rest of a call.
_MEMORY_PAUSE_S = 0.05


class _Share:
    """What of a call goes to one partition."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.pipes, self.bodies = list[str](), list[bytes]()
        for pipe, messages in parts:
            its = bodies_of(messages)
            self.pipes += [pipe] * len(its)
            self.bodies += its

    @property
    def nbytes(self) -> int:
        return sum(len(message) for _, messages in self.parts for message in messages)


class Appending:
    """Stores the messages of calls."""

    def __init__(self, server: Server, settings: StorageSettings, forwarding: Forwarding) -> None:
        self._server = server
        self._settings = settings
        self._forwarding = forwarding

    async def append(
        self,
        parts: Sequence[Part],
        when: When | None,
        absent: bool,
        kept_part: int = RESERVE_PART,
        places: Places | None = None,
    ) -> int | None:
        """See `Storage.append`. One part in `kept_part` of the room is left free. `places`: where a sleeper lies that
        is told of new room.
        """
        layout = self._server.known or await self._server.layout()
        room = Room(self._settings.capacity_bytes, layout.partitions)
        check_parts(parts, room.limits.parts)
        room.check_names(parts)
        shares = _shares_of(layout, parts)
        if not shares:
            return 0
        name, options = "append", dict[str, Any]()
        if when:
            when = await self.resolved(when)
            name, options["due_us"] = "repeat" if when.schedule else "defer", when.due_us
            if when.schedule:
                options["schedule"] = when.schedule
                # The storage would take what comes only once, and never have room for it beside.
                for share in shares.values():
                    room.check_fits(share.parts, again=True)
        step = _Step(self._server, name, options, absent, places or Places(()), self._forwarding)
        if len(shares) > 1:
            return await step.stored_in_all(shares, room, kept_part)
        [(partition, share)] = shares.items()
        taken = await step.stored(partition, share, room.most(kept_part))
        if taken == NO_ROOM and layout.partitions > 1:
            await self._forwarding.bring_on(partition, asks=True)
            taken = await step.stored(partition, share, room.most(kept_part))
        if taken == NO_ROOM:
            room.check_fits(parts)
            return None
        return taken

    async def append_when_room(
        self, parts: Sequence[Part], timeout_s: float | None, when: When | None, absent: bool
    ) -> int | None:
        """See `Storage.append_when_room`."""
        when = when and await self.resolved(when)
        shares, counted = _shares_of(await self._server.layout(), parts), False

        async def look(places: Places) -> int | None:
            nonlocal counted
            taken = await self.append(parts, when, absent, RESERVE_PART, places)
            if taken is None and not counted:
                counted = True
                await self.found_full(parts, "waited")
            return taken

        found: int | None = await until(
            self._server, look, {"room": True}, timeout_s, self._settings.safety_net, tuple(shares) or (0,)
        )
        return found

    async def found_full(self, parts: Sequence[Part], how: Full) -> None:
        """Count that a call with these messages, which are for one handler, found no room, unless the server does not
        answer.
        """
        key = key_of(parts[0][0])
        with suppress(ShardqError):
            await self._server.run_on(key, "full", {"handler": split_key(key)[0], "how": how})

    async def resolved(self, when: When) -> When:
        """The same as an instant of the server's clock. Raises `ScheduleError`."""
        return When(resolved_us(when, await self._server.now_us()), when.schedule)


class _Step:
    """One call, by the script that stores it."""

    def __init__(
        self,
        server: Server,
        name: str,
        options: dict[str, Any],
        absent: bool,
        places: Places,
        forwarding: Forwarding,
    ) -> None:
        self._server, self._name, self._options = server, name, options
        self._absent, self._places, self._forwarding = absent, places, forwarding

    async def stored(self, partition: int, share: _Share, most: int | None) -> int:
        """How many messages the partition took, or `NO_ROOM`."""
        arguments = self._told(share, most)
        if self._places.partitions:
            arguments |= self._places.lie_as(partition)
        taken, looks_in_us = CALL_AGAIN, None
        try:
            while taken == CALL_AGAIN:
                said = await self._server.run(self._name, partition, arguments, *share.bodies, once=True)
                taken, looks_in_us = said if isinstance(said, list) else (said, None)
        except NoMemory:
            await self._lie_down(partition, arguments)
            taken = NO_ROOM
        if self._places.partitions:
            found = None if taken == NO_ROOM else taken
            self._places.note(partition, Look(found, sleeps="sleeper" in arguments, looks_in_us=looks_in_us))
        return taken

    async def stored_in_all(self, shares: dict[int, _Share], room: Room, kept_part: int) -> int | None:
        """How many messages all partitions took; None: one of them has no room. What one has taken stays, so the others
        have to take theirs. Raises `StorageMoved` where they do so in another storage.
        """
        most = room.most(kept_part)
        if most is not None and not await self._have_room(shares, room, most):
            for place in shares:
                await self._forwarding.bring_on(place, asks=True)
            if not await self._have_room(shares, room, most):
                return None
        left, taken, deadline = dict(shares), 0, time.monotonic() + PATIENCE_S
        while left:
            calls = {place: (self._told(share, None), share.bodies) for place, share in left.items()}
            replies = await self._server.run_each(self._name, calls, once=True)
            full = [place for place, reply in replies.items() if isinstance(reply, NoMemory)]
            if len(full) == len(shares):
                for place in full:
                    await self._lie_down(place, self._places.lie_as(place))
                    self._places.note(place, Look(None, sleeps=True))
                return None
            moved = next((reply for reply in replies.values() if isinstance(reply, StorageMoved)), None)
            others = [NO_ROOM if isinstance(said, NoMemory | StorageMoved) else said for said in replies.values()]
            numbers = dict(zip(replies, answers(others), strict=True))
            taken += sum(number for number in numbers.values() if number > 0)
            left = {place: left[place] for place, number in numbers.items() if number in (NO_ROOM, CALL_AGAIN)}
            if moved:
                stored = [pipe for place, share in shares.items() if place not in left for pipe in share.pipes]
                raise StorageMoved(moved.to, stored)
            if len(left) == len(shares) and NO_ROOM in numbers.values():  # content of another storage comes
                if not await self._have_room(shares, room, most):
                    return None
            elif NO_ROOM in numbers.values():
                await self._pause(deadline)
        return taken

    async def _have_room(self, shares: dict[int, _Share], room: Room, most: int | None) -> bool:
        asked = {
            place: ({"nbytes": share.nbytes, "most": most} | self._places.lie_as(place), ())
            for place, share in shares.items()
        }
        replies = await self._server.run_each("room", asked)
        for place, reply in replies.items():
            if isinstance(reply, NoMemory):
                await self._lie_down(place, asked[place][0])
        full = [place for place, reply in replies.items() if isinstance(reply, NoMemory) or reply == 0]
        answers(reply for reply in replies.values() if not isinstance(reply, NoMemory))
        for place in shares:
            self._places.note(place, Look(None if place in full else True, sleeps="sleeper" in asked[place][0]))
        for place in full:
            room.check_fits(shares[place].parts)
        return not full

    async def _lie_down(self, partition: int, arguments: dict[str, Any]) -> None:
        told: dict[str, Any] = {name: arguments[name] for name in ("sleeper", "woken") if name in arguments}
        if told:
            await self._server.run("await", partition, told)

    async def _pause(self, deadline: float) -> None:
        if time.monotonic() >= deadline:
            raise StorageUnavailable(
                "a part of the call is stored, and a partition has no room for the rest: give its server more memory, "
                "or finish the move by which content comes; or register what goes to one thread in one call"
            )
        if blocking.blocking:
            _block()
        else:
            await asyncio.sleep(_MEMORY_PAUSE_S)

    def _told(self, share: _Share, most: int | None) -> dict[str, Any]:
        arguments = {"pipes": share.pipes, "most": most} | self._options
        if self._absent:
            arguments["absent"] = [True] * len(share.pipes)
        return arguments


def _block() -> None:
    time.sleep(_MEMORY_PAUSE_S)


def _shares_of(layout: Layout, parts: Sequence[Part]) -> dict[int, _Share]:
    """What goes to each partition."""
    parts = [part for part in parts if part[1]]
    if layout.partitions == 1:
        return {0: _Share(parts)} if parts else {}
    theirs = dict[int, list[Part]]()
    for part in parts:
        theirs.setdefault(layout.partition_of(key_of(part[0])), []).append(part)
    return {place: _Share(its) for place, its in theirs.items()}
