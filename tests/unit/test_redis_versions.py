"""On what the contract runs: point 1 of what storages on a server must show."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable

import pytest

from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.overview import overview_of
from shardq.drivers.redis.storage import RedisStorage
from shardq.model import Terms, When, dead_pipe
from shardq.outputs import Output
from shardq.settings import StorageSettings
from tests.support.drivers import DRIVERS, Backend, redis_protocol
from tests.support.leaks import segment_name
from tests.support.redis_cluster import running_cluster
from tests.support.redis_server import packaged_redis, program, removed_when_right, running_server
from tests.support.tasks import eventually, finished

HANDLER = "app.jobs/Resize"
PIPE, OTHER, GRAVE = f"{HANDLER}/7/0", f"{HANDLER}/8/0", dead_pipe(HANDLER)
TERMS = {HANDLER: Terms((0,), 9)}


async def test_01_the_contract_runs_on_the_oldest_server_and_on_a_cluster_and_by_both_protocols() -> None:
    backends = [driver.make(None) for driver in DRIVERS if driver.name.startswith("redis")]
    found = [await what_it_speaks_with(backend) for backend in backends]
    for backend in backends:
        await backend.discard()
    usual, other = redis_protocol(), 5 - redis_protocol()
    assert {
        (version_of(program()), "standalone", usual),
        (version_of(program()), "cluster", usual),
        (version_of(packaged_redis()), "standalone", other),
    } == set(found)
    assert version_of(packaged_redis()).startswith("6.2.")


SERVERS: dict[str, Callable[[], str]] = {
    "alone": lambda: running_server().url,
    "the oldest": lambda: running_server(packaged_redis()).url,
    "cluster": lambda: running_cluster().url,
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("place", SERVERS)
async def test_01_both_protocols_are_spoken_with_each_server(place: str, protocol: int) -> None:
    """The contract runs by one of them on each."""
    url = f"{SERVERS[place]()}?protocol={protocol}&partitions=3"
    storage = storage_of(url, StorageSettings(prefix=f"{segment_name()}_"))
    resting = asyncio.create_task(storage.rest(None, None, TERMS))

    async def sleeps() -> bool:
        return (await overview_of(storage)).sleepers == 1

    await eventually(sleeps, "the worker sleeps")
    await storage.append([(PIPE, [b"done", b"fails"])], absent=True)
    await storage.append([(OTHER, [b"later"])], when=When(after_us=1))
    hand = await finished(resting)
    assert hand
    assert hand.batch.messages == [b"done", b"fails"]
    assert await storage.pop(hand, 1, [Output(OTHER, [b"sent on"])])
    [_, second] = hand.batch.numbers
    assert await storage.bury(hand, second, GRAVE, b"letter")
    assert await storage.unclaim(hand.key, hand.token)
    await storage.promote()
    assert sorted((await storage.range(OTHER, 9)).messages) == [b"later", b"sent on"]
    assert (await storage.range(GRAVE, 9)).messages == [b"letter"]
    assert (await storage.backlog())[:3] == (4, 2, 1)
    await removed_when_right(storage)


async def what_it_speaks_with(backend: Backend) -> tuple[str, str, int]:
    """The version of the server, its mode, and the version of the protocol."""
    storage = backend.storage
    assert isinstance(storage, RedisStorage)
    key = (await storage.server.layout()).key(0, "FAMILIES")
    # By the later protocol this is a table.
    protocol = 3 if isinstance(await storage.server.ask(b"HGETALL", key), dict) else 2
    operators = storage_of(backend.url)
    said = (await operators.server.ask(b"INFO", b"server")).decode()
    await operators.close()
    versions = dict(re.findall(r"^(\w+_version|\w+_mode):(\S+)\r$", said, re.MULTILINE))
    mode = versions.get("server_mode") or versions["redis_mode"]
    return versions.get("valkey_version") or versions["redis_version"], mode, protocol


def version_of(server: str) -> str:
    said = subprocess.run((server, "--version"), capture_output=True, text=True, check=True).stdout
    return said.partition(" v=")[2].split()[0]
