"""Every driver that the contracts run on, and what each of them can do.

A test asks for capabilities (`@pytest.mark.requires("bounded")`), never for a driver by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from shardq.model import Ending
from shardq.protocols import Lock, Storage
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name

MIB = 1 << 20

#: What a driver may be able to do, and what a test may require.
CAPABILITIES = {
    "bounded": "can be given a capacity",
    "immediate": "verbs do not suspend where they need not wait",
    "lifelong_claims": "a claim lasts as long as its holder lives, whatever its time to live",
    "lone_locks": "a lock works before it is given a storage",
    "multiprocess": "other processes can open the same storage",
    "noted_deaths": "a supervisor writes down how processes end",
    "time_leases": "a claim with a time to live ends by itself",
}


@dataclass(frozen=True)
class Backend:
    """One storage of a test, and what can be made over it."""

    storage: Storage
    new_lock: Callable[[], Lock]
    discard: Callable[[], Awaitable[None]]
    """Ends it, with everything stored in it."""
    address: str = ""
    """What `Driver.attach` takes in another process."""
    excuse: Callable[[int], None] | None = None
    """Writes down that the process of this pid will be ended on purpose."""
    note_death: Callable[[int, Ending], None] | None = None
    """Writes down how the process of this pid ended."""


@dataclass(frozen=True)
class Driver:
    name: str
    make: Callable[[int | None], Backend]
    """A new, empty backend of the given capacity in bytes; None: whatever suits small tests."""
    capabilities: frozenset[str]
    attach: Callable[[str], Backend] | None = None
    """The same backend from another process, by its address."""
    lone_lock: Callable[[], Lock] | None = None
    """A lock without a storage."""


def make_runtime(capacity_bytes: int | None) -> Backend:
    from shardq.drivers import RuntimeLock, RuntimeStorage

    storage = RuntimeStorage(StorageSettings(capacity_bytes=capacity_bytes))
    return Backend(storage, lambda: RuntimeLock(storage), storage.close)


def lone_runtime_lock() -> Lock:
    from shardq.drivers import RuntimeLock

    return RuntimeLock()


def make_shared(capacity_bytes: int | None, **options: int) -> Backend:
    from shardq.drivers.shared.storage import SharedStorage

    name = segment_name()
    storage = SharedStorage.create(name, capacity_bytes=capacity_bytes or 8 * MIB, **options)

    async def discard() -> None:
        storage.destroy()
        await storage.close()

    return _shared_backend(storage, name, discard)


def make_shared_with_one_slot(capacity_bytes: int | None) -> Backend:
    return make_shared(capacity_bytes, slots=1)


def make_shared_in_small_steps(capacity_bytes: int | None) -> Backend:
    """Records of at most 2 KiB where messages allow it, in extents of the smallest class: tubes change extents all the
    time."""
    from shardq.shm import words
    from shardq.shm.tubes import fifo_writer

    usual = fifo_writer._PIECE_BYTES, words.LARGEST_GROWTH_CLASS
    fifo_writer._PIECE_BYTES, words.LARGEST_GROWTH_CLASS = 2048, 0
    backend = make_shared(capacity_bytes)

    async def discard() -> None:
        fifo_writer._PIECE_BYTES, words.LARGEST_GROWTH_CLASS = usual
        await backend.discard()

    return replace(backend, discard=discard)


def attach_shared(address: str) -> Backend:
    from shardq.drivers.shared.storage import SharedStorage

    storage = SharedStorage.attach(address)
    return _shared_backend(storage, address, storage.close)


def _shared_backend(storage: Any, name: str, discard: Callable[[], Awaitable[None]]) -> Backend:
    from shardq.drivers.shared.storage import SharedLock

    family = storage.store.supervision
    return Backend(storage, lambda: SharedLock(storage), discard, name, family.excuse, family.note_death)


DRIVERS = (
    Driver(
        "runtime",
        make_runtime,
        frozenset({"bounded", "immediate", "lone_locks", "time_leases"}),
        lone_lock=lone_runtime_lock,
    ),
    Driver(
        "shared",
        make_shared,
        frozenset({"bounded", "immediate", "lifelong_claims", "multiprocess", "noted_deaths"}),
        attach=attach_shared,
    ),
    Driver("shared, one slot", make_shared_with_one_slot, frozenset({"bounded", "immediate", "lifelong_claims"})),
    Driver("shared, small steps", make_shared_in_small_steps, frozenset({"bounded", "immediate", "lifelong_claims"})),
)

#: One of each technology. The others keep the same contract in another arrangement of the same memory, which nothing
#: above a driver can see.
ONE_OF_EACH = tuple(driver for driver in DRIVERS if "," not in driver.name)


def driver_named(name: str) -> Driver:
    return next(driver for driver in DRIVERS if driver.name == name)
