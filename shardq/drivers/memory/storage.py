"""The in-memory driver, and the reference for every other one: a storage inside one process.

What is stored is plain Python (`threads`, `deferred`) behind one `threading.Lock`, so any thread and any event loop of
the process may use the same storage. A coroutine that has to wait leaves a future in a `Bell`. For work and for room,
all waiting coroutines are woken and look again. So a wake-up is not lost where one of them was cancelled, or has no use
for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from shardq.drivers.memory.bell import Bell
from shardq.drivers.memory.capacity import FOLLOW_UP_PART, RESERVE_PART, Capacity
from shardq.drivers.memory.deferred import Pending
from shardq.drivers.memory.graves import Graves
from shardq.drivers.memory.outputs import fresh
from shardq.drivers.memory.threads import Threads
from shardq.drivers.memory.timing import Timing
from shardq.drivers.memory.turns import onward
from shardq.model import (
    EMPTY,
    NOT_ALONE,
    Batch,
    Counts,
    Failed,
    Hand,
    Limits,
    Part,
    Scheduled,
    Terms,
    When,
    check_parts,
)
from shardq.outputs import Output, check_outputs
from shardq.pages import PAGE_ITEMS, Page, page_of
from shardq.protocols import Served
from shardq.settings import StorageSettings

log = logging.getLogger("shardq.storage")

#: Seconds after which a `wait` for a due time reckons anew: the clock of the host may have been set.
_LONGEST_SLEEP_S = 10.0


def _now_us() -> int:
    return time.time_ns() // 1000


class RuntimeStorage:
    """`Storage` in memory. What it holds ends with the process.

    `settings.capacity_bytes` bounds the sum of the message lengths; None, the default, means no bound. `clock` gives
    the seconds by which leases and pauses end, `now_us` the Unix microseconds by which messages are due.
    """

    importable_only = False

    def __init__(
        self,
        settings: StorageSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = _now_us,
    ) -> None:
        self.settings = settings or StorageSettings()
        self._now_us = now_us
        self._lock = threading.Lock()
        self._work, self._room, self._quiet, self._all_done = (Bell(self._lock) for _ in range(4))
        self._threads = Threads(self._work.ring, clock, now_us)
        self._pending = Pending()
        self._graves = Graves()
        self._capacity = Capacity(self.settings.capacity_bytes)
        self._timing = Timing(self._pending, self._capacity, self._arrived, self._work.ring, now_us)
        self._accepted = 0
        self._handled = 0

    @property
    def limits(self) -> Limits:
        return self._capacity.limits

    async def append(
        self, parts: Sequence[Part], *, when: When | None = None, absent: bool = False, follow_up: bool = False
    ) -> int | None:
        with self._lock:
            return self._append(parts, when, absent, FOLLOW_UP_PART if follow_up else RESERVE_PART)

    async def contains(self, pipe: str, message: bytes) -> bool:
        with self._lock:
            return any(message in tube.messages for tube in self._threads.tubes(pipe))

    async def length(self, pipe: str) -> int:
        with self._lock:
            return sum(len(tube.messages) for tube in self._threads.tubes(pipe))

    async def pipes(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        with self._lock:
            return page_of(self._threads.pipes(), after, limit)

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        with self._lock:
            found, grave = EMPTY, self._graves.get(pipe)
            tubes = [grave] if grave else self._threads.tubes(pipe)
            for tube in tubes if after is None else tubes[-1:]:
                found = found.followed_by(tube.head(limit - found.count, after))
            return found

    async def take(self, key: str, token: int, terms: Terms) -> Batch:
        """See `Storage.take`. A batch that takes longer than `terms.timeout_s` is not ended. Raises `FencedError`."""
        with self._lock:
            self._threads.check(key, token)
            return self._threads.take(key, token, terms)

    async def pop(self, hand: Hand, count: int, outputs: Sequence[Output] = ()) -> bool:
        with self._lock:
            return self._acknowledge(hand, hand.batch.through_first(count), outputs)

    async def turn(
        self,
        hand: Hand | None,
        served: Served,
        terms: Mapping[str, Terms],
        *,
        stay: bool = True,
        outputs: Sequence[Output] = (),
    ) -> Hand | None:
        with self._lock:
            self._timing.promote()
            if hand and not self._acknowledge(hand, hand.batch.through, outputs):
                return hand
            return onward(self._threads, hand, served, terms, stay=stay)

    async def rest(
        self,
        hand: Hand | None,
        served: Served,
        terms: Mapping[str, Terms],
        timeout_s: float | None = None,
        *,
        stay: bool = True,
    ) -> Hand | None:
        def look() -> Hand | None:
            nonlocal hand
            self._timing.promote()
            if hand:
                self._acknowledge(hand, hand.batch.through)
            former, hand = hand, onward(self._threads, hand, served, terms, stay=stay)
            return hand if hand and hand.leads_on_from(former) else None

        return await self._work.until(look, timeout_s, self._next_s) or hand

    async def fail(self, hand: Hand) -> Failed:
        with self._lock:
            self._threads.check(hand.key, hand.token)
            tube = self._threads.handed_from(hand)
            return tube.fail(hand.token, self._now_us()) if tube else NOT_ALONE

    async def give_back(self, hand: Hand, at_most: int) -> None:
        with self._lock:
            self._threads.check(hand.key, hand.token)
            tube = self._threads.handed_from(hand)
            if tube:
                tube.give_back(hand.token, at_most)

    async def bury(self, hand: Hand, sequence: int, grave: str, letter: bytes) -> bool:
        with self._lock:
            before = self._graves.evicted
            buried = self._bury(hand, sequence, grave, letter)
            evicted = self._graves.evicted - before
        if evicted:
            log.warning("dead letters dropped to make room", extra={"grave": grave, "letters": evicted})
        return buried

    async def graves(self, after: str | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        with self._lock:
            return page_of(self._graves.pipes(), after, limit)

    async def requeue(
        self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool = False
    ) -> bool | None:
        with self._lock:
            letters = self._graves.get(grave)
            if letters is None or not letters.has(sequence):
                return None
            if not self._capacity.take_for([(pipe, [message])]):
                return False
            self._arrived(pipe, [message], front=front)
            self._capacity.used_bytes -= len(letters.drop_one(sequence) or b"")
            self._made_room()
            return True

    async def drop(self, grave: str, *sequences: int) -> int:
        with self._lock:
            letters = self._graves.get(grave)
            dropped = [letter for n in sequences if letters and (letter := letters.drop_one(n)) is not None]
            self._capacity.used_bytes -= sum(map(len, dropped))
            self._made_room()
            return len(dropped)

    async def remove(self, pipe: str, *messages: bytes) -> int:
        with self._lock:
            unwanted = set(messages)
            waiting, dropped = self._pending.drop_equal(pipe, unwanted), self._threads.drop_equal(pipe, unwanted)
            self._cancelled(waiting)
            self._departed(dropped)
            return len(waiting) + len(dropped)

    async def wait(self, served: Served, timeout_s: float | None = None, bound: str | None = None) -> str | None:
        def look() -> str | None:
            self._timing.promote()
            return self._threads.next_ready(served, bound)

        return await self._work.until(look, timeout_s, self._next_s)

    async def append_when_room(
        self, parts: Sequence[Part], timeout_s: float | None = None, *, when: When | None = None, absent: bool = False
    ) -> int | None:
        when = when and self._timing.resolved(when)
        return await self._room.until(lambda: self._append(parts, when, absent), timeout_s)

    async def promote(self) -> int | None:
        with self._lock:
            return self._timing.promote()

    async def scheduled(self, after: tuple[int, int] | None = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        with self._lock:
            return self._pending.scheduled(after, limit)

    async def unschedule(self, pipe: str, *messages: bytes) -> int:
        with self._lock:
            ended = self._pending.unschedule(pipe, set(messages))
            self._cancelled(ended)
            return len(ended)

    async def wait_for_quiet(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        with self._lock:
            bell = self._all_done if deferred else self._quiet
            if self._accepted == self._handled and not (deferred and self._pending.deferred):
                return True
            rung = bell.join()
        return await bell.heard(rung, timeout_s)

    async def backlog(self) -> Counts:
        with self._lock:
            graves, pending = self._graves, self._pending
            letters = graves.buried, graves.count()
            return Counts(self._accepted, self._handled, *letters, pending.deferred, pending.recurrent, graves.evicted)

    def next_end_s(self) -> float | None:
        """Seconds until the first lease or pause ends, None where there is none."""
        with self._lock:
            return self._threads.next_end_s()

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

    def _acknowledge(self, hand: Hand, through: int, outputs: Sequence[Output] = ()) -> bool:
        """Let the messages below that number go, and store the outputs. False: there is no room for these, and nothing
        changed.
        """
        self._threads.check(hand.key, hand.token)
        if outputs and self._threads.stands_below(hand, through):
            check_outputs(outputs, self.limits.parts)
            new = list(fresh(self._timing.timed(outputs), self._absent))
            if new and not self._capacity.take_for([(pipe, its) for pipe, its, *_ in new], FOLLOW_UP_PART):
                return False
            self._send(new)  # before the others go: in between the storage must not be found quiet
        self._departed(self._threads.drop_below(hand, through))
        return True

    def _send(self, outputs: Sequence[Output]) -> None:
        """Store outputs for which room is taken."""
        for pipe, messages, when, _ in outputs:
            self._place([(pipe, messages)], when)

    def _next_s(self) -> float | None:
        """In how many seconds a message is due, or a lease or pause ends, whichever comes first."""
        due_us = self._pending.next_due_us if self._pending else None
        due_s = None if due_us is None else min((due_us - self._now_us()) / 1e6, _LONGEST_SLEEP_S)
        return min((span for span in (due_s, self._threads.next_end_s()) if span is not None), default=None)

    def _append(
        self, parts: Sequence[Part], when: When | None, absent: bool, kept_part: int = RESERVE_PART
    ) -> int | None:
        check_parts(parts, self.limits.parts)
        if absent:
            parts = [(pipe, self._absent(pipe, messages, when)) for pipe, messages in parts]
        return self._store([part for part in parts if part[1]], when, kept_part)

    def _store(self, parts: Sequence[Part], when: When | None = None, kept_part: int = RESERVE_PART) -> int | None:
        if not parts:
            return 0
        when = when and self._timing.resolved(when)
        if when and when.schedule:
            return self._timing.repeat(parts, when, kept_part)
        if not self._capacity.take_for(parts, kept_part):
            return None
        self._place(parts, when)
        return sum(len(its) for _, its in parts)

    def _place(self, parts: Sequence[Part], when: When | None) -> None:
        if when:
            self._timing.defer(parts, when)
            return
        for pipe, its in parts:
            self._arrived(pipe, its)

    def _arrived(self, pipe: str, messages: Sequence[bytes], *, front: bool = False) -> None:
        self._accepted += len(messages)
        self._threads.add(pipe, messages, front=front)

    def _absent(self, pipe: str, messages: Sequence[bytes], when: When | None = None) -> list[bytes]:
        """Those of the messages that have no equal, each once."""
        if when and when.schedule:
            present = [self._pending.again(pipe)]
        else:
            present = [*self._threads.equal(pipe), self._pending.once(pipe)]
        return [message for message in dict.fromkeys(messages) if not any(message in found for found in present)]

    def _bury(self, hand: Hand, sequence: int, grave: str, letter: bytes) -> bool:
        self._threads.check(hand.key, hand.token)
        tube = self._threads.handed_from(hand)
        if tube is None or not tube.messages or tube.head_sequence != sequence:
            return True
        # The message leaves, which makes room for its letter.
        size, room = len(letter) - len(tube.messages[0]), self._capacity
        gone = self._graves.make_room(grave, size, self.settings.dead_letters, room.reserve_bytes, room.fits_in_reserve)
        if gone is None:
            return False
        self._graves.add(grave, letter)
        self._capacity.used_bytes += len(letter) - gone
        self._departed(self._threads.drop_below(hand, sequence + 1))
        return True

    def _departed(self, dropped: Sequence[bytes]) -> None:
        """Messages have left their tube."""
        self._handled += len(dropped)
        self._cancelled(dropped)

    def _cancelled(self, dropped: Sequence[bytes]) -> None:
        """Messages are stored no more."""
        if not dropped:
            return
        self._capacity.used_bytes -= sum(map(len, dropped))
        self._made_room()
        if self._accepted == self._handled:
            self._quiet.ring()
            if not self._pending.deferred:
                self._all_done.ring()

    def _made_room(self) -> None:
        self._room.ring()
        if self._pending.lacks_room:
            self._work.ring()  # a waiting worker moves the due messages that found no room
