"""The in-memory driver, and the reference for every other one: a storage and its lock inside one process.

What is stored is plain Python (`runtime_threads`) behind one `threading.Lock`, so any thread and any event loop of the
process may use the same storage. Who has to wait leaves a future in a `_Bell`, which is rung through the loop that the
future belongs to. For work and for room, everybody is woken and looks again: a wake-up that reaches a cancelled waiter,
or one that has no use for it, is then not lost to the others.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

from shardq.drivers.runtime_threads import Threads, Tube
from shardq.errors import MessageTooLarge
from shardq.model import EMPTY, Batch, key_of
from shardq.protocols import Backlog, Serves
from shardq.settings import LockSettings, StorageSettings

#: Of a bounded storage one part in so many is kept for dead letters; half of that what handlers register may use.
_RESERVE_PART, _FOLLOW_UP_PART = 16, 32


class _Bell:
    """Wakes coroutines of any loop from any thread. Join, leave and ring it under the lock of its storage."""

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[None]] = set()

    def join(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        return future

    def leave(self, future: asyncio.Future[None]) -> None:
        self._futures.discard(future)

    def ring(self) -> None:
        for future in self._futures:
            try:
                future.get_loop().call_soon_threadsafe(_resolve, future)
            except RuntimeError:
                continue  # its loop was closed while it waited: nobody is left to wake
        self._futures.clear()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class RuntimeStorage:
    """`Storage` in memory. What it holds ends with the process.

    `settings.capacity_bytes` bounds the sum of the message lengths; None, the default, means no bound. `clock` gives
    the seconds by which leases end.
    """

    importable_only = False

    def __init__(self, settings: StorageSettings | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings or StorageSettings()
        self._lock = threading.Lock()
        self._work, self._room, self._quiet = _Bell(), _Bell(), _Bell()
        self._threads = Threads(self._work.ring, clock, _now_us)
        self._graves: dict[str, Tube] = {}
        self._bytes = 0
        self._accepted = 0
        self._handled = 0

    def check(self, pipe: str, messages: Sequence[bytes]) -> None:
        size = sum(map(len, messages))
        if not self._fits(size, empty=True):
            raise MessageTooLarge(
                f"{len(messages)} messages of {size} bytes for {pipe} can never fit a storage of "
                f"{self.settings.capacity_bytes} bytes: register fewer at a time, or give it more capacity"
            )

    async def append(self, pipe: str, messages: Sequence[bytes], *, follow_up: bool = False) -> bool:
        with self._lock:
            return self._append(pipe, messages, _FOLLOW_UP_PART if follow_up else _RESERVE_PART)

    async def contains(self, pipe: str, message: bytes) -> bool:
        with self._lock:
            tube = self._threads.tube(pipe)
            return tube is not None and message in tube.messages

    async def length(self, pipe: str) -> int:
        with self._lock:
            tube = self._threads.tube(pipe)
            return len(tube.messages) if tube else 0

    async def pipes(self) -> list[str]:
        with self._lock:
            return list(self._threads.pipes())

    async def range(self, pipe: str, limit: int) -> Batch:
        with self._lock:
            tube = self._threads.tube(pipe) or self._graves.get(pipe)
            return tube.head(limit) if tube else EMPTY

    async def take(self, pipes: Sequence[str], limit: int, token: int, timeout_s: float | None = None) -> Batch:
        """See `Storage.take`; nobody ends a batch that takes longer than `timeout_s`. Raises `FencedError`."""
        with self._lock:
            self._threads.check(key_of(pipes[0]), token)
            return self._threads.take(pipes, limit, token)

    async def pop(self, pipe: str, through: int, token: int) -> None:
        with self._lock:
            self._threads.check(key_of(pipe), token)
            self._departed(self._threads.drop_below(pipe, through))

    async def fail(self, pipe: str, token: int, *, counts: bool = True) -> int:
        with self._lock:
            self._threads.check(key_of(pipe), token)
            tube = self._threads.tube(pipe)
            return tube.fail(token, _now_us(), counts=counts) if tube else 0

    async def bury(self, pipe: str, sequence: int, token: int, grave: str, letter: bytes) -> bool:
        with self._lock:
            self._threads.check(key_of(pipe), token)
            tube = self._threads.tube(pipe)
            if tube is None or not tube.messages or tube.head_sequence != sequence:
                return True
            # The message makes room for its letter.
            if not self._make_room_in(grave, len(letter) - len(tube.messages[0])):
                return False
            self._graves.setdefault(grave, Tube(1)).add([letter])
            self._bytes += len(letter)
            self._departed(self._threads.drop_below(pipe, sequence + 1))
            return True

    async def graves(self) -> list[str]:
        with self._lock:
            return [pipe for pipe, grave in self._graves.items() if grave.messages]

    async def requeue(self, grave: str, sequence: int, pipe: str, message: bytes) -> bool | None:
        with self._lock:
            letters = self._graves.get(grave)
            if letters is None or not letters.has(sequence):
                return None
            if not self._append(pipe, [message]):
                return False
            self._bytes -= len(letters.drop_one(sequence) or b"")
            self._room.ring()
            return True

    async def drop(self, grave: str, *sequences: int) -> int:
        with self._lock:
            letters = self._graves.get(grave)
            dropped = [letter for n in sequences if letters and (letter := letters.drop_one(n)) is not None]
            self._bytes -= sum(map(len, dropped))
            self._room.ring()
            return len(dropped)

    async def remove(self, pipe: str, *messages: bytes) -> int:
        with self._lock:
            dropped = self._threads.drop_equal(pipe, set(messages))
            self._departed(dropped)
            return len(dropped)

    async def wait(self, serves: Serves, timeout_s: float | None = None, bound: str | None = None) -> str | None:
        """See `Storage.wait`. `serves` is called under the storage's lock, so it must not call the storage."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self._lock:
                key = self._threads.next_ready(serves, bound)
                left_s = None if deadline is None else deadline - time.monotonic()
                if key is not None or (left_s is not None and left_s <= 0):
                    return key
                end_s = self._threads.next_end_s()
                rung = self._work.join()
            pause_s = min((span for span in (left_s, end_s) if span is not None), default=None)
            await self._heard(self._work, rung, pause_s)

    async def append_when_room(self, pipe: str, messages: Sequence[bytes], timeout_s: float | None = None) -> bool:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self._lock:
                if self._append(pipe, messages):
                    return True
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return False
                rung = self._room.join()
            await self._heard(self._room, rung, left_s)

    async def wait_for_quiet(self, timeout_s: float | None = None) -> bool:
        with self._lock:
            if self._accepted == self._handled:
                return True
            rung = self._quiet.join()
        return await self._heard(self._quiet, rung, timeout_s)

    async def backlog(self) -> Backlog:
        with self._lock:
            dead = sum(len(grave.messages) for grave in self._graves.values())
            return Backlog(self._accepted - self._handled, self._accepted, self._handled, dead)

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
            self._work.ring()  # who waits has to reckon with the end of the pause
            return released

    async def lease(self, key: str, token: int, seconds: float) -> bool:
        """Let the claim end `seconds` from now. Returns whether `token` is the current claim on `key`."""
        with self._lock:
            held = self._threads.lease(key, token, seconds)
            self._work.ring()  # who waits has to reckon with the new end
            return held

    def _append(self, pipe: str, messages: Sequence[bytes], kept_part: int | None = _RESERVE_PART) -> bool:
        if not messages:
            return True
        self.check(pipe, messages)
        size = sum(map(len, messages))
        if not self._fits(size, kept_part):
            return False
        self._bytes += size
        self._accepted += len(messages)
        self._threads.add(pipe, messages)
        return True

    def _fits(self, size: int, kept_part: int | None = _RESERVE_PART, *, empty: bool = False) -> bool:
        """Whether there is room for so many bytes, with one part in so many kept free; `empty`: were there nothing."""
        capacity = self.settings.capacity_bytes
        if capacity is None:
            return True
        kept = capacity // kept_part if kept_part else 0
        return (0 if empty else self._bytes) + size <= capacity - kept

    def _make_room_in(self, grave: str, size: int) -> bool:
        """Drop letters, the oldest first, until there may be and can be one more."""
        letters, capacity = self._graves.get(grave), self.settings.capacity_bytes
        held = sum(map(len, letters.messages)) if letters else 0
        if not self._fits(size - held, None):
            return False
        while letters and letters.messages:
            too_many = len(letters.messages) >= self.settings.dead_letters
            too_large = capacity is not None and held + size > capacity // _RESERVE_PART
            if self._fits(size, None) and not too_many and not too_large:
                return True
            [oldest] = letters.drop_below(letters.head_sequence + 1)
            held -= len(oldest)
            self._bytes -= len(oldest)
        return self._fits(size, None)

    def _departed(self, dropped: Sequence[bytes]) -> None:
        if not dropped:
            return
        self._handled += len(dropped)
        self._bytes -= sum(map(len, dropped))
        self._room.ring()
        if self._accepted == self._handled:
            self._quiet.ring()

    async def _heard(self, bell: _Bell, rung: asyncio.Future[None], timeout_s: float | None) -> bool:
        """Whether the bell was rung in time. The one method here that suspends: never under the lock."""
        try:
            done, _ = await asyncio.wait((rung,), timeout=timeout_s)
            return bool(done)
        finally:
            with self._lock:
                bell.leave(rung)


