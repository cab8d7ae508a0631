"""Storage and lock of one host: a shared-memory segment, waited on with asyncio.

The verbs are those of `shm.store` and never suspend; only the three that wait do, on this process's doorbell.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from shardq.drivers.shared_waiting import Deadline, ears_of
from shardq.errors import ScheduleError, SegmentMissing
from shardq.model import Batch, Scheduled, When
from shardq.protocols import Backlog, Served
from shardq.schedule import next_us
from shardq.settings import LockSettings, StorageSettings, check_capacity
from shardq.shm import attachments as shm
from shardq.shm.inspection import Overview
from shardq.shm.layout import DEFAULT_SLOTS, FOLLOW_UP, GENERAL
from shardq.shm.store import Store
from shardq.shm.timing import Timing

log = logging.getLogger("shardq.storage")

#: How long a schedule rests that this version cannot read, in microseconds.
_PUT_OFF_US = 3600 * 1_000_000
#: How many sections who has other things to do promotes in at a time: about 8 ms.
_ROUNDS = 8

__all__ = ["Overview", "SharedLock", "SharedStorage"]


class SharedStorage:
    """Messages of all tubes in a named segment. Made by `create` or `attach`; only `destroy` removes it."""

    importable_only = True

    def __init__(self, store: Store, settings: StorageSettings | None = None) -> None:
        self.settings = settings or StorageSettings()
        self._store = store
        self._ears = ears_of(store)
        self._closed = False

    @classmethod
    def create(
        cls,
        name: str,
        capacity_bytes: int | None = None,
        *,
        threads: int | None = None,
        slots: int = DEFAULT_SLOTS,
        private: bool = False,
        settings: StorageSettings | None = None,
    ) -> SharedStorage:
        """Create the segment `name` and attach to it.

        `capacity_bytes` bounds its memory, by default the lesser of 512 MiB and half of what /dev/shm has free.
        `threads` bounds the threads and tubes that have messages at one time, by default one per 4 KiB of capacity and
        at most 65,536; `slots` the processes that are attached at one time. A `private` segment ends with its
        supervisor, whatever is in it.

        Raises `SegmentExists`, `SegmentNoRoom`, `ConfigurationError`.
        """
        settings = settings or StorageSettings()
        capacity = settings.capacity_bytes if capacity_bytes is None else capacity_bytes
        if capacity is not None:
            check_capacity(capacity)
        return cls(shm.create_store(name, capacity, threads=threads, slots=slots, private=private), settings)

    @classmethod
    def attach(cls, name: str, settings: StorageSettings | None = None) -> SharedStorage:
        """Attach to the segment `name`.

        Raises `SegmentMissing`, `SegmentNotReady`, `SegmentVersionError`, `SegmentForeign`, `SlotsExhausted`.
        """
        return cls(shm.attach_store(name), settings)

    @classmethod
    def resume(cls, name: str, descriptor: int, slot: int) -> SharedStorage:
        """Attach to the segment `name` as a process that was so before it executed itself anew: see `Store.hold`."""
        return cls(shm.resume_store(name, descriptor, slot))

    @property
    def name(self) -> str:
        return self._store.segment.name

    @property
    def store(self) -> Store:
        """The segment's verbs without asyncio, for a supervisor that has no loop."""
        return self._store

    def check(self, pipe: str, messages: Sequence[bytes]) -> None:
        self._store.check(pipe, messages)

    async def append(
        self,
        pipe: str,
        messages: Sequence[bytes],
        *,
        when: When | None = None,
        absent: bool = False,
        follow_up: bool = False,
    ) -> int | None:
        return self._append(pipe, messages, when, FOLLOW_UP if follow_up else GENERAL, absent=absent)

    async def contains(self, pipe: str, message: bytes) -> bool:
        return self._store.contains(pipe, message)

    async def length(self, pipe: str) -> int:
        return self._store.length(pipe)

    async def pipes(self) -> list[str]:
        return self._store.pipes()

    async def range(self, pipe: str, limit: int) -> Batch:
        return self._store.read(pipe, limit)

    async def take(
        self,
        pipes: Sequence[str],
        limit: int,
        token: int,
        timeout_s: float | None = None,
        starvation_limit: int | None = None,
    ) -> Batch:
        return self._store.take(pipes, limit, token, timeout_s, starvation_limit)

    async def pop(self, pipe: str, through: int, token: int) -> None:
        self._store.pop(pipe, through, token)

    async def fail(self, pipe: str, token: int, *, counts: bool = True) -> int:
        return self._store.fail(pipe, token, counts=counts)

    async def bury(self, pipe: str, sequence: int, token: int, grave: str, letter: bytes) -> bool:
        return self._store.letters.bury(pipe, sequence, token, grave, letter, self.settings.dead_letters)

    async def graves(self) -> list[str]:
        return self._store.letters.graves()

    async def requeue(self, grave: str, sequence: int, pipe: str, message: bytes) -> bool | None:
        return self._store.letters.requeue(grave, sequence, pipe, message)

    async def drop(self, grave: str, *sequences: int) -> int:
        return self._store.letters.drop(grave, sequences)

    async def remove(self, pipe: str, *messages: bytes) -> int:
        return self._store.remove(pipe, messages) + self._store.timing.remove(pipe, messages)

    async def claim(self, key: str) -> int:
        return self._store.claim(key)

    async def claimed(self, key: str) -> bool:
        return self._store.claimed(key)

    async def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        return self._store.unclaim(key, token, pause_s)

    async def wait(self, served: Served, timeout_s: float | None = None, bound: str | None = None) -> str | None:
        key = self._find_work(served, bound)
        if key is not None or timeout_s == 0:
            return key
        deadline = Deadline(timeout_s)
        while key is None:
            if deadline.over:
                return None
            with self._ears.listening(deaths=True) as heard:
                key, pause_s = self._store.waiting.lie_down(served, bound)
                try:
                    if key is None:
                        net_s = self._net_s()
                        await deadline.wait(heard, net_s if pause_s is None else min(pause_s, net_s))
                        key = self._find_work(served, bound)
                finally:
                    self._store.waiting.rise(key)
        return key

    async def append_when_room(
        self,
        pipe: str,
        messages: Sequence[bytes],
        timeout_s: float | None = None,
        *,
        when: When | None = None,
        absent: bool = False,
    ) -> int | None:
        deadline = Deadline(timeout_s)
        while True:
            with self._ears.listening() as heard:
                self._store.waiting.await_room()
                accepted = self._append(pipe, messages, when, GENERAL, absent=absent)
                if accepted is not None or deadline.over:
                    return accepted
                await deadline.wait(heard, self._net_s())

    async def now_us(self) -> int:
        return time.time_ns() // 1000

    async def promote(self) -> int | None:
        now_us = time.time_ns() // 1000
        while (next_due_us := self.promote_some()) is not None and next_due_us <= now_us:
            continue
        return next_due_us

    def promote_some(self) -> int | None:
        """As `promote`, for a moment only: who has other things to do as well comes back where the time it returns is
        over.
        """
        for _ in range(_ROUNDS):
            now_us = time.time_ns() // 1000
            next_due_us = _promote(self._store.timing, now_us)
            if next_due_us is None or next_due_us > now_us:
                break
        return next_due_us

    async def scheduled(self) -> list[Scheduled]:
        return self._store.timing.scheduled()

    async def unschedule(self, pipe: str, *messages: bytes) -> int:
        return self._store.timing.remove(pipe, messages, recurrent=True)

    async def wait_for_quiet(self, timeout_s: float | None = None, *, deferred: bool = False) -> bool:
        deadline = Deadline(timeout_s)
        while True:
            with self._ears.listening() as heard:
                if self._store.waiting.quiet(deferred=deferred):
                    return True
                if deadline.over:
                    return False
                await deadline.wait(heard, self.settings.safety_net)

    async def backlog(self) -> Backlog:
        counts = self._store.counts()
        queued = counts.accepted - counts.handled
        return Backlog(
            queued, counts.accepted, counts.handled, counts.dead, deferred=counts.deferred, recurrent=counts.recurrent
        )

    def overview(self) -> Overview:
        """Figures of the segment and the workers in it, read without disturbing them."""
        return self._store.inspection.overview()

    async def close(self) -> None:
        """Detach. What is stored stays; other objects of this process on the same segment stay attached."""
        self.detach()

    def detach(self) -> None:
        """As `close`, for who has no loop."""
        if not self._closed:
            self._closed = True
            shm.close_store(self._store)
            self._ears.wake_all()

    def destroy(self) -> None:
        """Unlink the segment with everything in it, and detach."""
        with suppress(SegmentMissing):
            if self._closed:
                shm.destroy(self.name)
            else:
                self._closed = True
                shm.destroy_store(self._store)
        self._ears.wake_all()

    def _append(
        self, pipe: str, messages: Sequence[bytes], when: When | None, share: int, *, absent: bool
    ) -> int | None:
        store = self._store
        if not messages:
            return 0
        if when is None and not absent:
            return len(messages) if store.append(pipe, messages, share=share) else None
        due_us = max(1, when.due_us) if when else 0
        if when and when.schedule:
            accepted = store.timing.repeat(pipe, messages, when.schedule, due_us, absent=absent, share=share)
        elif absent:
            accepted = store.appending.append_absent(pipe, messages, due_us=due_us, share=share)
        else:
            accepted = len(messages) if store.timing.defer(pipe, messages, due_us, share=share) else None
        if due_us and store.timing.due():
            self.promote_some()
        return accepted

    def _find_work(self, served: Served, bound: str | None) -> str | None:
        if self._store.timing.due():
            self.promote_some()
        return self._store.waiting.find_work(served, bound)

    def _net_s(self) -> float:
        """All sleepers together look once in the safety net's time, so each looks less often the more there are."""
        return self.settings.safety_net * max(1, self._store.waiting.asleep())


