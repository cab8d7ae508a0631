"""On what the contract runs: point 1 of what storages on a server must show."""

from __future__ import annotations

import re
import subprocess

from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.storage import RedisStorage
from tests.support.drivers import DRIVERS, Backend, redis_protocol
from tests.support.redis_server import packaged_redis, program


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
