"""What a server can refuse, each time a real one: a call waits for its end, or says at once that it never ends."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from shardq.drivers.redis.connecting import connected, storage_of
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.connections.wire import PlainWire, Wire, packed
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.hands import hand_told, terms_told
from shardq.errors import ConfigurationError, StorageBusy, StorageClosed, StorageUnavailable
from shardq.handler import drive
from shardq.model import Hand, Terms, When
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.ports import free_ports
from tests.support.redis_proxy import proxied
from tests.support.redis_server import Server, program, removed_when_right, running_server
from tests.support.tasks import LIMIT_S, eventually, finished

HANDLER, PIPE = "app.jobs/Resize", "app.jobs/Resize/7/0"

#: Starts a server with these options, and gives it with a storage on it.
Started = Callable[..., tuple[Server, RedisStorage]]


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    there = list[tuple[Server, RedisStorage]]()

    def start(*options: str) -> tuple[Server, RedisStorage]:
        server = Server(program(), *options)
        server.start()
        there.append((server, RedisStorage(Address(path=str(server.socket)))))
        return there[-1]

    yield start
    for server, storage in there:
        await storage.close()
        server.end()


async def waits_for(storage: RedisStorage, end: Callable[[], object], reason: str) -> None:
    """An append is refused with such a reason until `end` was called, and then done."""
    storage.server.most_patience_s = 0.0
    with pytest.raises(StorageUnavailable, match=reason):
        await storage.append([(PIPE, [b"refused"])])
    with pytest.raises(StorageUnavailable, match=reason):
        drive(storage.append([(PIPE, [b"refused"])]))
    storage.server.most_patience_s = None
    waiting = asyncio.create_task(storage.append([(PIPE, [b"x"])]))
    await asyncio.sleep(0)
    end()
    assert await finished(waiting) == 1
    assert (await storage.range(PIPE, 99)).messages == [b"first", b"x"]


async def test_misconf_is_waited_out(started: Started) -> None:
    server, storage = started("--save", "3600", "1", "--dbfilename", "dump")
    await storage.append([(PIPE, [b"first"])])
    (server.folder / "dump").mkdir()  # so the server can write no snapshot
    (server.folder / "dump" / "in the way").touch()
    server.ask("BGSAVE")
    await eventually(lambda: server.figure("persistence", "rdb_last_bgsave_status") == "err", "the snapshot fails")
    await waits_for(storage, lambda: server.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "no"), "MISCONF")


async def test_readonly_is_waited_out(started: Started) -> None:
    server, storage = started()
    await storage.append([(PIPE, [b"first"])])
    server.ask("REPLICAOF", "127.0.0.1", "1")
    await waits_for(storage, lambda: server.ask("REPLICAOF", "NO", "ONE"), "READONLY")


async def test_readonly_leads_to_a_new_connection(started: Started) -> None:
    """The name of the server may stand for another one by now."""
    server, storage = started()
    await storage.append([(PIPE, [b"first"])])
    server.ask("REPLICAOF", "127.0.0.1", "1")
    before = int(server.figure("stats", "total_connections_received"))
    waiting = asyncio.create_task(storage.append([(PIPE, [b"x"])]))
    asked = itertools.count(1)  # by connections of the test
    received = partial(server.figure, "stats", "total_connections_received")
    await eventually(lambda: int(received()) - before - next(asked) >= 2, "it connects anew, again and again")
    server.ask("REPLICAOF", "NO", "ONE")
    assert await finished(waiting) == 1


async def test_readonly_has_sleepers_listen_to_the_server_in_its_place(started: Started, tmp_path: Path) -> None:
    (former, _), (server, _) = started(), started()
    async with proxied(tmp_path, former.socket) as proxy:
        storage = RedisStorage(Address(path=str(proxy.socket)), StorageSettings(safety_net=3600))
        asleep = (await storage.server.layout()).key(0, "SLEEPS").decode()
        waiting = {asyncio.create_task(storage.wait(None)) for _ in range(2)}
        await eventually(lambda: former.ask("HLEN", asleep) == 2, "both sleep")
        proxy.leads_to = server.socket
        former.ask("REPLICAOF", "127.0.0.1", "1")
        # One that looks at the other server behind the first request finds it. One that lies down there before is woken
        # by the first or by the second.
        for number in range(2):
            assert await storage.append([(f"{HANDLER}/{number}/0", [b"x"])]) == 1
            if waiting:
                done, waiting = await asyncio.wait(waiting, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
                assert done
        await storage.close()
    assert not waiting


async def test_masterdown_is_waited_out(started: Started) -> None:
    server, storage = started("--replica-serve-stale-data", "no")
    await storage.append([(PIPE, [b"first"])])
    server.ask("REPLICAOF", "127.0.0.1", "1")
    await waits_for(storage, lambda: server.ask("REPLICAOF", "NO", "ONE"), r"MASTERDOWN|READONLY")


async def test_noreplicas_is_waited_out(started: Started) -> None:
    server, storage = started()
    await storage.append([(PIPE, [b"first"])])
    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    await waits_for(storage, lambda: server.ask("CONFIG", "SET", "min-replicas-to-write", "0"), "NOREPLICAS")


async def test_busy_is_waited_out_and_no_script_killed(started: Started) -> None:
    server, storage = started("--lua-time-limit", "20")
    await storage.append([(PIPE, [b"first"])])
    other = await Wire.to(Address(path=str(server.socket)))
    endless = other.sent(packed(b"EVAL", b"while true do end", b"0"))
    await eventually(lambda: not _answers(server), "the server is busy")
    await waits_for(storage, lambda: server.ask("SCRIPT", "KILL"), "BUSY")
    assert "killed" in str(await endless)
    other.close()


def _answers(server: Server) -> bool:
    try:
        return bool(server.ask("PING") == b"PONG")
    except Exception:
        return False


async def test_loading_is_waited_out(started: Started) -> None:
    server, storage = started("--rdbcompression", "no")
    await storage.append([(PIPE, [b"first"])])
    for number in range(20):
        server.ask("SET", f"other:{number}", "x" * 300_000)
    server.ask("SAVE")
    server.kill()
    server._options = (*server._options, "--key-load-delay", "50000")
    server.start(until_it_answers=False)
    storage.server.most_patience_s = 30.0
    assert await storage.append([(PIPE, [b"x"])]) == 1
    assert (await storage.range(PIPE, 9)).messages == [b"first", b"x"]


async def test_a_server_without_connections_left_is_waited_for(started: Started) -> None:
    server, storage = started("--maxclients", "40")
    await storage.append([(PIPE, [b"first"])])
    storage.server.hang_up()
    (await storage.server.here()).link.close()
    storage = RedisStorage(Address(path=str(server.socket)))
    others = [await Wire.to(Address(path=str(server.socket))) for _ in range(40)]

    def leave() -> None:
        for other in others:
            other.close()

    storage.server.most_patience_s = 0.0
    with pytest.raises(StorageUnavailable, match=r"max number of clients|connection ended"):
        await storage.append([(PIPE, [b"refused"])])
    storage.server.most_patience_s = None
    waiting = asyncio.create_task(storage.append([(PIPE, [b"x"])]))
    await asyncio.sleep(0)
    leave()
    assert await finished(waiting) == 1
    await storage.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
async def test_a_server_that_may_evict_requests_is_refused(started: Started, policy: str) -> None:
    server, storage = started("--maxmemory-policy", policy)
    for address in (Address(path=str(server.socket)), Address(path=str(server.socket), protocol=3)):
        storage = RedisStorage(address)
        with pytest.raises(ConfigurationError, match=f"maxmemory-policy {policy}.*noeviction"):
            await storage.append([(PIPE, [b"x"])])
        await storage.close()
    with pytest.raises(ConfigurationError, match="noeviction"):
        await connected(server.url)


async def test_a_server_that_evicts_what_expires_keeps_all_requests(started: Started) -> None:
    server, storage = started("--maxmemory-policy", "volatile-lru")
    await storage.append([(PIPE, [bytes(1000)])])
    server.ask("CONFIG", "SET", "maxmemory", server.figure("memory", "used_memory"))
    taken = 1
    while await storage.append([(PIPE, [bytes(100_000)])]):
        taken += 1
        assert taken < 100
    assert len((await storage.range(PIPE, 999)).messages) == taken
    assert server.figure("stats", "evicted_keys") == "0"


@pytest.mark.parametrize("options", ["ann -info", "ann --rename-command INFO nowhere"])
async def test_where_it_cannot_be_seen_what_a_server_evicts_it_is_used(started: Started, options: str) -> None:
    user = options.replace("ann", "--user ann on nopass ~* &* +@all")
    server, _ = started(*user.split(), "--maxmemory-policy", "allkeys-lru")
    storage = RedisStorage(Address(path=str(server.socket), username="ann", password="any"))
    assert await storage.append([(PIPE, [b"x"])]) == 1
    await storage.close()


async def test_a_full_server_is_connected_to_and_refuses_a_new_storage(started: Started) -> None:
    server, storage = started()
    await storage.append([(PIPE, [b"first"])])
    server.ask("CONFIG", "SET", "maxmemory", "1")
    there = await connected(server.url)
    assert await there.length(PIPE) == 1
    await there.close()
    with pytest.raises(StorageUnavailable, match="no memory for a new storage"):
        await connected(f"{server.url}?prefix=another")
    assert not await storage.wait_for_quiet(0.05)


@pytest.mark.parametrize(
    "when", [None, When(after_us=10**9), When(schedule="every 3600")], ids=["now", "once", "again"]
)
async def test_on_a_server_that_is_full_since_a_call_that_is_made_again_was_stored(
    started: Started, when: When | None
) -> None:
    server, storage = started()
    call = {"producer": "a connection that broke", "call": 1, "open": [1, 1]}
    appending = storage._appending
    taken = list[int]()
    run = storage.server.run

    async def twice(name: str, partition: int, arguments: dict[str, object], *blobs: bytes, **_: object) -> object:
        taken.append(await run(name, partition, arguments | call, *blobs))
        server.ask("CONFIG", "SET", "maxmemory", "1")
        taken.append(await run(name, partition, arguments | call, *blobs))
        return taken[-1]

    storage.server.run = twice  # type: ignore[method-assign]
    assert await appending.append([(PIPE, [b"x"])], when, False, 16) == 1
    storage.server.run = run  # type: ignore[method-assign]
    assert taken == [1, 1]
    assert await storage.append([(PIPE, [b"y"])], when=when) is None
    counts = await storage.backlog()
    assert (counts.queued, counts.deferred, counts.recurrent).count(1) == 1


async def test_a_call_that_comes_after_its_caller_gave_it_up_is_not_done(started: Started) -> None:
    """Its bytes may have lain somewhere on the way, while it was made again over another connection."""
    _, storage = started()

    def call(number: int) -> dict[str, object]:
        told: dict[str, object] = {"pipes": [PIPE], "most": None}
        return told | {"producer": "p", "call": number, "open": [number, number]}

    body = b"\1\0\0\0\1\0\0\0\1\0"
    run = storage.server.run_on
    assert await run(PIPE[:-2], "append", call(1), body + b"a") == 1
    assert await run(PIPE[:-2], "append", call(9), body + b"b") == 1
    with pytest.raises(Exception, match="LATE"):
        await run(PIPE[:-2], "append", call(1), body + b"a")
    assert (await storage.range(PIPE, 9)).messages == [b"a", b"b"]


async def test_a_turn_that_comes_after_a_later_one_does_not_leave_the_thread(started: Started) -> None:
    """Its caller gave it up since its server was silent, and turned again over another connection."""
    _, storage = started()
    other, terms = "app.jobs/Resize/8/0", {HANDLER: Terms((0,), 1)}
    await storage.append([(PIPE, [b"a", b"b"])])
    hand = await storage.turn(None, None, terms)
    assert hand
    await storage.append([(other, [b"x"])])
    told = {"owner": storage.turning.owner, "lease_us": 10**8}
    told |= {"hand": hand_told(hand), "terms": terms_told(terms[HANDLER])}
    others = storage.turning._told(None, terms)

    async def turn(call: int, *, stay: bool) -> list[bytes]:
        its = told | {"stay": stay, "producer": "p", "call": call, "open": [call, call]}
        replies: list[bytes] = await storage.server.run_on(hand.key, "turn", its, others)
        return replies

    async def take(call: int) -> list[bytes]:
        its = {"key": hand.key, "token": hand.token, "terms": terms_told(terms[HANDLER])}
        replies: list[bytes] = await storage.server.run_on(hand.key, "take", its | {"producer": "p", "call": call})
        return replies

    assert len(await turn(2, stay=True)) == 2
    with pytest.raises(Exception, match="LATE"):
        await turn(1, stay=False)
    assert len(await turn(2, stay=True)) == 2, "the same one that is made again is answered"
    assert len(await take(4)) == 2
    with pytest.raises(Exception, match="LATE"):
        await turn(3, stay=False)
    assert len(await take(4)) == 2

    found = Hand(hand.key, hand.token, await storage.take(hand.key, hand.token, terms[HANDLER]))
    assert found.batch.messages == [b"b"]
    assert await storage.pop(found, 1)
    assert await storage.unclaim(hand.key, hand.token)


# The way to the server


def of_tests(address: Address) -> RedisStorage:
    """A storage of its own on the server that all tests use."""
    return RedisStorage(address, StorageSettings(prefix=f"{segment_name()}_"))


async def test_a_connection_whose_other_side_is_silent_is_given_up(tmp_path: Path) -> None:
    async with proxied(tmp_path, running_server().socket) as proxy:
        storage = of_tests(Address(path=str(proxy.socket), answer_s=0.2))
        await storage.append([(PIPE, [b"a"])])
        before = proxy.connections
        proxy.is_silent = True
        waiting = asyncio.create_task(storage.append([(PIPE, [b"b"])]))
        await eventually(lambda: proxy.connections > before, "it connects anew")
        proxy.is_silent = False
        assert await finished(waiting) == 1
        assert (await storage.range(PIPE, 9)).messages == [b"a", b"b"]
        await removed_when_right(storage)


@pytest.mark.parametrize("plain", [False, True])
async def test_the_kernel_asks_a_silent_server_whether_it_is_there(plain: bool) -> None:
    server = Server(program(), port=free_ports(1)[0])
    server.start()
    address = Address("127.0.0.1", server.port)
    wire = PlainWire(address) if plain else await Wire.to(address)
    its = wire._socket if isinstance(wire, PlainWire) else wire._transport.get_extra_info("socket")  # type: ignore[union-attr]
    assert its.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert its.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60
    wire.close()
    server.end()


def test_a_command_gives_up_a_server_that_says_nothing() -> None:
    assert storage_of("redis://host", silent_s=3).server.address == Address("host", connect_s=3, answer_s=3)
    assert storage_of("redis://host?socket_timeout=1", silent_s=3).server.address.answer_s == 1


async def test_a_thread_that_is_interrupted_while_it_waits_gets_no_answer_of_another_call() -> None:
    storage = of_tests(Address(path=str(running_server().socket)))
    drive(storage.append([(PIPE, [b"a"])]))
    link = storage.server._plain()
    wire = link._wire
    assert wire

    def interrupted() -> None:
        raise KeyboardInterrupt

    wire.answer = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        drive(storage.length(PIPE))
    assert drive(storage.range(PIPE, 9)).messages == [b"a"]
    await removed_when_right(storage)


async def test_a_signal_handler_that_calls_the_storage_inside_a_call_is_refused() -> None:
    storage = of_tests(Address(path=str(running_server().socket)))
    drive(storage.append([(PIPE, [b"a"])]))
    link = storage.server._plain()
    wire, told = link._wire, list[Exception]()
    assert wire
    reply = wire.answer

    def interrupted() -> object:
        wire.answer = reply  # type: ignore[method-assign]
        with pytest.raises(StorageBusy) as refused:
            drive(storage.length(PIPE))
        told.append(refused.value)
        return reply()

    wire.answer = interrupted  # type: ignore[method-assign]
    assert drive(storage.length(PIPE)) == 1
    assert told
    await removed_when_right(storage)


async def test_a_call_that_waits_for_its_server_ends_when_the_storage_is_closed(started: Started) -> None:
    server, storage = started()
    await storage.append([(PIPE, [b"a"])])
    server.kill()
    waiting = asyncio.create_task(storage.append([(PIPE, [b"b"])]))
    await asyncio.sleep(0.01)
    await storage.close()
    with pytest.raises(StorageClosed):
        await finished(waiting)
    server.start()
