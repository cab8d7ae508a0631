"""The storage of many hosts, on one server."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from shardq.drivers.redis.address import Address, of_client
from shardq.drivers.redis.hands import (
    batch_said,
    decoded,
    ending_told,
    hand_said,
    hand_told,
    terms_told,
    tube_name,
)
from shardq.drivers.redis.records import batch_of, bodies_of, messages_of
from shardq.drivers.redis.replies import NoMemory
from shardq.drivers.redis.rooms import FOLLOW_UP_PART, RESERVE_PART, Room
from shardq.drivers.redis.server import Server
from shardq.drivers.redis.sleeping import Look, until
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
    check_parts,
    dead_pipe,
    key_of,
    split_key,
)
from shardq.pages import PAGE_ITEMS, Page
from shardq.protocols import Served
from shardq.scheduling.schedule import next_us, resolved_us
from shardq.settings import StorageSettings

log = logging.getLogger("shardq.storage")

#: How long a claim lives where nothing says.
LEASE_S = 30.0
_encode = msgspec.msgpack.Encoder().encode
#: What scripts return instead of a count.
_NO_ROOM, _CALL_AGAIN = -1, -2


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
        self.lease_s = LEASE_S
        """How long the claims of `turn` and `rest` live."""
        self.note_deadline: Callable[[float | None], None] | None = None
        """Told how long a batch that was handed out may take, and of its end (None), in a worker of a supervisor."""
        self._has_deadline = False
        self.turned_at = time.monotonic()
        """When the last turn was sent that may have made a claim."""
        self._served_told: tuple[Served, Mapping[str, Terms], bytes] | None = None

    @staticmethod
    def owner_of(pid: int) -> str:
        """Who holds the claims of a process of this host."""
        return f"{socket.gethostname()}:{pid}"

    @property
    def owner(self) -> str:
        """Who holds the claims made here."""
        return self.owner_of(os.getpid())

    @property
    def limits(self) -> Limits:
        return self._room.limits

    async def append(
        self, parts: Sequence[Part], *, when: When | None = None, absent: bool = False, follow_up: bool = False
    ) -> int | None:
        return await self._append(parts, when, absent, FOLLOW_UP_PART if follow_up else RESERVE_PART)

    async def contains(self, pipe: str, message: bytes) -> bool:
        key, _, priority = pipe.rpartition("/")
        for name in (f"f{priority}", priority):
            at: int | None = None
            while at != 0:
                at = await self._run("contains", key, {"key": key, "name": name, "from": at}, message)
                if at == -1:
                    return True
        return False

    async def length(self, pipe: str) -> int:
        key, _, priority = pipe.rpartition("/")
        number: int = await self._run("length", key, {"key": key, "names": [f"f{priority}", priority]})
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
            return await self._letters(pipe, limit, after)
        names = [f"f{priority}", priority]
        return batch_of(await self._run("range", key, {"key": key, "names": names, "limit": limit, "after": after}))

    async def take(self, key: str, token: int, terms: Terms) -> Batch:
        """See `Storage.take`. A batch that takes longer than `terms.timeout_s` is not ended. Raises `FencedError`."""
        reply = await self._run("take", key, {"key": key, "token": token, "terms": terms_told(terms)})
        batch = batch_said(decoded(reply[0]), reply[1:])
        self._begin_deadline(terms.timeout_s if batch.count else None)
        return batch

    async def pop(self, hand: Hand, count: int) -> None:
        arguments: dict[str, Any] = {"key": hand.key, "token": hand.token}
        if hand.batch.count and count:
            arguments |= {"name": tube_name(hand.batch), "through": hand.batch.through_first(count)}
        await self._run("pop", hand.key, arguments)
        if count == hand.batch.count:
            self._begin_deadline(None)

    async def turn(
        self, hand: Hand | None, served: Served, terms: Mapping[str, Terms], *, stay: bool = True
    ) -> Hand | None:
        seen = await self._look_for_hand(hand, served, terms, stay=stay)
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
            seen = await self._look_for_hand(hand, served, terms, sleeper, woken, stay=stay)
            former, hand = hand, seen.found
            leads_on = hand is not None and hand.leads_on_from(former)
            return seen if leads_on else seen._replace(found=None)

        return await until(self.server, look, {}, timeout_s, self.settings.safety_net) or hand

    async def fail(self, hand: Hand) -> Failed:
        arguments = {"key": hand.key, "token": hand.token, "name": tube_name(hand.batch)}
        attempts, first_us, last_us = decoded(await self._run("fail", hand.key, arguments, once=True))
        return Failed(attempts, first_us, last_us, None)

    async def give_back(self, hand: Hand, at_most: int) -> None:
        arguments = {"key": hand.key, "token": hand.token, "name": tube_name(hand.batch), "at_most": at_most}
        await self._run("fail", hand.key, arguments, once=True)

    async def bury(self, hand: Hand, sequence: int, grave: str, letter: bytes) -> bool:
        layout = await self.server.layout()
        arguments = {
            "key": hand.key,
            "token": hand.token,
            "name": tube_name(hand.batch),
            "sequence": sequence,
            "grave": grave,
            "most_letters": self.settings.dead_letters,
            "capacity": self.settings.capacity_bytes,
            "most_bytes": self._room.grave_bytes,
            "partition": layout.partition_of(hand.key),
            "partitions": layout.partitions,
        }
        evicted = await self._run("bury", hand.key, arguments, letter, once=True)
        if evicted > 0:
            log.warning("dead letters dropped to make room", extra={"grave": grave, "letters": evicted})
        return bool(evicted != _NO_ROOM)

    async def graves(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        limit = max(1, limit)
        found = [grave.decode() for grave in await self.server.run("graves", 0, {"after": after, "limit": limit})]
        return Page(found, found[-1] if len(found) >= limit else None)

    async def requeue(
        self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool = False
    ) -> bool | None:
        arguments = {"grave": grave, "sequence": sequence, "pipe": pipe, "front": front, "most": self._room.most()}
        try:
            done = await self._run("requeue", key_of(pipe), arguments, bodies_of([message])[0], once=True)
        except NoMemory:
            return False
        return None if done == -1 else bool(done)

    async def drop(self, grave: str, *sequences: int) -> int:
        dropped = 0
        for start in range(0, len(sequences), 1000):
            arguments = {"grave": grave, "sequences": sequences[start : start + 1000]}
            dropped += await self.server.run("drop", 0, arguments, once=True)
        return dropped

    async def remove(self, pipe: str, *messages: bytes) -> int:
        if not messages:
            return 0
        key, _, priority = pipe.rpartition("/")
        unwanted = tuple(dict.fromkeys(messages))
        removed: int = await self._run("unwait", key, {"pipe": pipe}, *unwanted, once=True)
        for name in (f"f{priority}", priority):
            at: int | None = None
            below: int | None = None
            while at != 0:
                arguments = {"key": key, "name": name, "from": at, "below": below}
                some, at, below = await self._run("remove", key, arguments, *unwanted)
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
                    return _look(told, told.get("key"))
                await self.promote()

        found: str | None = await until(self.server, look, {}, timeout_s, self.settings.safety_net)
        return found

    async def append_when_room(
        self, parts: Sequence[Part], timeout_s: float | None = None, *, when: When | None = None, absent: bool = False
    ) -> int | None:
        when = when and await self._resolved(when)

        async def look(sleeper: str | None, woken: str | None) -> Look:
            return Look(await self._append(parts, when, absent, RESERVE_PART, sleeper or woken), sleeps=True)

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
        ended: int = await self._run("unwait", key_of(pipe), arguments, *dict.fromkeys(messages), once=True)
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
        self.server.close()

    async def claim(self, key: str, lease_s: float | None = None) -> int:
        """`lease_s`: how long the claim lives; None: as long as those of a turn."""
        lease_us = round((self.lease_s if lease_s is None else lease_s) * 1e6)
        orphan = self._release_orphan(lambda token: (key, token))
        token: int = await self._run(
            "claim", key, {"key": key, "lease_us": lease_us, "owner": self.owner}, once=True, orphan=orphan
        )
        return token

    async def claimed(self, key: str) -> bool:
        return bool(await self._run("claimed", key, {"key": key}))

    async def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        self._begin_deadline(None)
        arguments = {"key": key, "token": token, "pause_us": round(max(0.0, pause_s) * 1e6)}
        return bool(await self._run("unclaim", key, arguments, once=True))

    async def lease(self, *claims: tuple[str, int, float | None]) -> list[bool]:
        """Let claims end so many seconds from now (None: as they are). Says for each whether its token is current."""
        told = [(key, token, False if seconds is None else round(seconds * 1e6)) for key, token, seconds in claims]
        return [bool(held) for held in await self.server.run("lease", 0, {"claims": told})]

    async def of_owner(
        self, *owners: str, lease_s: float | None = None, excused: bool = False, ending: Ending | None = None
    ) -> list[tuple[int, int]]:
        """What a supervisor says of the claims of its workers: they live on for so long; their end is planned; or their
        holder is dead, and ended like this. Says how many claims each has, and how many messages in hand.
        """
        arguments: dict[str, Any] = {"owners": owners}
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

    async def _run(self, name: str, key: str, arguments: dict[str, Any], *blobs: bytes, **options: Any) -> Any:
        """Run a script on the partition of a thread."""
        layout = await self.server.layout()
        return await self.server.run(name, layout.partition_of(key), arguments, *blobs, **options)

    async def _append(
        self, parts: Sequence[Part], when: When | None, absent: bool, kept_part: int, sleeper: str | None = None
    ) -> int | None:
        room = self._room
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
            arguments["absent"] = True
        if sleeper:
            arguments["sleeper"] = sleeper
        name = "append"
        if when:
            when = await self._resolved(when)
            name, arguments["due_us"] = "repeat" if when.schedule else "defer", when.due_us
            if when.schedule:
                arguments["schedule"] = when.schedule
        taken = await self._taken(name, arguments, bodies)
        if taken == _NO_ROOM:
            room.check_fits(parts, again=bool(when and when.schedule))
            return None
        return taken

    async def _taken(self, name: str, arguments: dict[str, Any], bodies: Sequence[bytes]) -> int:
        """How many messages a script took that stores some."""
        try:
            taken: int = _CALL_AGAIN
            while taken == _CALL_AGAIN:
                taken = await self._run(name, key_of(arguments["pipes"][0]), arguments, *bodies, once=True)
            return taken
        except NoMemory:
            if "sleeper" in arguments:
                await self.server.run("await", 0, {"sleeper": arguments["sleeper"]})
            return _NO_ROOM

    async def _resolved(self, when: When) -> When:
        return When(resolved_us(when, await self.server.now_us()), when.schedule)

    async def _look_for_hand(
        self,
        hand: Hand | None,
        served: Served,
        terms: Mapping[str, Terms],
        sleeper: str | None = None,
        woken: str | None = None,
        *,
        stay: bool,
    ) -> Look:
        """See `Storage.turn`. With a sleeper it lies down where there is nothing."""
        others = self._told(served, terms)
        while True:
            arguments: dict[str, Any] = {
                "stay": stay,
                "lease_us": round(self.lease_s * 1e6),
                "owner": self.owner,
            }
            if hand:
                arguments["hand"] = hand_told(hand)
                arguments["terms"] = terms_told(terms.get(split_key(hand.key)[0]))
            if sleeper:
                arguments["sleeper"] = sleeper
            if woken:
                arguments["woken"] = woken
            token = hand.token if hand else 0
            orphan = self._release_orphan(partial(_new_claim, token))
            partition, self.turned_at = 0, time.monotonic()
            reply = await self.server.run(
                "turn", partition, arguments, others, once=True, orphan=orphan, patience_s=None
            )
            told = decoded(reply[0])
            found = hand_said(reply)
            its = terms.get(split_key(found.key)[0]) if found and found.batch.count else None
            self._begin_deadline(its.timeout_s if its else None)
            if not told.get("schedules"):
                return _look(told, found)
            await self.promote()
            if found and found.leads_on_from(hand):
                return _look(told, found)
            hand = found

    def _begin_deadline(self, timeout_s: float | None) -> None:
        """A batch is in hand that may take so long; None: there is none with a limit."""
        if self.note_deadline and (timeout_s is not None or self._has_deadline):
            self._has_deadline = timeout_s is not None
            self.note_deadline(timeout_s)

    def _told(self, served: Served, terms: Mapping[str, Terms]) -> bytes:
        """What a worker serves, which is mostly the same as before."""
        before = self._served_told
        if before and before[0] is served and before[1] is terms:
            return before[2]
        told = _encode(
            {
                "served": False if served is None else list(served),
                "terms": {name: terms_told(its) for name, its in terms.items()},
            }
        )
        self._served_told = served, terms, told
        return told

    def _release_orphan(self, claim_of: Callable[[Any], tuple[str, int] | None]) -> Callable[[Any], None]:
        """Releases the claim that a cancelled call made."""

        def release(reply: Any) -> None:
            claim = None if isinstance(reply, Exception) else claim_of(reply)
            if claim and claim[1]:
                self.server.post_soon("unclaim", claim[0], {"key": claim[0], "token": claim[1], "pause_us": 0})

        return release

    async def _letters(self, grave: str, limit: int, after: int | None) -> Batch:
        reply = await self.server.run("letters", 0, {"grave": grave, "limit": limit, "after": after})
        if not reply:
            return EMPTY
        numbers, letters = list(map(int, reply[::2])), reply[1::2]
        ends, end = list[int](), 0
        for letter in letters:
            end += len(letter)
            ends.append(end)
        return Batch(numbers[0], numbers[-1] + 1, ends, b"".join(letters), sequences=numbers)

    async def _counts(self, arguments: dict[str, Any]) -> Counts:
        return Counts(*await self.server.run("backlog", 0, arguments))


def _look(told: dict[str, Any], found: Any) -> Look:
    return Look(found, bool(told.get("sleeps")), told.get("for_us"), told.get("sleepers", 1))


def _new_claim(former: int, reply: Sequence[bytes]) -> tuple[str, int] | None:
    """The claim that a turn made."""
    told = decoded(reply[0])
    return (told["key"], told["token"]) if told.get("token", former) != former else None
