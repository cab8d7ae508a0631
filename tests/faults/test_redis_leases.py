"""Holders that are stopped beyond their lease, and holders that die: point 14 of what storages on a server must show.

A run takes a sample; `SHARDQ_FAULTS=all` takes the number that each test names.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from shardq import Queue, Supervisor, connect
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.lock import RedisLock
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import FencedError
from shardq.model import Hand, Terms
from shardq.settings import StorageSettings
from tests.faults.kit.holders import Hog, Hogging, Tireless
from tests.faults.kit.points import Child
from tests.faults.kit.servers import HANDLER, KEYS, PIPES, storage_at
from tests.support.jobs import Folder
from tests.support.leaks import segment_name
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import LIMIT_S, eventually

Tried = Callable[[str, int], None]
LEASE_S = 0.5
_ONE = Terms((0,), 1)


def hold_in_child(address: Address, prefix: str, told: int, go_on: int) -> None:
    its = RedisStorage(address, StorageSettings(prefix=prefix))
    asyncio.run(hold(its, told, go_on))


async def hold(storage: RedisStorage, told: int, go_on: int) -> None:
    """Claim the thread, take a message, say so, and be late with it."""
    lock = RedisLock(storage)
    token = await lock.acquire(KEYS[0])
    hand = Hand(KEYS[0], token, await storage.take(KEYS[0], token, _ONE))
    assert await lock.ttl(KEYS[0], LEASE_S)
    os.write(told, b".")
    os.read(go_on, 1)  # here it is stopped
    late = (storage.pop(hand, 1), storage.fail(hand), storage.bury(hand, hand.batch.sequence, "grave", b"letter"))
    for verb in late:
        try:
            await verb
        except FencedError:
            os.write(told, b"f")
        else:
            os.write(told, b"!")


@pytest.mark.timeout(600)
async def test_14_what_a_holder_says_that_was_stopped_beyond_its_lease_200_times_is_refused(
    everything: bool, tried: Tried
) -> None:
    storage = storage_at(running_server().socket)
    times, took, handled = 200 if everything else 5, list[float](), list[bytes]()
    for number in range(times):
        assert await storage.append([(PIPES[0], [b"%d" % number])]) == 1
        (told, tell), (waits, go_on) = os.pipe(), os.pipe()
        child = Child(partial(hold_in_child, storage.server.address, storage.server.prefix, tell, waits))
        assert await asyncio.to_thread(os.read, told, 1) == b"."
        os.kill(child.pid, signal.SIGSTOP)
        begun = time.monotonic()
        assert await storage.wait(frozenset((HANDLER,)), LIMIT_S) == KEYS[0]
        took.append(time.monotonic() - begun)
        token = await storage.claim(KEYS[0])
        hand = Hand(KEYS[0], token, await storage.take(KEYS[0], token, _ONE))
        handled += hand.batch.messages
        os.kill(child.pid, signal.SIGCONT)
        os.write(go_on, b".")
        assert [await asyncio.to_thread(os.read, told, 1) for _ in range(3)] == [b"f"] * 3
        assert await storage.pop(hand, 1)
        assert await storage.unclaim(KEYS[0], token)
        child.end()
        for descriptor in (told, tell, waits, go_on):
            os.close(descriptor)
    assert handled == [b"%d" % number for number in range(times)]
    await removed_when_right(storage)
    tried("holders stopped beyond their lease", times)
    tried("ms at most until their thread was offered", round(max(took) * 1000))


# Under a supervisor


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.close()


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    queue = await connect(f"{running_server().url}?prefix={segment_name()}_")
    yield queue
    storage = queue.storage
    assert isinstance(storage, RedisStorage)
    found = await wrongs(storage.server)
    await storage.server.destroy()
    await queue.close()
    assert found == []


def url_of(queue: Queue) -> str:
    assert isinstance(queue.storage, RedisStorage)
    return f"{running_server().url}?prefix={queue.storage.server.prefix}"


@pytest.mark.timeout(300)
async def test_14_a_handler_that_holds_the_interpreter_for_60_s_keeps_a_lease_of_3_s(
    queue: Queue, tmp_path: Path, everything: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease_s, seconds = (3, 60) if everything else (1.5, 4)
    monkeypatch.setenv("QUEUE_LOCK_TIMEOUT", str(lease_s))
    async with Supervisor(Hogging, workers=2, url=url_of(queue)) as supervisor:
        await supervisor.queue.register(Hogging, Hog(seconds, str(tmp_path / "begun")))
        assert await supervisor.drain(LIMIT_S + seconds)
    assert len((tmp_path / "begun").read_text().split()) == 1


@pytest.mark.timeout(600)
async def test_14_the_thread_of_a_dead_worker_is_served_again_by_its_supervisor(
    queue: Queue, folder: Folder, everything: bool, tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers sleep meanwhile, so what is measured is neither a start of a process nor a lease."""
    monkeypatch.setenv("QUEUE_LOCK_TIMEOUT", "3600")
    took, server = list[float](), queue.storage.server  # type: ignore[attr-defined]

    async def all_sleep() -> bool:
        """All workers but the one that is at work, and the supervisor."""
        return bool(await server.ask(b"HLEN", (await server.layout()).key(0, "SLEEPS")) == 3)

    async with Supervisor(Tireless, workers=3, url=url_of(queue)) as supervisor:
        await supervisor.queue.register(Tireless, *folder.notes(range(1)))
        [begun] = folder.until("begin", 0)
        for _ in range(300 if everything else 5):
            await eventually(all_sleep, "the dead worker is replaced, and its successor asleep")
            former, folder.lines[:] = begun, []
            killed = time.monotonic()
            os.kill(begun.pid, signal.SIGKILL)
            begun = folder.until_again(former)
            took.append(time.monotonic() - killed)
        folder.permit(1)
        assert await supervisor.drain(LIMIT_S)
    took.sort()
    tried("workers killed with a thread", len(took))
    tried("us until it was served again at p50", round(took[len(took) // 2] * 1e6))
    tried("us at p99", round(took[int(len(took) * 0.99)] * 1e6))
