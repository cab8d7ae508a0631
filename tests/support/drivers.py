"""Every driver that the contracts run on, and what each of them can do.

A test asks for capabilities (`@pytest.mark.requires("bounded")`), never for a driver by name.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from shardq.handler import drive
from shardq.model import Ending
from shardq.protocols import Lock, Movable, Storage
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.tasks import busy

MIB = 1 << 20
#: How many partitions a storage on one server has here, and in a cluster: a multiple of that.
PARTITIONS, MOST_PARTITIONS = 3, 6

#: What a driver may be able to do, and what a test may require.
CAPABILITIES = {
    "bounded": "can be given a capacity, which all tubes share, or those of a partition where there are such",
    "immediate": "verbs do not suspend where they need not wait",
    "lifelong_claims": "a claim lasts as long as its holder lives, whatever its time to live",
    "lone_locks": "a lock works before it is given a storage",
    "moves": "what it holds can move to another storage",
    "multiprocess": "other processes can open the same storage",
    "one_grave": "has all letters of a handler in one place, with one bound",
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
    movable: Movable | None = None
    """The storage as a move sees it."""
    url: str = ""


@dataclass(frozen=True)
class Driver:
    name: str
    make: Callable[[int | None], Backend]
    """A new, empty backend of the given capacity in bytes, or of so many for each partition; None: whatever suits small
    tests.
    """
    capabilities: frozenset[str]
    attach: Callable[[str], Backend] | None = None
    """The same backend from another process, by its address."""
    lone_lock: Callable[[], Lock] | None = None
    """A lock without a storage."""
    tell_of_death: Callable[[str, int], None] | None = None
    """Tells the storage of this address that the process of this pid is dead, where only its supervisor can know."""


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
        found = storage.store.checking.wrongs()
        storage.destroy()
        await storage.close()
        assert not found, "\n".join(found)

    return _shared_backend(storage, name, discard)


def make_shared_with_one_slot(capacity_bytes: int | None) -> Backend:
    """And with no core in C, where the others have it."""
    from tests.support.engines import using

    with using("python"):
        return make_shared(capacity_bytes, slots=1)


def make_shared_in_small_steps(capacity_bytes: int | None) -> Backend:
    """Records of at most 2 KiB where messages allow it, in extents of the smallest class: tubes change extents all the
    time."""
    from shardq.shm import words
    from shardq.shm.tubes import fifo_writer

    usual = _usual_steps()
    fifo_writer._PIECE_BYTES, words.LARGEST_GROWTH_CLASS = 2048, 0
    backend = make_shared(capacity_bytes)

    async def discard() -> None:
        fifo_writer._PIECE_BYTES, words.LARGEST_GROWTH_CLASS = usual
        await backend.discard()

    return replace(backend, discard=discard)


@cache
def _usual_steps() -> tuple[int, int]:
    """As they are before the first small ones: a test may have several storages, and discard them in any order."""
    from shardq.shm import words
    from shardq.shm.tubes import fifo_writer

    return fifo_writer._PIECE_BYTES, words.LARGEST_GROWTH_CLASS


def attach_shared(address: str) -> Backend:
    from shardq.drivers.shared.storage import SharedStorage

    storage = SharedStorage.attach(address)
    return _shared_backend(storage, address, storage.close)


def _shared_backend(storage: Any, name: str, discard: Callable[[], Awaitable[None]]) -> Backend:
    from shardq.drivers.shared.moving import MovableSegment
    from shardq.drivers.shared.storage import SharedLock

    family, url = storage.store.supervision, f"shm://{name}"
    deaths = family.excuse, family.note_death
    return Backend(storage, lambda: SharedLock(storage), discard, name, *deaths, MovableSegment(storage), url)


def make_redis(capacity_bytes: int | None, partitions: int | None = None, url: str = "") -> Backend:
    from shardq.drivers.redis.check import wrongs
    from tests.support.redis_server import MINIMAL, miscounted, running_server

    address = f"{url or f'redis+unix://{MINIMAL}:any@{running_server().socket}'} {segment_name()}_"
    backend = attach_redis(address, capacity_bytes and capacity_bytes * (partitions or 1), partitions)
    storage: Any = backend.storage
    server = storage.server
    drive(server.layout())  # whose URL is opened next need not say how many partitions there are
    storage.turning.round_s = 0.0

    def is_busy() -> bool:
        return bool(server.busy)

    busy.append(is_busy)

    async def discard() -> None:
        busy.remove(is_busy)
        found = await wrongs(server) + await miscounted(server)
        await server.destroy()
        await backend.discard()
        assert not found, "\n".join(found)

    return replace(backend, discard=discard)


def make_redis_of_before(capacity_bytes: int | None) -> Backend:
    """On the oldest server that may be, by the other version of the protocol than the others."""
    from tests.support.redis_server import packaged_redis, running_server

    return make_redis(capacity_bytes, url=f"{running_server(packaged_redis()).url}?protocol={5 - redis_protocol()}")


def make_redis_in_partitions(capacity_bytes: int | None) -> Backend:
    return make_redis(capacity_bytes, partitions=PARTITIONS)


def make_redis_cluster(capacity_bytes: int | None) -> Backend:
    from tests.support.redis_cluster import running_cluster

    return make_redis(capacity_bytes, MOST_PARTITIONS, running_cluster().url)


def attach_redis(address: str, capacity_bytes: int | None = None, partitions: int | None = None) -> Backend:
    from shardq.drivers import RedisLock, RedisStorage
    from shardq.drivers.redis.moving import MovableServer

    storage = _redis_storage(address, capacity_bytes, partitions)

    def excuse(pid: int) -> None:
        redis_owner(address, pid, excused=True)

    def note_death(pid: int, ending: Ending) -> None:
        redis_owner(address, pid, ending=ending)

    assert isinstance(storage, RedisStorage)
    return Backend(
        storage,
        lambda: RedisLock(storage),
        storage.close,
        address,
        excuse,
        note_death,
        MovableServer(storage),
        _operators_url(address),
    )


def _operators_url(address: str) -> str:
    """The URL of the same storage for the user who may do everything."""
    url, _, prefix = address.partition(" ")
    scheme, _, place = url.partition("://")
    place = place.rpartition("@")[2]
    return f"{scheme}://{place}{'&' if '?' in place else '?'}prefix={prefix}"


def lone_redis_lock() -> Lock:
    from shardq.drivers import RedisLock
    from shardq.drivers.redis.connections.address import Address
    from shardq.settings import LockSettings
    from tests.support.redis_server import MINIMAL, running_server

    address = Address(path=str(running_server().socket), username=MINIMAL, password="any")
    return RedisLock(address, LockSettings(prefix=f"{segment_name()}_"))


def tell_redis_of_death(address: str, pid: int) -> None:
    redis_owner(address, pid, ending=Ending())


def redis_owner(address: str, pid: int, *, ending: Ending | None = None, excused: bool = False) -> None:
    """What a supervisor says of a worker. It has named it; here its name is found by its claims."""
    from shardq.drivers.redis.verbs.owners import Owner

    storage = _redis_storage(address)
    layout = drive(storage.server.layout())
    for partition in range(layout.partitions):
        members = drive(storage.server.ask(b"ZRANGE", layout.key(partition, "OWNERS"), b"0", b"-1"))
        names = {member.partition(b"\0")[0].decode() for member in members}
        owners = [name for name in names if Owner.named(name).pid == pid]
        drive(storage.of_owner(*owners, ending=ending, excused=excused))
    drive(storage.close())


def _redis_storage(address: str, capacity_bytes: int | None = None, partitions: int | None = None) -> Any:
    from shardq.drivers.redis.connecting import storage_of

    url, _, prefix = address.partition(" ")
    if "?" not in url:
        url += f"?protocol={redis_protocol()}"
    if partitions:
        url += f"&partitions={partitions}"
    return storage_of(url, StorageSettings(prefix=prefix, capacity_bytes=capacity_bytes))


def redis_protocol() -> int:
    """The version of the protocol that is spoken with a server."""
    from tests.support.redis_server import PROTOCOL

    return int(os.environ.get(PROTOCOL, "2"))


_ON_A_SERVER = frozenset({"bounded", "lone_locks", "moves", "multiprocess", "noted_deaths", "time_leases"})

DRIVERS = (
    Driver(
        "runtime",
        make_runtime,
        frozenset({"one_grave", "bounded", "immediate", "lone_locks", "time_leases"}),
        lone_lock=lone_runtime_lock,
    ),
    Driver(
        "shared",
        make_shared,
        frozenset(
            {
                "one_grave",
                "bounded",
                "immediate",
                "lifelong_claims",
                "moves",
                "multiprocess",
                "noted_deaths",
            }
        ),
        attach=attach_shared,
    ),
    Driver(
        "redis",
        make_redis,
        _ON_A_SERVER | {"one_grave"},
        attach=attach_redis,
        lone_lock=lone_redis_lock,
        tell_of_death=tell_redis_of_death,
    ),
    Driver(
        "redis, 6.2",
        make_redis_of_before,
        _ON_A_SERVER | {"one_grave"},
        attach=attach_redis,
        lone_lock=lone_redis_lock,
        tell_of_death=tell_redis_of_death,
    ),
    Driver(
        "redis, partitions",
        make_redis_in_partitions,
        _ON_A_SERVER,
        attach=attach_redis,
        lone_lock=lone_redis_lock,
        tell_of_death=tell_redis_of_death,
    ),
    Driver(
        "redis, cluster",
        make_redis_cluster,
        _ON_A_SERVER,
        attach=attach_redis,
        lone_lock=lone_redis_lock,
        tell_of_death=tell_redis_of_death,
    ),
    Driver(
        "shared, one slot, in Python",
        make_shared_with_one_slot,
        frozenset({"one_grave", "bounded", "immediate", "lifelong_claims", "moves"}),
    ),
    Driver(
        "shared, small steps",
        make_shared_in_small_steps,
        frozenset({"one_grave", "bounded", "immediate", "lifelong_claims", "moves"}),
    ),
)

#: One of each technology. The others keep the same contract in another arrangement of the same memory, which nothing
#: above a driver can see.
ONE_OF_EACH = tuple(driver for driver in DRIVERS if "," not in driver.name)


def driver_named(name: str) -> Driver:
    return next(driver for driver in DRIVERS if driver.name == name)


def tell_of_death(name: str, address: str, pid: int) -> None:
    """Tell the storage of a death that only a supervisor can know of."""
    tell = driver_named(name).tell_of_death
    if tell:
        tell(address, pid)
