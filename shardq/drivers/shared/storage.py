"""Storage and lock of one host: a shared-memory segment, waited on with asyncio.

The verbs are those of `shm.verbs`. The three that wait suspend on this process's doorbell. The others suspend only
where another process stays inside the guard, as one that is stopped there does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from shardq.drivers.shared.appending import append, count_of
from shardq.drivers.shared.deferrals import Deferrals
from shardq.drivers.shared.due import promote_some, promote_what_is_due, resolved
from shardq.drivers.shared.keeping import Keeping
from shardq.drivers.shared.lock import SharedLock
from shardq.drivers.shared.pacing import Pace
from shardq.drivers.shared.pausing import Pausing
from shardq.drivers.shared.recording import Recording
from shardq.drivers.shared.sleeping import Sleeping
from shardq.drivers.shared.waiters import Deadline
from shardq.errors import SegmentBusy
from shardq.kept import KeptIndex
from shardq.model import (
    KEPT_PIPE,
    AllTerms,
    AtWork,
    Batch,
    Counts,
    Failed,
    Hand,
    Limits,
    Part,
    Reason,
    Scheduled,
    Terms,
    When,
)
from shardq.outputs import Output, are_plain
from shardq.pages import PAGE_ITEMS, Page
from shardq.protocols import Served
from shardq.settings import StorageSettings
from shardq.shm.store import Store
from shardq.shm.verbs.deferring import REMOVED_AT_ONCE
from shardq.shm.verbs.overview import Overview
from shardq.shm.verbs.pending_pages import Unread
from shardq.shm.words import FOLLOW_UP, GENERAL

log = logging.getLogger("shardq.storage")

__all__ = ["Overview", "SharedLock", "SharedStorage"]


class SharedStorage(Pausing, Recording):
    """Messages of all tubes in a named segment. Made by `create` or `attach`; only `destroy` removes it."""

    importable_only = True
    suspends = False

    def __init__(self, store: Store, settings: StorageSettings | None = None) -> None:
        super().__init__(store, settings)
        self._sleeping = Sleeping(self)
        self._keeping = Keeping(self)
        self._kept = KeptIndex(self)
        self.deferrals = Deferrals(self)
        self.pace = Pace(lambda: store.inspection.accepted(), lambda: store.inspection.at_work())

    @property
    def limits(self) -> Limits:
        return self._store.limits

    async def append(
        self, parts: Sequence[Part], *, when: When | None = None, absent: bool = False, follow_up: bool = False
    ) -> int | None:
        share = FOLLOW_UP if follow_up else GENERAL
        try:
            accepted = append(self._store, parts, when, share, absent=absent)
        except SegmentBusy:
            accepted = await self._until_free(lambda: append(self._store, parts, when, share, absent=absent))
        self.pace.registered(accepted or 0)
        if accepted is None and (follow_up or self.settings.when_full == "raise"):
            await self.patiently(lambda: self._store.appending.found_full(parts, "raised"))
        return accepted

    def append_at_once(self, parts: Sequence[Part], *, follow_up: bool = False) -> int:
        # In a forked child and in a store that is closed, the core takes nothing.
        if not self._store.core.append(parts, FOLLOW_UP if follow_up else GENERAL):
            return 0
        accepted = count_of(parts)
        self.pace.registered(accepted)
        return accepted

    async def contains(self, pipe: str, message: bytes) -> bool:
        return await self.patiently(lambda: self._store.reading.contains(pipe, message))

    async def length(self, pipe: str) -> int:
        return await self.patiently(lambda: self._store.reading.length(pipe))

    async def pipes(self, after: int | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        return await self.patiently(lambda: self._store.reading.pipes(after, limit))

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        return await self.patiently(lambda: self._store.reading.read(pipe, limit, after))

    async def take(self, key: str, token: int, terms: Terms) -> Batch:
        try:
            batch = self._store.delivering.take(key, token, terms)
        except SegmentBusy:
            batch = await self._until_free(lambda: self._store.delivering.take(key, token, terms))
        self.pace.handed_out()
        return batch

    async def pop(self, hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        if outputs and not are_plain(outputs, self._store.segment.layout.step_parts):
            outputs = await self._keeping.sendable(outputs)
        self.pace.handled(count, self._store.waits)
        try:
            stored = self._store.delivering.pop(hand, count, outputs)
        except SegmentBusy:
            stored = await self._until_free(lambda: self._store.delivering.pop(hand, count, outputs))
        if outputs:
            promote_what_is_due(self._store)
        return stored

    async def turn(
        self, hand: Hand | None, served: Served, terms: AllTerms, *, stay: bool = True, outputs: Sequence[Output] = ()
    ) -> Hand | None:
        if self._store.may_be_due:  # asked here as well: a call less for each batch
            promote_what_is_due(self._store)
        if hand is None:
            # As a look for work: a worker that has nothing in hand hears of its end also while the guard is held.
            with suppress(SegmentBusy):
                return self._store.delivering.turn(None, served, terms, stay=stay)
            return None
        if outputs and not are_plain(outputs, self._store.segment.layout.step_parts):
            outputs = await self._keeping.sendable(outputs)
        pace, waits = self.pace, self._store.waits
        if pace.step or waits != pace.waited:
            pace.handled(hand.batch.count, waits)
        try:
            found = self._store.delivering.turn(hand, served, terms, stay=stay, outputs=outputs)
        except SegmentBusy:
            found = await self._until_free(
                lambda: self._store.delivering.turn(hand, served, terms, stay=stay, outputs=outputs)
            )
        if pace.step:
            pace.handed_out()
        return found

    async def fail(self, hand: Hand, reason: Reason = "raised") -> Failed:
        return await self.patiently(lambda: self._store.delivering.fail(hand, reason))

    async def give_back(self, hand: Hand, at_most: int, reason: Reason | None = None) -> None:
        await self.patiently(lambda: self._store.delivering.give_back(hand, at_most, reason))

    async def bury(self, hand: Hand, sequence: int, grave: str, letter: bytes, reason: Reason | None = None) -> bool:
        bound = self.settings.dead_letters
        done = await self.patiently(lambda: self._store.burying.bury(hand, sequence, grave, letter, bound, reason))
        if done.evicted:
            log.warning("dead letters dropped to make room", extra={"grave": grave, "letters": done.evicted})
        return done.buried

    async def graves(self, after: int | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        return await self.patiently(lambda: self._store.burying.graves(after, limit))

    async def requeue(
        self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool = False
    ) -> bool | None:
        return await self.patiently(lambda: self._store.burying.requeue(grave, sequence, pipe, message, front=front))

    async def drop(self, grave: str, *sequences: int) -> int:
        if grave == KEPT_PIPE:
            await self._keeping.drop_old()
        return await self.patiently(lambda: self._store.burying.drop(grave, sequences))

    async def kept(self, name: bytes) -> Batch:
        return await self._kept.find(name)

    async def remove(self, pipe: str, *messages: bytes) -> int:
        removed = await self.patiently(lambda: self._store.removing.remove(pipe, messages))
        return removed + await self._taken_out(pipe, messages)

    async def claim(self, key: str) -> int:
        try:
            return self._store.delivering.claim(key)
        except SegmentBusy:
            return await self._until_free(lambda: self._store.delivering.claim(key))

    async def claimed(self, key: str) -> bool:
        return await self.patiently(lambda: self._store.delivering.claimed(key))

    async def holds(self, key: str, token: int) -> bool:
        """Whether `token` is the current claim on the thread."""
        return await self.patiently(lambda: self._store.delivering.holds(key, token))

    async def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        try:
            return self._store.delivering.unclaim(key, token, pause_s)
        except SegmentBusy:
            # Else the claim would last as long as this process.
            return await self._even_if_cancelled(lambda: self._store.delivering.unclaim(key, token, pause_s))

    async def wait(self, served: Served, timeout_s: float | None = None, bound: str | None = None) -> str | None:
        return await self._sleeping.wait(served, timeout_s, bound)

    def rest(
        self, hand: Hand | None, served: Served, terms: AllTerms, timeout_s: float | None = None, *, stay: bool = True
    ) -> Coroutine[Any, Any, Hand | None]:
        return self._sleeping.rest(hand, served, terms, timeout_s, stay=stay)

    async def append_when_room(
        self, parts: Sequence[Part], timeout_s: float | None = None, *, when: When | None = None, absent: bool = False
    ) -> int | None:
        deadline, counted = Deadline(timeout_s), False
        when = when and resolved(when)
        while True:
            try:
                with self.ears.listening() as heard:
                    self._store.waiting.await_room()
                    accepted = append(self._store, parts, when, GENERAL, absent=absent)
                    if accepted is None and not counted:
                        self._store.appending.found_full(parts, "waited")
                        counted = True
                    if accepted is not None or deadline.over:
                        return accepted
                    await deadline.wait(heard, self.net_s())
            except SegmentBusy:
                if deadline.over:
                    return None
                await deadline.pause()

    async def promote(self) -> int | None:
        now_us = time.time_ns() // 1000
        while (next_due_us := await self.patiently(self.promote_some)) is not None and next_due_us <= now_us:
            continue
        return next_due_us

    def promote_some(self) -> int | None:
        """As `promote`, for a moment only. A caller that has other things to do as well calls it again when the time
        that it returns has come.
        """
        return promote_some(self._store.deferring)

    def promote_what_is_due(self) -> None:
        """As `promote_some`, where something is due."""
        promote_what_is_due(self._store)

    def net_s(self) -> float:
        """After how long a sleeper looks by itself: all together look once in the safety net's time."""
        return self.settings.safety_net * max(1, self._store.waiting.asleep())

    async def scheduled(self, after: Unread | None = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        return await self.patiently(lambda: self._store.deferring.scheduled(after, limit))

    async def unschedule(self, pipe: str, *messages: bytes) -> int:
        return await self._taken_out(pipe, messages, recurrent=True)

    async def wait_for_quiet(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        return await self._sleeping.wait_for_quiet(timeout_s, deferred=deferred)

    async def backlog(self) -> Counts:
        return await self.patiently(lambda: self._store.inspection.counts())

    async def serving(self, name: str) -> int | None:
        return await self.patiently(lambda: self._store.inspection.serving(name))

    async def check_stays(self) -> None:
        """Raise `StorageMoved` where the content went elsewhere, or is on its way."""
        self._store.gate.check_stays()

    def overview(self) -> Overview:
        """Figures of the segment and the workers in it, read without disturbing them."""
        return self._store.inspection.overview()

    def workers(self) -> list[AtWork]:
        """What each living worker is at."""
        return self._store.inspection.workers()

    async def _taken_out(self, pipe: str, messages: Sequence[bytes], *, recurrent: bool = False) -> int:
        def remove(start: int) -> int:
            chosen = messages[start : start + REMOVED_AT_ONCE]
            return self._store.deferring.remove(pipe, chosen, recurrent=recurrent)

        starts = range(0, len(messages), REMOVED_AT_ONCE)  # so that none is counted in a call that gives up
        return sum([await self.patiently(partial(remove, start)) for start in starts])