class RuntimeLock:
    """`Lock` in memory, held until it is released or its lease, where `ttl` gave it one, has run out.

    Without a storage it keeps its claims in one of its own, until `storage` is assigned.
    """

    def __init__(self, storage: RuntimeStorage | None = None, settings: LockSettings | None = None) -> None:
        self.storage = storage
        self.settings = settings or LockSettings()
        self._making = threading.Lock()
        # Not put into `storage`: there it would look as if somebody had chosen it.
        self._own_storage: RuntimeStorage | None = None
        # With the storage that gave the token, since `storage` may change while a claim is held.
        self._held: dict[str, tuple[RuntimeStorage, int]] = {}

    async def acquire(self, key: str) -> int:
        storage = self._current_storage()
        token = await storage.claim(key)
        if token:
            self._held[key] = storage, token
        return token

    async def exists(self, key: str) -> bool:
        return await self._current_storage().claimed(key)

    async def release(self, key: str, pause_s: float = 0.0) -> bool:
        held = self._held.pop(key, None)
        if held is None:
            return False
        storage, token = held
        return await storage.unclaim(key, token, pause_s)

    async def ttl(self, key: str, seconds: float) -> bool:
        if seconds <= 0:
            return await self.release(key)
        held = self._held.get(key)
        if held is None:
            return False
        storage, token = held
        return await storage.lease(key, token, seconds)

    def _current_storage(self) -> RuntimeStorage:
        if self.storage is not None:
            return self.storage
        with self._making:
            if self._own_storage is None:
                self._own_storage = RuntimeStorage()
            return self._own_storage


def _now_us() -> int:
    return time.time_ns() // 1000
