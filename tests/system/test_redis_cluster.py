"""A storage on a cluster of three masters and three replicas: how its work spreads (points 2, 3 and 5 of what storages
on a server must show), and what it does when servers die and slots move.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from redis.asyncio.cluster import RedisCluster

from shardq import Supervisor
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.wire import Wire
from shardq.drivers.redis.servers.layout import slot_of
from shardq.drivers.redis.servers.server import IN_CLUSTER
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.turning import ROUND_S, SWEEP_ROUNDS
from shardq.errors import FencedError
from shardq.model import Counts, Hand, Terms
from shardq.settings import StorageSettings
from tests.support.jobs import Folder, Forward, Record
from tests.support.leaks import segment_name
from tests.support.redis_cluster import Cluster, Node, cluster_to_break, running_cluster
from tests.support.redis_server import removed_when_right
from tests.support.tasks import finished

HANDLER = "app.jobs/Resize"
TERMS = {HANDLER: Terms((0,), 16)}
THREADS = [f"{HANDLER}/{number}" for number in range(60)]


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    """On the cluster that all tests share."""
    storage = storage_of(running_cluster().url, StorageSettings(prefix=f"{segment_name()}_"))
    yield storage
    await removed_when_right(storage)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with cluster_to_break() as cluster:
        yield cluster


async def worked(storage: RedisStorage, done: dict[str, list[bytes]], count: int) -> int:
    """Do so many requests as a worker would, and say how many batches that were."""
    hand, batches = None, 0
    while sum(map(len, done.values())) < count:
        before = hand
        hand = await storage.turn(hand, frozenset(TERMS), TERMS)
        if hand is None or not hand.leads_on_from(before):
            hand = await storage.rest(hand, frozenset(TERMS), TERMS, 1)
        if hand and hand.batch.count:
            batches += 1
            done.setdefault(hand.key, []).extend(hand.batch.messages)
    if hand:
        await storage.pop(hand, hand.batch.count)
        await storage.unclaim(hand.key, hand.token)
    return batches


async def node_of(cluster: Cluster, storage: RedisStorage, key: str) -> Node:
    """The server that has a thread."""
    layout, link = await storage.server.layout(), (await storage.server.here()).link
    address = await link.node_of(slot_of(layout.partition_of(key)))  # type: ignore[attr-defined]
    return next(node for node in cluster.nodes if node.port == address.port)


class Monitor:
    """What the masters are told meanwhile."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes

    def __enter__(self) -> Monitor:
        self._sockets = [socket.create_connection(("127.0.0.1", node.port)) for node in self._nodes]
        for each in self._sockets:
            each.sendall(b"MONITOR\r\n")
            assert each.recv(5) == b"+OK\r\n"
            each.setblocking(False)
        self._said = [b"" for _ in self._sockets]
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()

    def read(self) -> None:
        for place, each in enumerate(self._sockets):
            with suppress(BlockingIOError):
                while some := each.recv(1 << 20):
                    self._said[place] += some

    def lines(self) -> list[list[str]]:
        """Of each server."""
        for node in self._nodes:
            node.ask("PING", "end of the test")
        while any(b"end of the test" not in said for said in self._said):
            self.read()
        return [said.decode(errors="replace").splitlines() for said in self._said]


