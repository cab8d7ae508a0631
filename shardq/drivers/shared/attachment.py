"""A segment that this process is attached to: made or found, let go of, and how its calls wait for the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TypeVar

from shardq.behind import behind
from shardq.drivers.shared.waiters import ears_of, limit_of_coroutines, until_free
from shardq.errors import SegmentBusy, SegmentMissing
from shardq.settings import StorageSettings, check_capacity
from shardq.shm import registry as shm
from shardq.shm.files.lock_bytes import PATIENCE_S
from shardq.shm.processes.shares import Share
from shardq.shm.store import Store
from shardq.shm.words import DEFAULT_SLOTS

_Result = TypeVar("_Result")


class Attachment:
    """Made by `create`, `attach` or `attach_again`; ended by `close`, `detach` or `destroy`."""

    def __init__(self, store: Store, settings: StorageSettings | None = None) -> None:
        self.settings = settings or StorageSettings()
        self._store = store
        self.ears = ears_of(store)
        self._closed = False
        self.limit_waits(None)

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
        share: Share = Share.GENERAL,
    ) -> Self:
        """Create the segment `name` and attach to it.

        `capacity_bytes` bounds its memory, by default the least of 512 MiB, half of what /dev/shm has free and half of
        what the control group may have. `threads` bounds the threads and tubes that have messages at one time, by
        default one per 4 KiB of capacity and at most 65,536, and 131,006 at the most; `slots` the processes that are
        attached at one time, beside a supervisor and its workers, for whom more are kept. A `private` segment ends with
        its supervisor, whatever is in it. `share` says which slots are for this process.

        Raises `SegmentExists`, `SegmentNoRoom`, `SegmentUntrusted`, `SegmentUnavailable`, `ConfigurationError`.
        """
        settings = settings or StorageSettings()
        capacity = settings.capacity_bytes if capacity_bytes is None else capacity_bytes
        if capacity is not None:
            check_capacity(capacity)
        store = shm.create_store(name, capacity, threads=threads, slots=slots, private=private, share=share)
        return cls(store, settings)

    @classmethod
    def attach(
        cls,
        name: str,
        settings: StorageSettings | None = None,
        share: Share = Share.GENERAL,
        patience_s: float = PATIENCE_S,
    ) -> Self:
        """Attach to the segment `name`, with a slot of this share. Where another process is stopped while it attaches,
        wait for it no longer than `patience_s`.

        Raises `SegmentMissing`, `SegmentNotReady`, `SegmentVersionError`, `SegmentForeign`, `SegmentUntrusted`,
        `SegmentUnavailable`, `SlotsExhausted`, `SegmentBusy`.
        """
        return cls(shm.attach_store(name, share, patience_s), settings)

    @classmethod
    def attach_again(cls, name: str, descriptor: int, slot: int) -> Self:
        """Attach to the segment `name` again, in a process that executed itself anew meanwhile: see `Store.hold`."""
        return cls(shm.resume_store(name, descriptor, slot))

    @property
    def name(self) -> str:
        return self._store.segment.name

    @property
    def capacity_bytes(self) -> int:
        """The bound of the segment's memory."""
        return self._store.segment.layout.capacity_bytes

    @property
    def store(self) -> Store:
        """The segment without asyncio, for the other modules of this driver. No code above it reaches through it."""
        return self._store

    def limit_waits(self, seconds: float | None) -> None:
        """Set how long calls of this process wait for a guard that others do not leave before they raise `SegmentBusy`.
        None, which is the default: coroutines give their loop its turn meanwhile, other code waits as long as it takes.
        """
        self._waits_are_limited = seconds is not None
        self._store.patience.usual = limit_of_coroutines if seconds is None else lambda: seconds

    async def close(self) -> None:
        """Detach. What is stored stays; other objects of this process on the same segment stay attached."""
        self.detach()

    def detach(self) -> None:
        """As `close`, for code without an event loop."""
        if not self._closed:
            self._closed = True
            self.ears.hear_no_more()
            shm.close_store(self._store)
            self.ears.wake_all()

    def destroy(self) -> None:
        """Unlink the segment with everything in it, not another one that has its name by now, and detach."""
        with suppress(SegmentMissing):
            if self._closed:
                shm.destroy(self.name, inode=self._store.segment.inode)
            else:
                self._closed = True
                self.ears.hear_no_more()
                shm.destroy_store(self._store)
        self.ears.wake_all()

    async def patiently(self, verb: Callable[[], _Result]) -> _Result:
        """The result of a verb, which is called again where it found the guard held."""
        try:
            return verb()
        except SegmentBusy:
            return await self._until_free(verb)

    async def _until_free(self, verb: Callable[[], _Result]) -> _Result:
        """Call a verb again that found the guard held: once where waits have a limit, else until the guard is free."""
        if self._waits_are_limited:
            return verb()
        return await until_free(verb)

    async def _even_if_cancelled(self, verb: Callable[[], _Result]) -> _Result:
        """As `_until_free`; where the caller is cancelled meanwhile, the verb is called all the same."""
        if self._waits_are_limited:
            return verb()
        return await asyncio.shield(behind(until_free(verb)))
