"""Storage and lock of one host: a shared-memory segment, waited on with asyncio.

The verbs are those of `shm.store` and never suspend; only the three that wait do, on this process's doorbell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock as ThreadLock
from weakref import WeakKeyDictionary

from shardq.errors import SegmentMissing
from shardq.model import Batch
from shardq.protocols import Backlog, Serves
from shardq.settings import LockSettings, StorageSettings
from shardq.shm import attachments as shm
from shardq.shm.inspection import Overview
from shardq.shm.layout import DEFAULT_SLOTS, FOLLOW_UP, GENERAL
from shardq.shm.store import Store

__all__ = ["Overview", "SharedLock", "SharedStorage"]


class SharedStorage:
    """Messages of all tubes in a named segment. Made by `create` or `attach`; only `destroy` removes it."""

    importable_only = True

    def __init__(self, store: Store, settings: StorageSettings | None = None) -> None:
        self.settings = settings or StorageSettings()
        self._store = store
        self._ears = _ears_of(store)
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

    async def append(self, pipe: str, messages: Sequence[bytes], *, follow_up: bool = False) -> bool:
        return self._store.append(pipe, messages, share=FOLLOW_UP if follow_up else GENERAL)

    async def contains(self, pipe: str, message: bytes) -> bool:
        return self._store.contains(pipe, message)

    async def length(self, pipe: str) -> int:
        return self._store.length(pipe)

    async def pipes(self) -> list[str]:
        return self._store.pipes()

    async def range(self, pipe: str, limit: int) -> Batch:
        return self._store.read(pipe, limit)

    async def take(self, pipes: Sequence[str], limit: int, token: int, timeout_s: float | None = None) -> Batch:
        return self._store.take(pipes, limit, token, timeout_s)

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
        return self._store.remove(pipe, messages)

    async def claim(self, key: str) -> int:
        return self._store.claim(key)

    async def claimed(self, key: str) -> bool:
        return self._store.claimed(key)

    async def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        return self._store.unclaim(key, token, pause_s)

    async def wait(self, serves: Serves, timeout_s: float | None = None, bound: str | None = None) -> str | None:
        key = self._store.waiting.find_work(serves, bound)
        if key is not None or timeout_s == 0:
            return key
        deadline = _Deadline(timeout_s)
        while key is None:
            if deadline.over:
                return None
            with self._ears.listening(deaths=True) as heard:
                key, pause_s = self._store.waiting.lie_down(serves, bound)
                try:
                    if key is None:
                        net_s = self._net_s()
                        await deadline.wait(heard, net_s if pause_s is None else min(pause_s, net_s))
                        key = self._store.waiting.find_work(serves, bound)
                finally:
                    self._store.waiting.rise(key)
        return key

    async def append_when_room(self, pipe: str, messages: Sequence[bytes], timeout_s: float | None = None) -> bool:
        deadline = _Deadline(timeout_s)
        while True:
            with self._ears.listening() as heard:
                self._store.waiting.await_room()
                if self._store.append(pipe, messages):
                    return True
                if deadline.over:
                    return False
                await deadline.wait(heard, self._net_s())

    async def wait_for_quiet(self, timeout_s: float | None = None) -> bool:
        deadline = _Deadline(timeout_s)
        while True:
            with self._ears.listening() as heard:
                if self._store.waiting.quiet():
                    return True
                if deadline.over:
                    return False
                await deadline.wait(heard, self.settings.safety_net)

    async def backlog(self) -> Backlog:
        counts = self._store.counts()
        return Backlog(counts.accepted - counts.handled, counts.accepted, counts.handled, counts.dead)

    def overview(self) -> Overview:
        """Figures of the segment and the workers in it, read without disturbing them."""
        return self._store.inspection.overview()

    async def close(self) -> None:
        """Detach. What is stored stays; other objects of this process on the same segment stay attached."""
        if not self._closed:
            self._closed = True
            shm.close_store(self._store)
            self._ears.wake_all()

    def destroy(self) -> None:
        """Detach, and unlink the segment with everything in it."""
        name = self.name
        if not self._closed:
            self._closed = True
            shm.close_store(self._store)
            self._ears.wake_all()
        with suppress(SegmentMissing):
            shm.destroy(name)

    def _net_s(self) -> float:
        """All sleepers together look once in the safety net's time, so each looks less often the more there are."""
        return self.settings.safety_net * max(1, self._store.waiting.asleep())


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


class _Ears:
    """Who in this process waits for its doorbell: one future each, on whatever loop the waiter runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[asyncio.Future[None], bool] = {}
        """Who waits, and whether also for deaths."""
        self._lock = ThreadLock()

    @contextmanager
    def listening(self, *, deaths: bool = False) -> Iterator[asyncio.Future[None]]:
        """A future that is done when the bell rings, or with `deaths` when a process ends that may have been bound to a
        thread. Listen before looking, so that no ring is missed.
        """
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[None] = loop.create_future()
        bell = self._store.doorbell.open()
        watch = self._store.waiting.deaths() if deaths else -1
        with self._lock:
            self._waiting[heard] = deaths
        try:
            loop.add_reader(bell, self._heard)
            if deaths:
                loop.add_reader(watch, self._saw_death)
            yield heard
        finally:
            with self._lock:
                del self._waiting[heard]
                others = [also for other, also in self._waiting.items() if other.get_loop() is loop]
            if deaths and not any(others):
                loop.remove_reader(watch)
            if not others:
                loop.remove_reader(bell)

    def _saw_death(self) -> None:
        self._store.waiting.note_deaths()
        self.wake_all()

    def _heard(self) -> None:
        self._store.doorbell.silence()
        self.wake_all()

    def wake_all(self) -> None:
        """Let everybody look again."""
        here = _running_loop()
        with self._lock:
            for future in self._waiting:
                if future.get_loop() is here:
                    _finish(future)
                    continue
                with suppress(RuntimeError):  # its loop is closed: nobody waits there any more
                    future.get_loop().call_soon_threadsafe(_finish, future)


class _Deadline:
    """What is left of a timeout, None being no end."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s

    @property
    def over(self) -> bool:
        return self._end is not None and asyncio.get_running_loop().time() >= self._end

    async def wait(self, future: asyncio.Future[None], at_most_s: float) -> None:
        """Wait for the future, no longer than the deadline and `at_most_s`."""
        if self._end is not None:
            at_most_s = min(at_most_s, max(0.0, self._end - asyncio.get_running_loop().time()))
        await asyncio.wait((future,), timeout=at_most_s)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


#: One set of ears per store of this process: whoever hears its doorbell wakes all.
_ears: WeakKeyDictionary[Store, _Ears] = WeakKeyDictionary()


def _ears_of(store: Store) -> _Ears:
    return _ears.setdefault(store, _Ears(store))