async def test_02_03_05_a_thousand_threads_use_all_masters_in_few_calls(storage: RedisStorage) -> None:
    pipes = [f"{HANDLER}/{number}/0" for number in range(1000)]
    for start in range(0, 1000, 125):
        await storage.append([(pipe, [b"%d" % number for number in range(96)]) for pipe in pipes[start : start + 125]])
    done = dict[str, list[bytes]]()
    begun = time.monotonic()
    with Monitor(running_cluster().nodes[:3]) as monitor:
        working = asyncio.create_task(worked(storage, done, 90_000))
        while not working.done():
            await asyncio.wait({working}, timeout=0.05)
            monitor.read()
        batches, sweeps = working.result(), 1 + (time.monotonic() - begun) / (SWEEP_ROUNDS * ROUND_S)
        servers = monitor.lines()

    calls, touched = list[int](), 0
    for lines in servers:
        calls.append(0)
        declared = set[str]()
        for line in lines:
            words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
            if words and words[0] in ("EVAL", "EVALSHA"):
                declared = set(words[3 : 3 + int(words[2])])
                calls[-1] += 1
                assert len({re.findall(r"\{(\d+)\}", key)[0] for key in declared}) == 1
            elif "lua]" in line and words[0] not in ("TIME", "PUBLISH", "SPUBLISH"):
                assert words[1] in declared, line
                touched += 1
    assert touched > 1000
    assert all(0.25 <= its / sum(calls) <= 0.42 for its in calls), calls
    # In a sweep, each partition is looked at; how many sweeps there are is a matter of time.
    assert sum(calls) - sweeps * IN_CLUSTER <= 1.1 * batches, (calls, batches, sweeps)


