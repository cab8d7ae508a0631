"""The storage of many hosts, on one server."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shardq.drivers.redis.address import Address, of_client
from shardq.drivers.redis.appending import Appending
from shardq.drivers.redis.hands import (
    batch_said,
    decoded,
    ending_told,
    terms_told,
    tube_name,
)
from shardq.drivers.redis.letters import Letters
from shardq.drivers.redis.outputs import Sending, sending
from shardq.drivers.redis.records import batch_of, messages_of
from shardq.drivers.redis.rooms import FOLLOW_UP_PART, RESERVE_PART, Room
from shardq.drivers.redis.server import Server
from shardq.drivers.redis.sleeping import Look, until
from shardq.drivers.redis.turning import Turning, look_said
from shardq.model import (
    EMPTY,
    Batch,
    Counts,
    Ending,
    Failed,
    Hand,
    Limits,
    Part,
    Scheduled,
    Terms,
    When,
    dead_pipe,
    key_of,
    split_key,
)
from shardq.outputs import Output
from shardq.pages import PAGE_ITEMS, Page
from shardq.protocols import Served
from shardq.scheduling.schedule import next_us
from shardq.settings import StorageSettings

log = logging.getLogger("shardq.storage")


class RedisStorage:
    """`Storage` on a Redis or Valkey server, from version 6.2 on.

    `redis`: a client of `redis.asyncio`, which is only asked where and how it connects: the storage has connections of
    its own, one for each event loop. `settings.prefix` begins all its keys. `settings.capacity_bytes` bounds the sum of
    the message lengths; None, the default, means no bound but the memory of the server.
    """

    importable_only = True

    def __init__(self, redis: Any, settings: StorageSettings | None = None, *, partitions: int = 1) -> None:
        self.settings = settings or StorageSettings()
        address = redis if isinstance(redis, Address) else of_client(redis)
        self.server = Server(address, self.settings.prefix, partitions)
        self.turning = Turning(self.server, self.promote)
        self._appending = Appending(self.server, self.settings)
        self._letters = Letters(self.server, self.settings)

    @property
    def limits(self) -> Limits:
        return self._room.limits

    async def append(
        self, parts: Sequence[Part], *, when: When | None = None, absent: bool = False, follow_up: bool = False
    ) -> int | None:
        return await self._appending.append(parts, when, absent, FOLLOW_UP_PART if follow_up else RESERVE_PART)

    async def contains(self, pipe: str, message: bytes) -> bool:
        key, _, priority = pipe.rpartition("/")
        for name in (f"f{priority}", priority):
            at: int | None = None
            while at != 0:
                at = await self.server.run_on(key, "contains", {"key": key, "name": name, "from": at}, message)
                if at == -1:
                    return True
        return False

    async def length(self, pipe: str) -> int:
        key, _, priority = pipe.rpartition("/")
        number: int = await self.server.run_on(key, "length", {"key": key, "names": [f"f{priority}", priority]})
        return number

    async def pipes(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        arguments = {"after": after, "limit": max(1, limit)}
        threads = await self.server.run("pipes", 0, arguments)
        found = [pipe.decode() for _, *its in threads for pipe in sorted(its)]
        return Page(found, threads[-1][0].decode() if len(found) >= max(1, limit) else None)

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        key, _, priority = pipe.rpartition("/")
        if limit <= 0:
            return EMPTY
        if pipe == dead_pipe(split_key(key)[0]):
            return await self._letters.range(pipe, limit, after)
        names = [f"f{priority}", priority]
        return batch_of(
            await self.server.run_on(key, "range", {"key": key, "names": names, "limit": limit, "after": after})
        )

    async def take(self, key: str, token: int, terms: Terms) -> Batch:
        """See `Storage.take`. A batch that takes longer than `terms.timeout_s` is not ended. Raises `FencedError`."""
        reply = await self.server.run_on(key, "take", {"key": key, "token": token, "terms": terms_told(terms)})
        batch = batch_said(decoded(reply[0]), reply[1:])
        self.turning.begin_deadline(terms.timeout_s if batch.count else None)
        return batch

    async def pop(self, hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        arguments: dict[str, Any] = {"key": hand.key, "token": hand.token}
        if hand.batch.count and count:
            arguments |= {"name": tube_name(hand.batch), "through": hand.batch.through_first(count)}
        its = await self._sending(hand, count, outputs) if count else None
        if its:
            step = partial(
                self.server.run_on, hand.key, "pop with outputs", arguments | its.told, *its.bodies, once=True
            )
            if await its.stored(step, int) is None:
                return False
        else:
            await self.server.run_on(hand.key, "pop", arguments)
        if count == hand.batch.count:
            self.turning.begin_deadline(None)
        return True

    async def turn(
        self,
        hand: Hand | None,
        served: Served,
        terms: Mapping[str, Terms],
        *,
        stay: bool = True,
        outputs: Sequence[Output] = (),
    ) -> Hand | None:
        its = await self._sending(hand, hand.batch.count, outputs) if hand else None
        seen = await self.turning.look(hand, served, terms, stay=stay, sending=its)
        found: Hand | None = seen.found
        return found

    async def rest(
        self,
        hand: Hand | None,
        served: Served,
        terms: Mapping[str, Terms],
        timeout_s: float | None = None,
        *,
        stay: bool = True,
    ) -> Hand | None:
        async def look(sleeper: str | None, woken: str | None) -> Look:
            nonlocal hand
            seen = await self.turning.look(hand, served, terms, sleeper, woken, stay=stay)
            former, hand = hand, seen.found
            leads_on = hand is not None and hand.leads_on_from(former)
            return seen if leads_on else seen._replace(found=None)

        look_within_s = self.turning.presence.look_within_s(self.turning.lease_s)
        return await until(self.server, look, {}, timeout_s, self.settings.safety_net, look_within_s) or hand

    async def fail(self, hand: Hand) -> Failed:
        arguments = {"key": hand.key, "token": hand.token, "name": tube_name(hand.batch)}
        attempts, first_us, last_us = decoded(await self.server.run_on(hand.key, "fail", arguments, once=True))
        return Failed(attempts, first_us, last_us, None)

    async def give_back(self, hand: Hand, at_most: int) -> None:
        arguments = {"key": hand.key, "token": hand.token, "name": tube_name(hand.batch), "at_most": at_most}
        await self.server.run_on(hand.key, "fail", arguments, once=True)

    async def bury(self, hand: Hand, sequence: int, grave: str, letter: bytes) -> bool:
        return await self._letters.bury(hand, sequence, grave, letter)

    async def graves(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        return await self._letters.graves(after, limit)

    async def requeue(
        self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool = False
    ) -> bool | None:
        return await self._letters.requeue(grave, sequence, pipe, message, front=front)

    async def drop(self, grave: str, *sequences: int) -> int:
        return await self._letters.drop(grave, sequences)

    async def remove(self, pipe: str, *messages: bytes) -> int:
        if not messages:
            return 0
        key, _, priority = pipe.rpartition("/")
        unwanted = tuple(dict.fromkeys(messages))
        removed: int = await self.server.run_on(key, "unwait", {"pipe": pipe}, *unwanted, once=True)
        for name in (f"f{priority}", priority):
            at: int | None = None
            below: int | None = None
            while at != 0:
                arguments = {"key": key, "name": name, "from": at, "below": below}
                some, at, below = await self.server.run_on(key, "remove", arguments, *unwanted)
                removed += some
        return removed

    async def wait(self, served: Served, timeout_s: float | None = None, bound: str | None = None) -> str | None:
        arguments = {"served": False if served is None else list(served), "bound": bound}

        async def look(sleeper: str | None, woken: str | None) -> Look:
            while True:
                told = decoded(
                    await self.server.run("look", 0, arguments | {"sleeper": sleeper, "woken": woken}, patience_s=None)
                )
                if "key" in told or not told["schedules"]:
                    return look_said(told, told.get("key"))
                await self.promote()

        found: str | None = await until(self.server, look, {}, timeout_s, self.settings.safety_net)
        return found

    async def append_when_room(
        self, parts: Sequence[Part], timeout_s: float | None = None, *, when: When | None = None, absent: bool = False
    ) -> int | None:
        when = when and await self._appending.resolved(when)

        async def look(sleeper: str | None, woken: str | None) -> Look:
            return Look(await self._appending.append(parts, when, absent, RESERVE_PART, sleeper or woken), sleeps=True)

        found: int | None = await until(self.server, look, {"room": True}, timeout_s, self.settings.safety_net)
        return found

    async def promote(self, *, sleeper: str | None = None, events: Sequence[str] = ()) -> int | None:
        """`sleeper`: who lies down in the same step, until one of these events."""
        arguments = {"sleeper": sleeper, "events": events} if sleeper else {}
        while True:
            due_us, now_us, schedules = decoded(await self.server.run("promote", 0, arguments))
            if schedules:
                times = [[number, due, next_us(schedule, due, now_us) or False] for number, due, schedule in schedules]
                await self.server.run("come", 0, {"times": times, "most": self._room.most()})
            elif due_us is False or due_us > now_us:
                return due_us or None

    async def scheduled(self, after: list[Any] | None = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        limit = max(1, limit)
        reply = await self.server.run("scheduled", 0, {"limit": limit, "after": after})
        places = [decoded(said) for said in reply[::2]]
        found = sorted(zip(places, reply[1::2], strict=True), key=lambda its: its[0][:2])[:limit]
        page = [Scheduled(pipe, messages_of(body)[0], schedule, due_us) for (due_us, _, pipe, schedule), body in found]
        return Page(page, found[-1][0][:2] if len(found) == limit else None)

    async def unschedule(self, pipe: str, *messages: bytes) -> int:
        arguments = {"pipe": pipe, "schedules": True}
        ended: int = await self.server.run_on(key_of(pipe), "unwait", arguments, *dict.fromkeys(messages), once=True)
        return ended

    async def wait_for_quiet(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        async def look(sleeper: str | None, woken: str | None) -> Look:
            counts = await self._counts({"sleeper": sleeper, "woken": woken, "deferred": deferred})
            quiet = counts.queued == 0 and not (deferred and counts.deferred)
            if quiet and sleeper:
                await self.server.post("leave", 0, {"sleeper": sleeper})
            return Look(True if quiet else None, sleeps=True)

        return bool(await until(self.server, look, {}, timeout_s, self.settings.safety_net))

    async def backlog(self) -> Counts:
        return await self._counts({})

    async def close(self) -> None:
        await self.turning.presence.end()
        self.server.close()

    async def claim(self, key: str, lease_s: float | None = None) -> int:
        """`lease_s`: how long the claim lives; None: as long as those of a turn."""
        lease_us = round((self.turning.lease_s if lease_s is None else lease_s) * 1e6)
        orphan = self.turning.release_orphan(lambda token: (key, token))
        token: int = await self.server.run_on(
            key, "claim", {"key": key, "lease_us": lease_us, "owner": self.turning.owner}, once=True, orphan=orphan
        )
        return token

    async def claimed(self, key: str) -> bool:
        return bool(await self.server.run_on(key, "claimed", {"key": key}))

    async def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        self.turning.begin_deadline(None)
        arguments = {"key": key, "token": token, "pause_us": round(max(0.0, pause_s) * 1e6)}
        return bool(await self.server.run_on(key, "unclaim", arguments, once=True))

    async def lease(self, *claims: tuple[str, int, float | None]) -> list[bool]:
        """Let claims end so many seconds from now (None: as they are). Says for each whether its token is current."""
        told = [(key, token, False if seconds is None else round(seconds * 1e6)) for key, token, seconds in claims]
        return [bool(held) for held in await self.server.run("lease", 0, {"claims": told})]

    async def of_owner(
        self,
        *owners: str,
        lease_s: float | None = None,
        excused: bool = False,
        ending: Ending | None = None,
        family: dict[str, Any] | None = None,
    ) -> list[tuple[int, int]]:
        """What a supervisor says of the claims of its workers: they live on for so long; their end is planned; or their
        holder is dead, and ended like this. Says how many claims each has, and how many messages in hand. `family`:
        what it says of itself, see `presence`.
        """
        arguments: dict[str, Any] = {"owners": owners}
        if family:
            arguments["family"] = family
        if lease_s is not None:
            arguments["lease_us"] = round(lease_s * 1e6)
        elif excused:
            arguments["excused"] = True
        else:
            arguments["ending"] = ending_told(ending)
        return [(claims, in_hand) for claims, in_hand in await self.server.run("owned", 0, arguments)]

    @property
    def _room(self) -> Room:
        return Room(self.settings.capacity_bytes)

    async def _sending(self, hand: Hand, acknowledged: int, outputs: Sequence[Output]) -> Sending | None:
        """The outputs of so many requests in the hand. None: there are none, or nothing leaves with which they could
        come.
        """
        if not outputs or not hand.batch.count:
            return None
        return await sending(self.server, self.settings, hand.key, outputs, acknowledged)

    async def _counts(self, arguments: dict[str, Any]) -> Counts:
        return Counts(*await self.server.run("backlog", 0, arguments))
