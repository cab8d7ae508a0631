"""`replicas=` and `fsync=`: what was registered counts when enough copies of it were confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shardq import Queue
from shardq.drivers.redis.connecting import connected
from shardq.drivers.redis.connections import copies
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.moving import MovableServer
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import ConfigurationError, StorageUnconfirmed
from shardq.handler import drive
from shardq.model import Chunk, Counts, Figures, Place, When
from tests.support.jobs import Note, Record
from tests.support.ports import free_ports
from tests.support.redis_proxy import proxied
from tests.support.redis_server import Server, packaged_redis, packaged_valkey
from tests.support.tasks import eventually, finished, suspended

PIPE = "app.jobs/Resize/7/0"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    """A master and its replica."""
    master = Server(packaged_valkey(), "--appendonly", "yes", "--repl-diskless-sync-delay", "0", port=free_ports(1)[0])
    replica = Server(packaged_valkey(), "--appendonly", "yes", "--replicaof", f"127.0.0.1 {master.port}")
    master.start()
    replica.start()
    yield master, replica
    replica.end()
    master.end()


@pytest.fixture
async def both(pair: tuple[Server, Server]) -> AsyncIterator[tuple[Server, Server]]:
    master, replica = pair
    await eventually(lambda: replica.figure("replication", "master_link_status") == "up", "the replica is there")
    yield pair
    replica.go_on()
    master.ask("FLUSHALL")


def storage_at(server: Server, *, replicas: int = 1, fsync: bool = False) -> RedisStorage:
    return RedisStorage(Address(path=str(server.socket)), replicas=replicas, fsync=fsync)


@pytest.fixture
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_WAIT_MS", 50)


async def has(storage: RedisStorage, number: int) -> bool:
    return (await storage.backlog()).queued == number


async def made_again(master: Server) -> None:
    """Wait until calls that lack copies have been made three more times."""

    def waits() -> int:
        return int(master.figure("commandstats", "cmdstat_wait").partition(",")[0].removeprefix("calls="))

    enough = waits() + 3
    await eventually(lambda: waits() >= enough, "they are made again")


@pytest.mark.parametrize("fsync", [False, True])
async def test_what_was_registered_is_on_the_replica(both: tuple[Server, Server], fsync: bool) -> None:
    master, replica = both
    storage = storage_at(master, fsync=fsync)
    assert await storage.append([(PIPE, [b"a"])]) == 1
    assert await storage.append([(PIPE, [b"b"])], when=When(after_us=10**12)) == 1
    [state] = replica.ask("KEYS", "*state")
    assert replica.ask("GET", state.decode()) == master.ask("GET", state.decode())
    assert drive(storage.append([(PIPE, [b"c"])])) == 1
    assert replica.ask("GET", state.decode()) == master.ask("GET", state.decode())
    assert await storage.backlog() == Counts(2, 0, deferred=1)
    await storage.close()


@pytest.mark.usefixtures("_short_waits")
async def test_what_moved_is_on_the_replica_before_it_is_the_targets(both: tuple[Server, Server]) -> None:
    master, replica = both
    storage = storage_at(master)
    movable, figures = MovableServer(storage), Figures(token=0, buried=0, evicted=0)
    await movable.arrive(7, "shm://before")
    await movable.store(7, Chunk(0, Place.TUBE, PIPE, [b"a"]))
    await movable.settle(7, 1, figures)
    replica.stop()

    again = await suspended(movable.settle(7, 1, figures))
    await made_again(master)
    assert not again.done()
    opening = await suspended(movable.open(7))
    await made_again(master)
    assert not opening.done()
    replica.go_on()

    await finished(again)
    await finished(opening)
    [state] = replica.ask("KEYS", "*state")
    assert replica.ask("GET", state.decode()) == master.ask("GET", state.decode())
    await storage.close()


async def in_thread_of_its_own(queue: Queue, some: list[Note]) -> None:
    """Without an event loop."""
    await asyncio.to_thread(queue.register_sync, Record, *some)


@pytest.mark.usefixtures("_short_waits")
@pytest.mark.parametrize("plainly", [False, True])
async def test_without_its_copy_a_call_says_what_is_stored_and_what_not(
    both: tuple[Server, Server], plainly: bool
) -> None:
    master, replica = both
    storage = storage_at(master)
    queue = Queue(storage)
    await queue.register(Record, Note("", 0))
    replica.stop()
    storage.server.most_patience_s = 0.0
    some = [Note("", number, number) for number in range(1, 600)]
    register = in_thread_of_its_own(queue, some) if plainly else queue.register(Record, *some)
    with pytest.raises(StorageUnconfirmed, match=r"0 of 1 replica confirmed it.*Do not register it again") as told:
        await register

    most = storage.limits.parts
    assert [note.number for note in told.value.not_accepted] == list(range(most + 1, 600))
    assert (await storage.backlog()).queued == most + 1
    replica.go_on()
    storage.server.most_patience_s = None
    assert await queue.register(Record, *told.value.not_accepted) == 599 - most
    await queue.close()


@pytest.mark.usefixtures("_short_waits")
async def test_a_call_waits_for_its_copy_and_is_stored_once(both: tuple[Server, Server]) -> None:
    master, replica = both
    storage = storage_at(master)
    await storage.append([(PIPE, [b"first"])])
    replica.stop()
    waiting = [await suspended(storage.append([(PIPE, [b"%d" % number])])) for number in range(20)]
    await eventually(lambda: has(storage, 21), "all are stored")  # and others are not held up
    await made_again(master)
    assert not any(task.done() for task in waiting)
    replica.go_on()
    assert [await finished(task) for task in waiting] == [1] * 20

    assert (await storage.range(PIPE, 100)).messages == [b"first", *(b"%d" % number for number in range(20))]
    await storage.close()


@pytest.mark.usefixtures("_short_waits")
async def test_a_call_that_is_made_again_over_another_connection_does_not_count_as_copied(
    both: tuple[Server, Server], tmp_path: Path
) -> None:
    """There the server has seen no write yet, and would say that all of it is copied."""
    master, replica = both
    async with proxied(tmp_path, master.socket) as proxy:
        storage = RedisStorage(Address(path=str(proxy.socket)), replicas=1)
        await storage.append([(PIPE, [b"first"])])
        replica.stop()
        waiting = await suspended(storage.append([(PIPE, [b"second"])]))
        await eventually(lambda: has(storage, 2), "it is stored")
        before = proxy.connections
        proxy.cut()
        await eventually(lambda: proxy.connections > before, "it connects anew")
        await made_again(master)
        assert not waiting.done()
        replica.go_on()
        assert await finished(waiting) == 1
        assert (await storage.range(PIPE, 9)).messages == [b"first", b"second"]
        await storage.close()


async def test_what_a_worker_does_is_not_held_up(both: tuple[Server, Server]) -> None:
    master, replica = both
    storage = storage_at(master)
    await storage.append([(PIPE, [b"a"])])
    replica.stop()
    token = await storage.claim("app.jobs/Resize/7")
    assert token
    assert await storage.unclaim("app.jobs/Resize/7", token)
    await storage.close()


async def test_a_server_that_cannot_confirm_is_refused() -> None:
    old, forgetful = Server(packaged_redis()), Server(packaged_valkey())
    for server, message in ((old, r"Redis 7\.2"), (forgetful, "appendonly yes")):
        server.start()
        try:
            with pytest.raises(ConfigurationError, match=message):
                await connected(f"{server.url}?fsync=true")
        finally:
            server.end()


async def test_what_is_put_away_as_the_last_is_brought_on_is_brought_on_as_well() -> None:
    """In the turn of the loop in which the task ends that does so, before anything is told of that."""
    storage, looks = RedisStorage(Address(), replicas=1), list[str]()
    bring_on = storage._forwarding.bring_on

    def at_once() -> None:
        with suppress(StopIteration):
            bring_on(0).send(None)

    async def run(name: str, *_: object, **__: object) -> list[list[bytes]]:
        looks.append(name)
        if len(looks) == 1:
            asyncio.get_running_loop().call_soon(at_once)
        return [[]]

    vars(storage.server)["run"] = run
    await bring_on(0)

    await eventually(lambda: len(looks) == 2, "it is looked at again")
    assert storage._forwarding._behind == {}