async def test_05_a_call_is_one_flush_for_each_master(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = [f"{HANDLER}/{number}/0" for number in range(16)]
    layout = await storage.server.layout()
    touched = {layout.partition_of(f"{HANDLER}/{number}") for number in range(16)}
    assert await storage.append([(pipe, [b"first"]) for pipe in pipes]) == 16  # connects, and tells the scripts
    flushes, send = list[bytes](), Wire.sent
    with monkeypatch.context() as patched:
        patched.setattr(Wire, "sent", lambda *its: flushes.append(its[1]) or send(*its))  # type: ignore[func-returns-value]
        assert await storage.append([(pipe, [b"x"] * 625) for pipe in pipes]) == 10_000
    assert len(flushes) == 3
    assert sum(sent.count(b"\r\nEVALSHA\r\n") for sent in flushes) == len(touched)


async def test_a_family_does_what_is_registered(storage: RedisStorage, folder: Folder) -> None:
    url = f"{running_cluster().url}?prefix={storage.settings.prefix}"
    async with Supervisor(Record, Forward, workers=2, url=url) as supervisor:
        await supervisor.queue.register(Forward, *folder.notes(range(200), threads=8))
        assert await supervisor.drain()

    for thread in range(8):
        assert folder.done(thread) == list(range(thread, 200, 8))
    assert (await storage.backlog())[:2] == (400, 400)


async def test_a_client_of_a_cluster_names_its_servers(storage: RedisStorage) -> None:
    client = RedisCluster(host="127.0.0.1", port=running_cluster().nodes[0].port)
    other = RedisStorage(client, StorageSettings(prefix=storage.settings.prefix))
    assert await other.append([(f"{THREADS[0]}/0", [b"a"])]) == 1
    assert await storage.length(f"{THREADS[0]}/0") == 1
    assert other.server.partitions == 64
    await other.close()
    await client.aclose()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_partitions_of_a_lost_server_wait_and_others_go_on(cluster: Cluster, number: signal.Signals) -> None:
    storage = storage_of(cluster.url)
    lost = await node_of(cluster, storage, THREADS[0])
    others = [key for key in THREADS if await node_of(cluster, storage, key) is not lost]
    assert await storage.append([(f"{key}/0", [b"0"]) for key in THREADS]) == 60
    await until_replicated(lost)
    lost.pause(number)

    waiting = asyncio.create_task(storage.append([(f"{THREADS[0]}/0", [b"1"])]))
    for message in (b"1", b"2", b"3"):
        for key in others[:5]:
            assert await storage.append([(f"{key}/0", [message])]) == 1
    assert not waiting.done(), "the others waited with it"
    done = dict[str, list[bytes]]()
    await worked(storage, done, len(others) + 15)
    assert await finished(waiting) == 1

    await worked(storage, done, 60 + 1 + 15)
    assert done.keys() == set(THREADS)
    assert all(messages == sorted(messages) for messages in done.values())
    assert await storage.backlog() == Counts(76, 76)
    assert await wrongs(storage.server) == []
    await storage.close()


async def test_tokens_and_numbers_do_not_come_again_where_a_replica_lagged(cluster: Cluster) -> None:
    storage, key = storage_of(cluster.url), THREADS[0]
    master = await node_of(cluster, storage, key)
    [replica] = [node for node in cluster.nodes if f"master_port:{master.port}" in node.ask("INFO", "replication")]
    await storage.append([(f"{key}/0", [b"kept"])])
    token = await storage.claim(key)
    batch = await storage.take(key, token, TERMS[HANDLER])
    await until_replicated(master)
    replica.pause(signal.SIGSTOP)
    # So much that the system does not take all of it for the replica: what comes behind it dies with the master.
    tag = (await storage.server.layout()).key(0, "STATE").decode().partition("{")[0]
    place = (await storage.server.layout()).partition_of(key)
    for number in range(32):
        assert master.ask("SET", f"{tag}{{{place}}}filling{number}", "x" * (1 << 20)).startswith("+OK")
    await storage.pop(Hand(key, token, batch), 1)
    await storage.append([(f"{key}/0", [b"lost"])])
    lost = await storage.take(key, token, TERMS[HANDLER])
    assert await storage.unclaim(key, token)
    second = await storage.claim(key)
    master.kill()
    replica.pause(signal.SIGCONT)

    # The first claim stands again, the message too that it had acknowledged.
    with pytest.raises(FencedError):
        await storage.take(key, second, TERMS[HANDLER])
    assert (await storage.range(f"{key}/0", 9)).messages == [b"kept"]
    assert await storage.append([(f"{key}/0", [b"new"])]) == 1
    with pytest.raises(FencedError):  # it would acknowledge what has the number of the lost one
        await storage.pop(Hand(key, token, lost), 1)
    assert await storage.unclaim(key, token)
    third = await storage.claim(key)
    hand = Hand(key, third, await storage.take(key, third, TERMS[HANDLER]))
    assert third > second
    assert hand.batch.messages == [b"kept", b"new"]
    assert await storage.pop(hand, 2)
    await storage.close()


async def test_slots_move_under_load_without_an_error(cluster: Cluster) -> None:
    storage = storage_of(cluster.url)
    layout, key = await storage.server.layout(), THREADS[0]
    place = layout.partition_of(key)
    source = await node_of(cluster, storage, key)
    target = next(node for node in cluster.nodes[:3] if node is not source)
    done = dict[str, list[bytes]]()
    working = asyncio.create_task(worked(storage, done, 600))

    async def registered() -> None:
        for number in range(60):
            await storage.append([(f"{thread}/0", [b"%02d" % number]) for thread in THREADS[:10]])

    registering = asyncio.create_task(registered())
    await asyncio.sleep(0)
    ids = {node: node.ask("CLUSTER", "MYID").split("\r\n")[1] for node in (source, target)}
    target.ask("CLUSTER", "SETSLOT", slot_of(place), "IMPORTING", ids[source])
    source.ask("CLUSTER", "SETSLOT", slot_of(place), "MIGRATING", ids[target])
    for name in layout.keys_of(place):
        await asyncio.sleep(0.002)  # the others go on between any two keys
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", name.decode())
    for node in (target, source, *cluster.nodes[:3]):
        node.ask("CLUSTER", "SETSLOT", slot_of(place), "NODE", ids[target])

    await finished(registering)
    await finished(working)
    assert all(messages == [b"%02d" % number for number in range(60)] for messages in done.values())
    assert await node_of(cluster, storage, key) is target
    assert await wrongs(storage.server) == []
    await storage.close()


async def until_replicated(node: Node) -> None:
    assert node.ask("WAIT", 1, 10_000).startswith(":")
