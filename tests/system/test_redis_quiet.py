"""What a family over a server asks of it while it has nothing to do: point 9 of what storages on a server must show."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from shardq import Supervisor, connect
from shardq.drivers.redis.storage import RedisStorage
from tests.support.jobs import Record
from tests.support.leaks import segment_name
from tests.support.redis_server import running_server

WORKERS, WATCHED_S = 8, 3.0


@pytest.mark.parametrize("progress", ["off", "on"])
async def test_09_an_idle_family_does_not_poll(progress: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that shows how far the work is."""
    monkeypatch.setenv("QUEUE_SUPERVISOR_PROGRESS", progress)
    server = running_server()
    url = f"{server.url}?prefix={segment_name()}_"
    async with Supervisor(Record, workers=WORKERS, url=url), await connect(url) as queue:
        storage = queue.storage
        assert isinstance(storage, RedisStorage)
        asleep = (await storage.server.layout()).key(0, "SLEEPS")
        while await storage.server.ask(b"HLEN", asleep) < WORKERS + 1:  # with the supervisor
            pass
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(server.socket))
            monitor.sendall(b"MONITOR\r\n")
            assert monitor.recv(5) == b"+OK\r\n"
            start = time.monotonic()
            await asyncio.sleep(WATCHED_S)  # nothing is to happen in this time
            watched_s, said = time.monotonic() - start, b""
            server.ask("PING", "end of the test")
            while b"end of the test" not in said:
                said += monitor.recv(1 << 16)
        await storage.server.destroy()
    # All workers together look once a second. Those that are late may do so within. If each looked once a second, that
    # would be three times as many.
    assert 1 <= len(commands(said)) - 1 <= watched_s + WORKERS + 1, said


def commands(said: bytes) -> list[bytes]:
    """What clients sent, of what a server says of its commands."""
    return [line for line in said.splitlines() if b'] "' in line and b" lua] " not in line]
