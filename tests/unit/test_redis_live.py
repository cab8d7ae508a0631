"""What a supervisor over a server knows for its line on a terminal, that it sleeps where nothing is to do, and what it
has the server count.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from shardq.drivers.redis import supervised as module
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.news import WORK, News
from shardq.drivers.redis.overview import overview_of
from shardq.drivers.redis.progress import WorkTeller
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.supervised import SupervisedServer, join
from shardq.model import Hand, Terms, When
from shardq.settings import StorageSettings
from shardq.supervisor.output.live import Live
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server

HANDLER, KEY, PIPE = "m/H", "m/H/0", "m/H/0/0"
TERMS = {HANDLER: Terms((0,), 1)}
HOUR_US, MINUTE_US = 3_600_000_000, 60_000_000


@pytest.fixture
async def family() -> AsyncIterator[SupervisedServer]:
    family = SupervisedServer(storage_of(f"{running_server().url}?prefix={segment_name()}_"), {HANDLER})
    family.bell()
    yield family
    await asyncio.to_thread(family.close)


@pytest.fixture
async def worker(family: SupervisedServer) -> AsyncIterator[RedisStorage]:
    """Its first worker, in this process."""
    storage = storage_of(f"{running_server().url}?prefix={family.storage.server.prefix}")
    join(storage, family.news, family.family, 1)
    storage.turning.note_work = WorkTeller(family.news).note
    family.silence()
    yield storage
    await removed_when_right(storage)


def rings(family: SupervisedServer) -> bool:
    rang = bool(select.select([family.bell()], [], [], 0)[0])
    family.silence()
    return rang


async def taken(worker: RedisStorage) -> Hand:
    hand = await worker.turn(None, frozenset({HANDLER}), TERMS, stay=False)
    assert hand
    assert hand.batch.count == 1
    return hand


async def test_an_idle_family_asks_nothing_until_a_worker_takes_a_batch(
    family: SupervisedServer, worker: RedisStorage
) -> None:
    live = await asyncio.to_thread(Live, family, 0.0)
    await asyncio.to_thread(live.look, 0.0)
    assert live.look_at is None

    await worker.append([(PIPE, [b"0"])])
    assert not rings(family)  # no worker has it
    await taken(worker)
    assert rings(family)
    live.on_bell(0.1)
    assert live.look_at is not None
    assert live.look_at >= family.look_s  # not sooner after the last look
    await asyncio.to_thread(live.look, live.look_at)
    assert live.look_at is not None  # there is work


async def test_it_is_idle_once_no_worker_can_have_taken_a_batch_untold(
    family: SupervisedServer, worker: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await worker.append([(PIPE, [b"0"])])
    hand = await taken(worker)
    assert rings(family)
    assert await worker.pop(hand, 1)
    assert (await asyncio.to_thread(family.counts)).queued == 0
    assert not family.idle()
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    assert family.idle()


async def test_it_says_what_its_own_workers_are_at(family: SupervisedServer, worker: RedisStorage) -> None:
    other = storage_of(f"{running_server().url}?prefix={family.storage.server.prefix}")
    await worker.append([(PIPE, [b"0"]), ("m/H/1/0", [b"0"])])
    await taken(worker)
    await taken(other)
    await asyncio.to_thread(family.announce)
    assert (await asyncio.to_thread(family.counts)).queued == 2
    [at] = await asyncio.to_thread(family.at_work)
    assert (at.number, at.handler, at.thread, at.requests) == (1, HANDLER, "0", 1)
    await other.close()


def test_a_worker_tells_of_its_batches_now_and_then() -> None:
    news = News()
    news.open()
    teller = WorkTeller(news)
    for _ in range(1000):
        teller.note()
    told = [what for what, _, _ in news.heard()]
    news.close()
    assert set(told) == {WORK}
    assert len(told) < 100


@pytest.mark.parametrize("ahead_us", [HOUR_US, -HOUR_US])
async def test_it_waits_for_what_is_due_by_the_clock_of_its_host(
    family: SupervisedServer, worker: RedisStorage, monkeypatch: pytest.MonkeyPatch, ahead_us: int
) -> None:
    def now_us() -> int:
        return time.time_ns() // 1000 + ahead_us

    host = SimpleNamespace(time_ns=lambda: now_us() * 1000, monotonic=time.monotonic)
    monkeypatch.setattr(module, "time", host)
    family.storage.turning.lease_s = 3600.0
    await worker.append([(PIPE, [b"later"])], when=When(after_us=MINUTE_US))

    before_us = now_us()
    at_us = await asyncio.to_thread(family.promote)

    assert at_us is not None
    assert before_us <= at_us <= now_us() + MINUTE_US


async def test_a_death_is_counted_when_the_server_is_there_again(tmp_path: Path) -> None:
    storage = RedisStorage(Address(path=str(tmp_path / "server")), StorageSettings(prefix=f"{segment_name()}_"))
    supervised = SupervisedServer(storage)
    await asyncio.to_thread(supervised.count_death, "exited")

    (tmp_path / "server").symlink_to(running_server().socket)
    await asyncio.to_thread(supervised.count_death, "hung")

    deaths = (await overview_of(storage)).deaths
    assert {how: number for how, number in deaths.items() if number} == {"exited": 1, "hung": 1}
    await removed_when_right(storage)


async def test_a_family_that_ends_has_its_last_deaths_counted(tmp_path: Path) -> None:
    storage = RedisStorage(Address(path=str(tmp_path / "server")), StorageSettings(prefix=f"{segment_name()}_"))
    supervised = SupervisedServer(storage)
    supervised.bell()
    await asyncio.to_thread(supervised.count_death, "exited")

    (tmp_path / "server").symlink_to(running_server().socket)
    await asyncio.to_thread(supervised.leave)

    overview = await overview_of(storage)
    assert (overview.deaths["exited"], overview.families) == (1, [])
    await storage.server.destroy()
    await asyncio.to_thread(supervised.close)
