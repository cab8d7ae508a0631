"""Batches that are handed out and acknowledged in one step: S33 and S34 of the contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from shardq.drivers.redis.servers.server import Server
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.hands import decoded, hand_said, hand_told, terms_told
from shardq.drivers.redis.verbs.leases import LEASE_S
from shardq.drivers.redis.verbs.looking import Looking, look_said
from shardq.drivers.redis.verbs.outputs import Sending
from shardq.drivers.redis.verbs.presence import Presence
from shardq.drivers.redis.verbs.releasing import Releasing
from shardq.drivers.redis.verbs.sleeping import Look, Places, until
from shardq.drivers.redis.verbs.strays import Strays
from shardq.drivers.redis.verbs.tallying import Tallying
from shardq.errors import ShardqError, StorageMoved
from shardq.model import AllTerms, Batch, Hand, Terms, split_key
from shardq.protocols import Served

#: How long a worker takes threads of one partition while others have some.
ROUND_S = 0.2
#: After so many of these spans it looks again which have some; and where some could not be looked at.
SWEEP_ROUNDS, BLIND_ROUNDS = 10, 3
_encode = msgspec.msgpack.Encoder().encode

#: What a worker serves, and how.
Asked = tuple[Served, AllTerms]


class Turning:
    """The turns of one process."""

    def __init__(self, server: Server, looking: Looking, forwarding: Forwarding) -> None:
        self._server = server
        self.presence = Presence(server)
        self.strays = Strays(server, self.presence)
        self.releasing = Releasing(server, self.strays, forwarding)
        self.tallying = Tallying(server)
        self._looking = looking
        self.round_s = ROUND_S
        self._looked_at = self._turned_at = float("-inf")
        """When all partitions were looked at, and when another one was turned to, monotonic."""
        self._brought_on_at = float("-inf")
        """When a caller brought on what is on its way."""
        self._ready = list[int]()
        """Partitions that had a thread for this worker then, and were not turned to since."""
        self._misses_some = False
        """Whether some could not be looked at."""
        self._last = 0
        """The partition of the last thread."""
        self.lease_s = LEASE_S
        """How long the claims of turns live."""
        self.sent_at = time.monotonic()
        """When the last turn was sent that may have made a claim."""
        self.note_deadline: Callable[[float | None], None] | None = None
        """Told how long a batch that was handed out may take, and of its end (None), in a worker of a supervisor."""
        self._has_deadline = False
        self.note_work: Callable[[], None] | None = None
        """Told of each batch that was handed out, in a worker of a supervisor that shows how far the work is."""
        self._served_told: tuple[Served, Mapping[str, Terms], bytes] | None = None

    @property
    def owner(self) -> str:
        """Who holds the claims made here."""
        return self.presence.owner

    async def note_presence(self, served: Served) -> None:
        """This process looks for work that serves these handlers."""
        await self.presence.note(served, self.lease_s, time.monotonic())

    async def turn(
        self, hand: Hand | None, served: Served, terms: AllTerms, *, stay: bool, sending: Sending | None = None
    ) -> Hand | None:
        """See `Storage.turn`. `sending`: the outputs of what is in the hand."""
        layout, asked = self._server.known or await self._server.layout(), (served, terms)
        found: Hand | None
        if layout.partitions == 1:
            await self.strays.release(layout.everywhere, hand)
            found = (await self._at(0, hand, asked, {}, stay=stay, sending=sending)).found
            return found
        now = time.monotonic()
        seeks = served is None or bool(served)
        sweeps = now - self._looked_at >= (BLIND_ROUNDS if self._misses_some else SWEEP_ROUNDS) * self.round_s
        leaves = seeks and now - self._turned_at >= self.round_s and (sweeps or bool(self._ready))
        found = hand
        if hand or not leaves:
            own = layout.partition_of(hand.key) if hand else self._last
            found = (await self._at(own, hand, asked, {}, stay=stay, hold=leaves, sending=sending)).found
            if not seeks or (found is not None and (found is hand or found.leads_on_from(hand))):
                return found
        try:
            return await self._moved(found, asked, stay=stay, leaves=leaves, sweeps=sweeps)
        except StorageMoved:
            if hand is None or not hand.batch.count:
                raise
            return found  # what was in hand is acknowledged

    async def rest(
        self,
        hand: Hand | None,
        served: Served,
        terms: AllTerms,
        timeout_s: float | None,
        safety_net_s: float,
        *,
        stay: bool,
    ) -> Hand | None:
        """See `Storage.rest`."""
        layout, asked = await self._server.layout(), (served, terms)
        alone = layout.partitions == 1
        reads = hand is not None and served is not None and not served
        where = (layout.partition_of(hand.key),) if hand and reads else layout.everywhere

        async def look(places: Places) -> Hand | None:
            nonlocal hand
            await self.note_presence(served)
            if alone:
                await self.strays.release(layout.everywhere, hand)
            own = layout.partition_of(hand.key) if hand else 0 if alone else None
            looks_at_own = own in places.todo
            if own is not None and looks_at_own:
                former, holds = hand, not (alone or stay)
                seen = await self._at(own, hand, asked, {} if holds else places.lie_as(own), stay=stay, hold=holds)
                hand = seen.found
                leads_on = hand is not None and hand.leads_on_from(former)
                if not holds:
                    places.note(own, seen if leads_on else seen._replace(found=None))
                if leads_on or alone:
                    return hand if leads_on else None
            places.todo = [place for place in places.todo if place != own]
            moved = await self._from_elsewhere(hand, asked, places, stay=stay) if places.todo else None
            if moved or not (looks_at_own and own is not None and not stay):
                return moved
            former, seen = hand, await self._at(own, hand, asked, places.lie_as(own), stay=False)
            hand = seen.found
            leads_on = hand is not None and hand.leads_on_from(former)
            places.note(own, seen if leads_on else seen._replace(found=None))
            return hand if leads_on else None

        within_s = self.presence.look_within_s(self.lease_s)
        found = await until(self._server, look, {}, timeout_s, safety_net_s, where, within_s)
        if found is None and reads and not alone:
            await self._bring_on_all()
        return found or hand

    async def _bring_on_all(self) -> None:
        """What a caller waits for may be on its way, and the worker dead that was to bring it on, with all others."""
        now = time.monotonic()
        if now - self._brought_on_at >= SWEEP_ROUNDS * self.round_s:
            self._brought_on_at = now
            await self._looking.peeked((await self._server.layout()).everywhere, frozenset(), Places(()))

    async def _moved(self, bound: Hand | None, asked: Asked, *, stay: bool, leaves: bool, sweeps: bool) -> Hand | None:
        """What a turn finds beyond its thread. `leaves`: it may be in its partition, and is to be in another one.
        `sweeps`: all partitions are looked at anew.
        """
        layout = await self._server.layout()
        self._turned_at = time.monotonic()
        places = Places(layout.everywhere)
        found: Hand | None
        if not sweeps:
            found = await self._claimed(self._ready, bound, asked, places, stay=stay)
            if found is None and bound and leaves:
                found = (await self._at(layout.partition_of(bound.key), bound, asked, {}, stay=stay)).found
            if found and found.leads_on_from(bound):
                return found
        self._looked_at = time.monotonic()
        found = await self._from_elsewhere(bound, asked, places, stay=stay)
        if found or bound is None or stay:
            return found or bound
        found = (await self._at(layout.partition_of(bound.key), bound, asked, {}, stay=False)).found
        return found

    async def _from_elsewhere(self, bound: Hand | None, asked: Asked, places: Places, *, stay: bool) -> Hand | None:
        """The thread that has been ready for longest in `places.todo`, claimed, in the place of the bound one. None:
        there is none.
        """
        todo = list(places.todo)
        if len(todo) > 1:
            peeked = await self._looking.peeked(todo, asked[0], places)
            self._misses_some = len(peeked) < len(todo)
            await self.strays.release(peeked, bound)
            ready = sorted((told["turn"], place) for place, told in peeked.items() if "key" in told)
            todo = self._ready = [place for _, place in ready]
        return await self._claimed(todo, bound, asked, places, stay=stay)

    async def _claimed(
        self, todo: list[int], bound: Hand | None, asked: Asked, places: Places, *, stay: bool
    ) -> Hand | None:
        """The next thread of the first of these partitions that has one; those before it are taken off the list."""
        own = (await self._server.layout()).partition_of(bound.key) if bound else None
        while todo:
            place = todo.pop(0)
            if not await self._server.reaches(place):
                self._misses_some = True
                continue
            its = bound if place == own else None
            over = asyncio.Event()
            turn = self._at(place, its, asked, places.lie_as(place), stay=stay, tells=False, over=over)
            try:
                seen = await self.releasing.soon(turn, its)
            finally:
                over.set()
            if seen is None:
                await self._server.note_silence(place)
                continue
            found: Hand | None = seen.found
            leads_on = found is not None and found.leads_on_from(its)
            places.note(place, seen if leads_on else seen._replace(found=None))
            if not leads_on:
                continue
            assert found
            self._last = place
            self._begin_hand(found, asked[1])
            if bound and found.token != bound.token and place != own:
                await self.releasing.exchange(bound, found)
            return found
        return None

    def _begin_hand(self, hand: Hand | None, terms: AllTerms) -> None:
        if hand:
            self.begin_batch(hand.batch, terms.get(split_key(hand.key)[0]))
        else:
            self.begin_deadline(None)

    async def _at(
        self,
        partition: int,
        hand: Hand | None,
        asked: Asked,
        lying: dict[str, Any],
        *,
        stay: bool,
        hold: bool = False,
        sending: Sending | None = None,
        tells: bool = True,
        over: asyncio.Event | None = None,
    ) -> Look:
        """A turn on one partition. `lying`: a sleeper that lies down where there is nothing, and where it lay before.
        `hold`: the thread of the hand is not left. `tells`: of what is handed out, and of its deadline. `over`: set
        once the caller does not wait any more.
        """
        served, terms = asked
        others = self._told(served, terms)
        while True:
            await self.note_presence(served)
            if over and over.is_set():
                return Look(hand)  # the server would take what is sent now for later than the caller's next turn
            arguments: dict[str, Any] = {
                "stay": stay,
                "lease_us": round(self.lease_s * 1e6),
                "owner": self.owner,
                **lying,
            }
            acknowledged = hand and hand.batch.count
            saying = None
            if self.tallying.is_due(idle=not acknowledged):
                saying = self.tallying.say(*((hand.key, hand.batch) if hand else ()))
                arguments |= saying.told | {"here": partition}
            if hand:
                arguments["hand"] = hand_told(hand)
                arguments["terms"] = terms_told(terms.get(split_key(hand.key)[0]))
            if hold:
                arguments["hold"] = True
            orphan = self.releasing.of_orphan(partial(_new_claim, hand.token if hand else 0))
            self.sent_at = time.monotonic()
            name, bodies = "turn", list[bytes]()
            if sending:
                name, arguments, bodies = "turn with outputs", arguments | sending.told, sending.bodies
            step: Callable[[], Awaitable[Any]] = partial(
                self._server.run,
                name,
                partition,
                arguments,
                others,
                *bodies,
                once=True,
                orphan=orphan,
                patience_s=None,
            )
            try:
                reply = await (sending.stored(step, _refusal) if sending else step())
            except StorageMoved:
                raise  # it acknowledged and counted before it said so
            except ShardqError:
                if saying:
                    self.tallying.take_back(saying)
                raise
            if reply is None:
                if saying:
                    self.tallying.take_back(saying)
                return Look(hand)
            told = decoded(reply[0])
            found = hand_said(reply)
            if hand and acknowledged:
                self.tallying.acknowledge(hand.key, hand.batch, acknowledged)
            if found:
                self.tallying.begin(found.key, found.batch)
            if hand and found and found.token != hand.token:
                self.strays.forget_claim(hand.key)
            if tells:
                self._begin_hand(found, terms)
            if (sending and sending.goes_away) or told.get("away"):
                await self.releasing.bring_on(partition, hand, found)
            if not told.get("schedules"):
                return look_said(told, found)
            if found and found.leads_on_from(hand):
                await self.releasing.for_a_moment(self._looking.promote_at(partition), hand, found)
                return look_said(told, found)
            try:
                await self._looking.promote_at(partition)
            except StorageMoved:
                if found is None:
                    raise
                return look_said(told, found)  # the turn is done
            hand, sending = found, None

    def begin_batch(self, batch: Batch, terms: Terms | None) -> None:
        """This is what was handed out; it may be empty."""
        if batch.count and self.note_work:
            self.note_work()
        self.begin_deadline(terms.timeout_s if batch.count and terms else None)

    def begin_deadline(self, timeout_s: float | None) -> None:
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


def _refusal(reply: Sequence[bytes]) -> int | None:
    """Why a turn did not store the outputs."""
    refusal: int | None = decoded(reply[0]).get("refusal")
    return refusal


def _new_claim(former: int, reply: Sequence[bytes]) -> tuple[str, int] | None:
    """The claim that a turn made."""
    told = decoded(reply[0])
    return (told["key"], told["token"]) if told.get("token", former) != former else None
