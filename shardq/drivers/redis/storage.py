"""The storage of many hosts, on one server or on a cluster."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shardq.drivers.redis.connections.address import Address, of_client, seeds_of_client
from shardq.drivers.redis.families import serving
from shardq.drivers.redis.servers.cluster import Cluster, changed
from shardq.drivers.redis.servers.server import Server, answers
from shardq.drivers.redis.verbs.appending import Appending
from shardq.drivers.redis.verbs.cancelling import Cancelling
from shardq.drivers.redis.verbs.counting import Counting
from shardq.drivers.redis.verbs.deferrals import Deferrals
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.hands import (
    batch_said,
    decoded,
    ending_told,
    leaving,
    terms_told,
)
from shardq.drivers.redis.verbs.leases import Keeping, Lease, renewed
from shardq.drivers.redis.verbs.letters import Letters
from shardq.drivers.redis.verbs.listing import Listing
from shardq.drivers.redis.verbs.looking import Looking
from shardq.drivers.redis.verbs.outputs import Sending, sending
from shardq.drivers.redis.verbs.pausing import Pausing
from shardq.drivers.redis.verbs.presence import HOME
from shardq.drivers.redis.verbs.recording import Recording
from shardq.drivers.redis.verbs.records import batch_of
from shardq.drivers.redis.verbs.results import Results
from shardq.drivers.redis.verbs.rooms import FOLLOW_UP_PART, RESERVE_PART, Room
from shardq.drivers.redis.verbs.turning import Turning
from shardq.errors import ShardqError, StorageMoved
from shardq.model import (
    EMPTY,
    KEPT_PIPE,
    Batch,
    Ending,
    Failed,
    Hand,
    Limits,
    Part,
    Reason,
    Scheduled,
    Terms,
    When,
    dead_pipe,
    split_key,
)
from shardq.outputs import Output
from shardq.pages import PAGE_ITEMS, Page
from shardq.protocols import Served
from shardq.settings import StorageSettings

log = logging.getLogger("shardq.storage")


class RedisStorage(Cancelling, Counting, Pausing, Recording):
    """`Storage` on a Redis or Valkey server, from version 6.2 on.

    `redis`: a client of `redis.asyncio`, `RedisCluster` too, which is only asked where and how it connects: the storage
    has connections of its own, one for each event loop and server. `settings.prefix` begins all its keys.
    `settings.capacity_bytes` bounds the sum of the message lengths, of which each partition has an equal share; None,
    the default, means no bound but the memory of the server. `partitions`: how many a new storage gets; None: 1 on one
    server, 64 on a cluster. One that is there keeps its own.

    What an application stores waits until so many `replicas` have it, and with `fsync` until it is on disk there and at
    the server; else the call raises `StorageUnconfirmed`.
    """

    importable_only = True
    suspends = True

    def __init__(
        self,
        redis: Any,
        settings: StorageSettings | None = None,
        *,
        partitions: int | None = None,
        replicas: int = 0,
        fsync: bool = False,
    ) -> None:
        self.settings = settings or StorageSettings()
        place = _place_of(redis)
        if replicas or fsync:
            place = changed(place, partial(dataclasses.replace, replicas=replicas, fsync=fsync))
        self.server = Server(place, self.settings.prefix, partitions)
        self._forwarding = Forwarding(self.server, self.settings)
        self._looking = Looking(self.server, self.settings, self._forwarding)
        self.turning = Turning(self.server, self._looking, self._forwarding)
        self._keeping = Keeping(self.server, lambda: self.turning.lease_s)
        self._appending = Appending(self.server, self.settings, self._forwarding)
        self._listing = Listing(self.server)
        self.deferrals = Deferrals(self.server)
        self._letters = Letters(self.server, self.settings, self._forwarding)
        self._results = Results(self.server, self.settings)

    @property
    def limits(self) -> Limits:
        return self._room.limits

    async def append(
        self, parts: Sequence[Part], *, when: When | None = None, absent: bool = False, follow_up: bool = False
    ) -> int | None:
        taken = await self._appending.append(parts, when, absent, FOLLOW_UP_PART if follow_up else RESERVE_PART)
        if taken is None and (follow_up or self.settings.when_full == "raise"):
            await self._appending.found_full(parts, "raised")
        return taken

    def append_at_once(self, parts: Sequence[Part], *, follow_up: bool = False) -> int:
        return 0

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
        if pipe == KEPT_PIPE:
            return await self._results.count()
        key, _, priority = pipe.rpartition("/")
        number: int = await self.server.run_on(key, "length", {"key": key, "names": [f"f{priority}", priority]})
        return number

    async def pipes(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[str]:
        return await self._listing.pipes(after, limit)

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        key, _, priority = pipe.rpartition("/")
        if limit <= 0:
            return EMPTY
        if pipe in (dead_pipe(split_key(key)[0]), KEPT_PIPE):
            return await self._letters.range(pipe, limit, after)
        names = [f"f{priority}", priority]
        return batch_of(
            await self.server.run_on(key, "range", {"key": key, "names": names, "limit": limit, "after": after})
        )

    async def take(self, key: str, token: int, terms: Terms) -> Batch:
        """See `Storage.take`. A batch that takes longer than `terms.timeout_s` is not ended. Raises `FencedError`."""
        told = {"key": key, "token": token, "terms": terms_told(terms)}
        reply = await self.server.run_on(key, "take", told, once=True)
        batch = batch_said(decoded(reply[0]), reply[1:])
        self.turning.begin_batch(batch, terms)
        self.turning.tallying.begin(key, batch)
        return batch

    async def pop(self, hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        arguments: dict[str, Any] = {"key": hand.key, "token": hand.token}
        if hand.batch.count and count:
            arguments |= leaving(hand.batch, count)
        its = await self._sending(hand, count, outputs) if count else None
        if its:
            step = partial(
                self.server.run_on, hand.key, "pop with outputs", arguments | its.told, *its.bodies, once=True
            )
            if await its.stored(step, int) is None:
                return False
            if its.goes_away:
                source = (await self.server.layout()).partition_of(hand.key)
                await self.turning.releasing.bring_on(source, None, None)
        else:
            await self.server.run_on(hand.key, "pop", arguments)
        self.turning.tallying.acknowledge(hand.key, hand.batch, count)
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
        return await self.turning.turn(hand, served, terms, stay=stay, sending=its)

    async def rest(
        self,
        hand: Hand | None,
        served: Served,
        terms: Mapping[str, Terms],
        timeout_s: float | None = None,
        *,
        stay: bool = True,
    ) -> Hand | None:
        return await self.turning.rest(hand, served, terms, timeout_s, self.settings.safety_net, stay=stay)

    async def fail(self, hand: Hand, reason: Reason = "raised") -> Failed:
        arguments: dict[str, Any] = {"key": hand.key, "token": hand.token, "reason": reason}
        arguments |= leaving(hand.batch, hand.batch.count)
        self.turning.tallying.end(hand.key)
        attempts, first_us, last_us = decoded(await self.server.run_on(hand.key, "fail", arguments, once=True))
        return Failed(attempts, first_us, last_us, None)

    async def give_back(self, hand: Hand, at_most: int, reason: Reason | None = None) -> None:
        arguments: dict[str, Any] = {"key": hand.key, "token": hand.token, "at_most": at_most}
        arguments |= leaving(hand.batch, hand.batch.count) | ({} if reason is None else {"reason": reason})
        self.turning.tallying.end(hand.key)
        await self.server.run_on(hand.key, "fail", arguments, once=True)

    async def bury(self, hand: Hand, sequence: int, grave: str, letter: bytes, reason: Reason | None = None) -> bool:
        buried = await self._letters.bury(hand, sequence, grave, letter, reason)
        if buried:
            self.turning.tallying.bury(hand.key, hand.batch, sequence)
        return buried

    async def graves(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        return await self._letters.graves(after, limit)

    async def requeue(
        self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool = False
    ) -> bool | None:
        return await self._letters.requeue(grave, sequence, pipe, message, front=front)

    async def drop(self, grave: str, *sequences: int) -> int:
        if grave == KEPT_PIPE:
            await self._results.expire()
        return await self._letters.drop(grave, sequences)

    async def kept(self, name: bytes) -> Batch:
        return await self._results.find(name)

    async def wait(self, served: Served, timeout_s: float | None = None, bound: str | None = None) -> str | None:
        await self.turning.note_presence(served)
        return await self._looking.wait(served, timeout_s, bound)

    async def append_when_room(
        self, parts: Sequence[Part], timeout_s: float | None = None, *, when: When | None = None, absent: bool = False
    ) -> int | None:
        return await self._appending.append_when_room(parts, timeout_s, when, absent)

    async def promote(self) -> int | None:
        return await self._looking.promote()

    async def promote_until(self, names: Mapping[int, str], events: Sequence[str]) -> int | None:
        """See `Looking.promote_until`."""
        return await self._looking.promote_until(names, events)

    async def scheduled(self, after: Any = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        return await self._listing.scheduled(after, limit)

    async def serving(self, name: str) -> int | None:
        return await serving(self.server, name)

    async def check_stays(self) -> None:
        """Raise `StorageMoved` where the content went elsewhere, or is on its way."""
        to = decoded(await self.server.run("stand", 0, {}))["gate"].get("leaving")
        if to:
            raise StorageMoved(to)

    async def close(self) -> None:
        self._keeping.end()
        await self.turning.tallying.say_last()
        await self.turning.presence.end()
        self.server.close()

    async def claim(self, key: str, lease_s: float | None = None) -> int:
        """`lease_s`: how long the claim lives; None: as long as this process, or until it is released."""
        lease_us = round((self.turning.lease_s if lease_s is None else lease_s) * 1e6)
        orphan = self.turning.releasing.of_orphan(lambda token: (key, token))
        token: int = await self.server.run_on(
            key, "claim", {"key": key, "lease_us": lease_us, "owner": self.turning.owner}, once=True, orphan=orphan
        )
        self.turning.strays.note_claim(key, token)
        if token and lease_s is None:
            self._keeping.keep(key, token)
        return token

    async def claimed(self, key: str) -> bool:
        return bool(await self.server.run_on(key, "claimed", {"key": key}))

    async def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        self.turning.begin_deadline(None)
        self.turning.strays.forget_claim(key)
        self._keeping.forget(key)
        self.turning.tallying.end(key)
        saying = self.turning.tallying.say()
        arguments = {"key": key, "token": token, "pause_us": round(max(0.0, pause_s) * 1e6)} | saying.told
        step = self.server.run_on(key, "unclaim", arguments, once=True)
        try:
            return bool(await self.turning.releasing.to_its_end(step))
        except ShardqError:
            self.turning.tallying.take_back(saying)
            raise

    async def lease(self, *claims: Lease) -> list[bool]:
        """Let claims end so many seconds from now (None: as they are). Says for each whether its token is current."""
        return await renewed(self.server, claims)

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
        if lease_s is not None:
            arguments["lease_us"] = round(lease_s * 1e6)
        elif excused:
            arguments["excused"] = True
        else:
            arguments["ending"] = ending_told(ending)
        layout = await self.server.layout()
        calls = dict.fromkeys(layout.everywhere, (arguments, ()))
        if family:
            calls[HOME] = arguments | {"family": family}, ()
        found = answers((await self.server.run_each("owned", calls)).values())
        return [
            (sum(claims for claims, _ in its), sum(in_hand for _, in_hand in its)) for its in zip(*found, strict=True)
        ]

    @property
    def _room(self) -> Room:
        return Room(self.settings.capacity_bytes, self.server.partitions)

    async def _sending(self, hand: Hand, acknowledged: int, outputs: Sequence[Output]) -> Sending | None:
        """The outputs of so many requests in the hand. None: there are none, or nothing leaves with which they could
        come.
        """
        if not outputs or not hand.batch.count:
            return None
        return await sending(self.server, self.settings, hand.key, outputs, acknowledged)


def _place_of(redis: Any) -> Address | Cluster:
    """Raises `ConfigurationError`."""
    if isinstance(redis, Address | Cluster):
        return redis
    seeds = seeds_of_client(redis)
    return Cluster(seeds) if seeds else of_client(redis)
