"""The in-memory driver, and the reference for every other one: a storage inside one process.

What is stored is plain Python (`stored`) behind one `threading.Lock`, so any thread and any event loop of the process
may use the same storage. A coroutine that has to wait leaves a future in a `Bell`. For work and for room, all waiting
coroutines are woken and look again. So a wake-up is not lost where one of them was cancelled, or has no use for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from shardq.drivers.memory.bell import Bell, Bells
from shardq.drivers.memory.capacity import FOLLOW_UP_PART, RESERVE_PART
from shardq.drivers.memory.deferrals import Deferrals
from shardq.drivers.memory.facts import facts_of
from shardq.drivers.memory.recording import Recording
from shardq.drivers.memory.stored import Stored
from shardq.drivers.memory.turns import onward
from shardq.kept import KeptIndex
from shardq.model import (
    EMPTY,
    MOST_ACTIONS,
    NOT_ALONE,
    Action,
    AllTerms,
    Batch,
    Counts,
    Failed,
    Hand,
    Limits,
    Part,
    Pause,
    PipeFacts,
    Reason,
    Scheduled,
    Terms,
    When,
)
from shardq.model.trace import untraced
from shardq.outputs import Output
from shardq.pages import PAGE_ITEMS, Page, page_of
from shardq.protocols import Served
from shardq.settings import StorageSettings, check_kind

log = logging.getLogger("shardq.storage")


def _now_us() -> int:
    return time.time_ns() // 1000


class RuntimeStorage:
    """`Storage` in memory. What it holds ends with the process.

    `settings.capacity_bytes` bounds the sum of the message lengths; None, the default, means no bound. `clock` gives
    the seconds by which leases and pauses end, `now_us` the Unix microseconds by which messages are due. `on_stored` is
    called with what was appended, or was sent on by a handler; letters that are put back are not among it.
    """

    importable_only = False
    suspends = False

    def __init__(
        self,
        settings: StorageSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = _now_us,
        on_stored: Callable[[Sequence[Part]], None] = lambda parts: None,
    ) -> None:
        check_kind(settings, StorageSettings)
        self.settings = settings or StorageSettings()
        self._now_us = now_us
        self._lock = threading.Lock()
        bells = Bells(*(Bell(self._lock) for _ in Bells._fields))
        self._work, self._room, self._quiet, self._all_done = bells
        self._stored = Stored(self.settings, clock, now_us, bells, on_stored)
        self._threads, self._timing = self._stored.threads, self._stored.timing
        self._kept = KeptIndex(self)
        self._recording = Recording(self._lock, now_us)
        self.deferrals = Deferrals(self._lock, self._stored)

    @property
    def limits(self) -> Limits:
        return self._stored.capacity.limits

    async def append(
        self, parts: Sequence[Part], *, when: When | None = None, absent: bool = False, follow_up: bool = False
    ) -> int | None:
        with self._lock:
            return self._stored.append(parts, when, absent, FOLLOW_UP_PART if follow_up else RESERVE_PART)

    def append_at_once(self, parts: Sequence[Part], *, follow_up: bool = False) -> int:
        return 0  # a class that puts its own `append` in the place of this one sees each call

    async def contains(self, pipe: str, message: bytes) -> bool:
        with self._lock:
            return any(tube.has_equal(message) for tube in self._threads.tubes(pipe))

    async def length(self, pipe: str) -> int:
        with self._lock:
            return sum(len(tube.messages) for tube in self._stored.tubes(pipe))

    async def pipes(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        with self._lock:
            return page_of(self._threads.pipes(), after, limit)

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        with self._lock:
            found, tubes = EMPTY, self._stored.tubes(pipe)
            for tube in tubes if after is None else tubes[-1:]:
                found = found.followed_by(tube.head(limit - found.count, after))
            return found

    async def facts(self, pipe: str) -> PipeFacts:
        """What is known of a pipe: see `Observer.facts`."""
        with self._lock:
            return facts_of(self._threads, pipe, self._now_us())

    async def take(self, key: str, token: int, terms: Terms) -> Batch:
        """See `Storage.take`. A batch that takes longer than `terms.timeout_s` is not ended. Raises `FencedError`."""
        with self._lock:
            self._threads.check(key, token)
            return self._threads.take(key, token, terms)

    async def pop(self, hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        with self._lock:
            return self._stored.acknowledge(hand, hand.batch.through_first(count), outputs)

    async def turn(
        self, hand: Hand | None, served: Served, terms: AllTerms, *, stay: bool = True, outputs: Sequence[Output] = ()
    ) -> Hand | None:
        with self._lock:
            self._timing.promote()
            if hand and not self._stored.acknowledge(hand, hand.batch.through, outputs):
                return hand
            return onward(self._threads, hand, served, terms, stay=stay)

    async def rest(
        self, hand: Hand | None, served: Served, terms: AllTerms, timeout_s: float | None = None, *, stay: bool = True
    ) -> Hand | None:
        def look() -> Hand | None:
            nonlocal hand
            self._timing.promote()
            if hand:
                self._stored.acknowledge(hand, hand.batch.through)
            former, hand = hand, onward(self._threads, hand, served, terms, stay=stay)
            return hand if hand and hand.leads_on_from(former) else None

        return await self._work.until(look, timeout_s, self._stored.next_s) or hand

    async def fail(self, hand: Hand, reason: Reason = "raised") -> Failed:
        with self._lock:
            self._threads.check(hand.key, hand.token)
            tube = self._threads.handed_from(hand)
            return tube.fail(hand.token, self._now_us()) if tube else NOT_ALONE

    async def give_back(self, hand: Hand, at_most: int, reason: Reason | None = None) -> None:
        with self._lock:
            self._threads.check(hand.key, hand.token)
            tube = self._threads.handed_from(hand)
            if tube:
                tube.give_back(hand.token, at_most)

    async def bury(self, hand: Hand, sequence: int, grave: str, letter: bytes, reason: Reason | None = None) -> bool:
        with self._lock:
            before = self._stored.graves.evicted
            buried = self._stored.bury(hand, sequence, grave, letter)
            evicted = self._stored.graves.evicted - before
        if evicted:
            log.warning("dead letters dropped to make room", extra={"grave": grave, "letters": evicted})
        return buried

    async def graves(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        with self._lock:
            return page_of(self._stored.graves.pipes(), after, limit)

    async def requeue(
        self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool = False
    ) -> bool | None:
        with self._lock:
            return self._stored.requeue(grave, sequence, pipe, message, front=front)

    async def drop(self, grave: str, *sequences: int) -> int:
        with self._lock:
            return self._stored.drop(grave, sequences)

    async def kept(self, name: bytes) -> Batch:
        return await self._kept.find(name)

    async def remove(self, pipe: str, *messages: bytes) -> int:
        with self._lock:
            return self._stored.remove(pipe, set(map(untraced, messages)))

    async def wait(self, served: Served, timeout_s: float | None = None, bound: str | None = None) -> str | None:
        def look() -> str | None:
            self._timing.promote()
            return self._threads.next_ready(served, bound)

        return await self._work.until(look, timeout_s, self._stored.next_s)

    async def append_when_room(
        self, parts: Sequence[Part], timeout_s: float | None = None, *, when: When | None = None, absent: bool = False
    ) -> int | None:
        when = when and self._timing.resolved(when)
        return await self._room.until(lambda: self._stored.append(parts, when, absent), timeout_s)

    async def promote(self) -> int | None:
        with self._lock:
            return self._timing.promote()

    async def scheduled(self, after: tuple[int, int] | None = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        with self._lock:
            return self._stored.pending.scheduled(after, limit)

    async def unschedule(self, pipe: str, *messages: bytes) -> int:
        with self._lock:
            return self._stored.unschedule(pipe, set(map(untraced, messages)))

    async def wait_for_quiet(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        with self._lock:
            bell = self._all_done if deferred else self._quiet
            if self._stored.is_quiet(deferred=deferred):
                return True
            rung = bell.join()
        return await bell.heard(rung, timeout_s)

    async def backlog(self) -> Counts:
        with self._lock:
            return self._stored.counts()

    def next_end_s(self) -> float | None:
        """Seconds until the first lease or pause ends, None where there is none."""
        with self._lock:
            return self._threads.next_end_s()

    async def pause(self, handler: str, until: When | None = None, reason: str = "") -> None:
        with self._lock:
            self._threads.pauses.end_over()
            self._threads.pauses.pause(handler, until, reason)
            self._work.ring()  # waiting workers have to reckon with its end

    async def resume(self, handler: str) -> bool:
        with self._lock:
            self._threads.pauses.end_over()
            resumed = self._threads.pauses.resume(handler)
            self._work.ring()
            return resumed

    async def pauses(self) -> list[Pause]:
        with self._lock:
            self._threads.pauses.end_over()
            return self._threads.pauses.standing

    async def record(self, action: Action) -> None:
        self._recording.record(action)

    async def actions(self, limit: int = MOST_ACTIONS) -> list[Action]:
        return self._recording.actions(limit)

    async def serving(self, name: str) -> int | None:
        """Not known: a worker is a task, which may begin later."""
        return None

    async def check_stays(self) -> None:
        """What is in memory moves nowhere."""

    async def close(self) -> None:
        """Nothing to let go of: memory is all there is."""

    async def claim(self, key: str) -> int:
        with self._lock:
            return self._threads.claim(key)

    async def claimed(self, key: str) -> bool:
        with self._lock:
            return self._threads.claimed(key)

    async def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        with self._lock:
            released = self._threads.unclaim(key, token, pause_s)
            self._work.ring()  # waiting workers have to reckon with the end of the pause
            return released

    def lease_left_s(self, key: str, token: int) -> float | None:
        """How long the claim still lives; None: `token` is not the current claim on `key`."""
        with self._lock:
            return self._threads.lease_left_s(key, token)

    def lease(self, key: str, token: int, seconds: float | None) -> bool:
        """Let the claim end so many seconds from now (None: as it is). Returns whether the token is its current one."""
        with self._lock:
            held = self._threads.lease(key, token, seconds)
            self._work.ring()  # waiting workers have to reckon with the new end
            return held
