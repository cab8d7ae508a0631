"""Batches that are handed out and acknowledged in one step: S33 and S34 of the contract."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from shardq.drivers.redis.hands import decoded, hand_said, hand_told, terms_told
from shardq.drivers.redis.outputs import Sending
from shardq.drivers.redis.presence import Presence
from shardq.drivers.redis.server import Server
from shardq.drivers.redis.sleeping import Look
from shardq.model import Hand, Terms, split_key
from shardq.protocols import Served

#: How long a claim lives where nothing says.
LEASE_S = 30.0
_encode = msgspec.msgpack.Encoder().encode


class Turning:
    """The turns of one process. `promote` brings what schedules have due."""

    def __init__(self, server: Server, promote: Callable[[], Awaitable[object]]) -> None:
        self._server = server
        self._promote = promote
        self.presence = Presence(server)
        self.lease_s = LEASE_S
        """How long the claims of turns live."""
        self.sent_at = time.monotonic()
        """When the last turn was sent that may have made a claim."""
        self.note_deadline: Callable[[float | None], None] | None = None
        """Told how long a batch that was handed out may take, and of its end (None), in a worker of a supervisor."""
        self._has_deadline = False
        self._served_told: tuple[Served, Mapping[str, Terms], bytes] | None = None

    @property
    def owner(self) -> str:
        """Who holds the claims made here."""
        return self.presence.owner

    async def look(
        self,
        hand: Hand | None,
        served: Served,
        terms: Mapping[str, Terms],
        sleeper: str | None = None,
        woken: str | None = None,
        *,
        stay: bool,
        sending: Sending | None = None,
    ) -> Look:
        """See `Storage.turn`. With a sleeper it lies down where there is nothing. `sending`: the outputs of what is in
        the hand.
        """
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
            orphan = self.release_orphan(partial(_new_claim, token))
            partition, self.sent_at = 0, time.monotonic()
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
            reply = await (sending.stored(step, _refusal) if sending else step())
            await self.presence.note(served, self.lease_s, self.sent_at)
            if reply is None:
                return Look(hand)
            told = decoded(reply[0])
            found = hand_said(reply)
            its = terms.get(split_key(found.key)[0]) if found and found.batch.count else None
            self.begin_deadline(its.timeout_s if its else None)
            if not told.get("schedules"):
                return look_said(told, found)
            await self._promote()
            if found and found.leads_on_from(hand):
                return look_said(told, found)
            hand, sending = found, None

    def begin_deadline(self, timeout_s: float | None) -> None:
        """A batch is in hand that may take so long; None: there is none with a limit."""
        if self.note_deadline and (timeout_s is not None or self._has_deadline):
            self._has_deadline = timeout_s is not None
            self.note_deadline(timeout_s)

    def release_orphan(self, claim_of: Callable[[Any], tuple[str, int] | None]) -> Callable[[Any], None]:
        """Releases the claim that a cancelled call made."""

        def release(reply: Any) -> None:
            claim = None if isinstance(reply, Exception) else claim_of(reply)
            if claim and claim[1]:
                self._server.post_soon("unclaim", claim[0], {"key": claim[0], "token": claim[1], "pause_us": 0})

        return release

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


def look_said(told: dict[str, Any], found: Any) -> Look:
    """What a script said of a look that found this."""
    return Look(found, bool(told.get("sleeps")), told.get("for_us"), told.get("sleepers", 1))


def _refusal(reply: Sequence[bytes]) -> int | None:
    """Why a turn did not store the outputs."""
    refusal: int | None = decoded(reply[0]).get("refusal")
    return refusal


def _new_claim(former: int, reply: Sequence[bytes]) -> tuple[str, int] | None:
    """The claim that a turn made."""
    told = decoded(reply[0])
    return (told["key"], told["token"]) if told.get("token", former) != former else None
