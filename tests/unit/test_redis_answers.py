"""Callers that wait for results over a server: their leases, what is on its way to them, and who serves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shardq import Queue
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.moving import MovableServer
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.verbs.forwarding import Forwarding
from shardq.drivers.redis.verbs.owners import Family
from shardq.drivers.redis.verbs.presence import told
from shardq.errors import FencedError, ResultTimeout, StorageMoved
from shardq.model import INBOX, Hand, Terms, handler_name, inbox_key, inbox_pipe
from shardq.outputs import Output
from shardq.results.inbox import OpenInbox
from shardq.settings import StorageSettings
from tests.support.answering import Ask, Twice
from tests.support.leaks import segment_name
from tests.support.redis_proxy import proxied
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import LIMIT_S, NEVER_S, busy, cancelled, eventually, finished, suspended

LEASE_S = 1.0
HANDLER = handler_name(Twice)
PARTITIONS = 8


@pytest.fixture(params=[1, PARTITIONS])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[RedisStorage]:
    settings = StorageSettings(prefix=f"{segment_name()}_")
    storage = storage_of(f"{running_server().url}?partitions={request.param}", settings)
    storage.turning.lease_s = LEASE_S
    busy.append(lambda: storage.server.busy)
    yield storage
    busy.clear()
    await removed_when_right(storage)


async def opened(storage: RedisStorage) -> OpenInbox:
    inbox = OpenInbox(storage)
    await inbox.open()
    return inbox


def work_on_a_result() -> None:
    """Plain code that takes longer than a lease."""
    time.sleep(2 * LEASE_S)


async def test_a_caller_keeps_its_inbox_while_its_event_loop_does_not_run(storage: RedisStorage) -> None:
    inbox = await opened(storage)
    await storage.append([(inbox_pipe(inbox.number), [b"result"])])

    work_on_a_result()

    assert await storage.wait(frozenset({INBOX}), 0) is None
    assert await inbox.read(LIMIT_S) == [b"result"]
    await inbox.close()
    assert not await storage.claimed(inbox_key(inbox.number))


async def test_what_is_closed_is_renewed_no_more(storage: RedisStorage) -> None:
    before = threading.enumerate()
    its = storage_of(f"{running_server().url}?prefix={storage.settings.prefix}")
    its.turning.lease_s = LEASE_S
    inbox = await opened(its)
    [renewing] = set(threading.enumerate()) - set(before)
    await storage.append([(inbox_pipe(inbox.number), [b"result"])])

    await its.close()

    assert await storage.wait(frozenset({INBOX}), LIMIT_S) == inbox_key(inbox.number)
    await asyncio.to_thread(renewing.join, LIMIT_S)
    assert not renewing.is_alive()


async def test_a_caller_that_counts_as_dead_is_told_so(storage: RedisStorage) -> None:
    await storage.wait(frozenset({HANDLER}), 0)
    call = await suspended(Queue(storage).call(Twice, Ask(1)))

    await storage.of_owner(storage.turning.owner)

    with pytest.raises(FencedError, match="counts as dead"):
        await finished(call)
    assert list(await storage.pipes()) == []


async def test_a_caller_lets_go_of_its_inbox_where_the_content_goes_elsewhere(storage: RedisStorage) -> None:
    await storage.wait(frozenset({HANDLER}), 0)
    call = await suspended(Queue(storage).call(Twice, Ask(1)))
    source = MovableServer(storage)

    await source.leave(1, "redis://elsewhere")

    with pytest.raises(StorageMoved):
        await finished(call)
    assert await source.in_hand() == []


async def test_a_caller_brings_on_the_result_of_a_worker_that_died_first(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object, **__: object) -> None:
        """Before anything is brought on."""

    inbox, layout = await opened(storage), await storage.server.layout()
    home = layout.partition_of(inbox_key(inbox.number))
    keys = [f"{HANDLER}/{n}" for n in range(100)]
    key = next(key for key in keys if layout.partitions == 1 or layout.partition_of(key) != home)
    await storage.append([(f"{key}/0", [b"request"])])
    token = await storage.claim(key)
    hand = Hand(key, token, await storage.take(key, token, Terms((0,), 1)))
    with monkeypatch.context() as patched:
        patched.setattr(Forwarding, "bring_on", die)
        assert await storage.pop(hand, 1, [Output(inbox_pipe(inbox.number), [b"result"])])

    found = await inbox.read(NEVER_S) or await inbox.read(LIMIT_S)

    assert found == [b"result"]
    await inbox.close()


async def test_a_caller_lies_down_in_the_partition_of_its_inbox_only(storage: RedisStorage) -> None:
    inbox = await opened(storage)
    reading = await suspended(inbox.read(None))
    layout = await storage.server.layout()
    lies = [place for place in layout.everywhere if await storage.server.ask(b"HLEN", layout.key(place, "SLEEPS"))]
    assert lies == [layout.partition_of(inbox_key(inbox.number))]

    await storage.append([(inbox_pipe(inbox.number), [b"result"])])
    assert await finished(reading) == [b"result"]
    await inbox.close()


async def test_who_serves_is_what_families_said_of_themselves(storage: RedisStorage) -> None:
    async def said(workers: int, lease_s: float = LEASE_S) -> None:
        pids = {pid: (pid, 0.0) for pid in range(1, workers + 1)}
        await storage.of_owner(family=told(family, lease_s, {HANDLER}, pids, supervisor_pid=1))

    family = Family.new()
    assert await storage.serving(HANDLER) == 0
    await said(workers=0)
    assert await storage.serving(HANDLER) == 1
    await said(workers=3)
    assert await storage.serving(HANDLER) == 3
    assert await storage.serving("app.jobs/Fold") == 0
    await said(workers=3, lease_s=1e-6)  # not heard of for longer than that
    assert await storage.serving(HANDLER) == 0


async def test_a_worker_that_serves_another_handler_says_so_at_once(storage: RedisStorage) -> None:
    await storage.wait(frozenset({HANDLER}), 0)
    await storage.wait(frozenset({HANDLER, "app.jobs/Fold"}), 0)
    assert await storage.serving("app.jobs/Fold") == 1


async def test_a_caller_is_no_family(storage: RedisStorage) -> None:
    inbox = await opened(storage)
    await inbox.read(0)
    layout = await storage.server.layout()
    assert await storage.server.ask(b"HLEN", layout.key(0, "FAMILIES")) == 0
    await inbox.close()


@pytest.mark.parametrize("when", ["at first", "with an inbox", "behind the request"])
async def test_a_call_waits_for_a_silent_server_no_longer_than_it_was_told(tmp_path: Path, when: str) -> None:
    async with proxied(tmp_path, running_server().socket) as proxy:
        storage = RedisStorage(Address(path=str(proxy.socket)), StorageSettings(prefix=f"{segment_name()}_"))
        await storage.wait(frozenset({HANDLER}), 0)
        queue = Queue(storage)
        if when == "with an inbox":
            given_up = asyncio.create_task(queue.call(Twice, Ask(1)))
            await eventually(lambda: storage.length(f"{HANDLER}/1/0"), "it is stored")
            await cancelled(given_up)
            assert not await storage.length(f"{HANDLER}/1/0")
        calling = asyncio.create_task(queue.call(Twice, Ask(2), timeout_s=0.5))
        if when == "behind the request":
            await eventually(lambda: storage.length(f"{HANDLER}/2/0"), "it is stored")
        proxy.is_silent = True

        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(ResultTimeout):
                await calling

        proxy.is_silent = False
        proxy.cut()
        await eventually(lambda: _is_empty(storage), "what stands behind it is taken out")
        await queue.end_calls()
        await removed_when_right(storage)


async def _is_empty(storage: RedisStorage) -> bool:
    return not await storage.length(f"{HANDLER}/2/0")