def _promote(timing: Timing, now_us: int) -> int | None:
    """Move some of what is due to its tubes. Returns when the next is due, Unix microseconds, None: nothing waits."""
    promoted = timing.promote(now_us)
    found = promoted.recurrent
    if found is None:
        return promoted.next_due_us or None
    try:
        next_due_us = next_us(found.schedule, found.scheduled_us, now_us)
    except ScheduleError:
        log.exception("schedule cannot be read", extra={"pipe": found.pipe, "schedule": found.schedule})
        timing.put_off(found, now_us + _PUT_OFF_US)
        return now_us
    timing.recur(found, next_due_us)
    return now_us


class SharedLock:
    """Claims on threads, kept in the segment. A claim follows the life of its process, not time: it ends when it is
    released or when the process is dead, and however long a process is stopped, it keeps it.
    """

    def __init__(self, storage: SharedStorage | None = None, settings: LockSettings | None = None) -> None:
        self.storage = storage
        self.settings = settings or LockSettings()
        self._tokens: dict[str, int] = {}

    async def acquire(self, key: str) -> int:
        token = await self._given().claim(key)
        if token:
            self._tokens[key] = token
        return token

    async def exists(self, key: str) -> bool:
        return await self._given().claimed(key)

    async def release(self, key: str, pause_s: float = 0.0) -> bool:
        token = self._tokens.pop(key, 0)
        return bool(token) and await self._given().unclaim(key, token, pause_s)

    async def ttl(self, key: str, seconds: float) -> bool:
        """With 0 seconds, release. Otherwise nothing changes: a claim lives as long as its process."""
        if seconds <= 0:
            return await self.release(key)
        return key in self._tokens

    def _given(self) -> SharedStorage:
        if self.storage is None:
            raise SegmentMissing("this SharedLock has no storage: make it with SharedLock(storage)")
        return self.storage
