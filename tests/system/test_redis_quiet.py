"""What a family over a server asks of it while it has nothing to do."""

from __future__ import annotations

import asyncio
import re
import time

from shardq import Supervisor, connect
from shardq.drivers.redis.storage import RedisStorage
from tests.support.jobs import Record
from tests.support.leaks import segment_name
from tests.support.redis_server import running_server

WORKERS, WATCHED_S = 8, 3.0


def scripts_run() -> int:
    """By all clients of the server."""
    stats = running_server().ask("INFO", "commandstats").decode()
    return sum(map(int, re.findall(r"^cmdstat_eval(?:sha)?:calls=(\d+)", stats, re.MULTILINE)))


async def test_an_idle_family_does_not_poll() -> None:
    url = f"{running_server().url}?prefix={segment_name()}_"
    async with Supervisor(Record, workers=WORKERS, url=url), await connect(url) as queue:
        storage = queue.storage
        assert isinstance(storage, RedisStorage)
        asleep = (await storage.server.layout()).key(0, "SLEEPS")
        while await storage.server.ask(b"HLEN", asleep) < WORKERS:
            pass
        before, start = scripts_run(), time.monotonic()
        await asyncio.sleep(WATCHED_S)  # nothing is to happen in this time
        ran, watched_s = scripts_run() - before, time.monotonic() - start
        await storage.server.destroy()
    # All workers together look once a second, and each of them once more that fell asleep before the others. If each
    # looked once a second, that would be three times as many.
    assert ran <= watched_s + WORKERS + 1
