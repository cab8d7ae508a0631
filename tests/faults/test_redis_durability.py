"""Servers that are killed and servers that are full: points 16 and 17 of what storages on a server must show.

A run takes a sample; `SHARDQ_FAULTS=all` takes more.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from random import Random

import pytest

from shardq import Queue
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import QueueFull
from shardq.model import Hand, Terms, dead_pipe
from tests.faults.kit.servers import HANDLER, KEYS, handed_out, started, storage_at
from tests.support.jobs import Note, Record
from tests.support.redis_server import Server
from tests.support.tasks import busy, finished, suspended

Tried = Callable[[str, int], None]

#: By policy of its append-only file: for how many seconds what the server confirmed may be lost.
LOST_S = {"always": 0.0, "everysec": 2.0}


@pytest.mark.parametrize("policy", list(LOST_S))
@pytest.mark.timeout(600)
async def test_16_after_a_kill_of_the_server_at_most_the_end_of_a_tube_is_lost(
    policy: str, random: Random, everything: bool, tried: Tried
) -> None:
    lost = 0
    async with started("--appendonly", "yes", "--appendfsync", policy) as server:
        storage = storage_at(server.socket)
        given: dict[str, list[tuple[float, bytes]]] = {key: [] for key in KEYS}
        numbers = itertools.count()

        async def produce(key: str) -> None:
            while True:
                message = b"%d" % next(numbers)
                assert await storage.append([(f"{key}/0", [message])]) == 1
                given[key].append((time.monotonic(), message))

        for _ in range(30 if everything else 2):
            begin = next(numbers)
            producing = [asyncio.create_task(produce(key)) for key in KEYS]
            await asyncio.sleep(random.uniform(0.05, 0.3))
            for task in producing:
                task.cancel()
            killed = time.monotonic()
            await asyncio.to_thread(server.kill)
            await asyncio.wait(producing)
            await asyncio.to_thread(server.start)
            found = await handed_out(storage, HANDLER)
            for key, its in given.items():
                # What was acknowledged right before may be lost as well: its messages come again then.
                new = [message for message in found.get(key, []) if int(message) > begin]
                lost += check_suffix(its, new, killed, LOST_S[policy])
                its.clear()
        assert await wrongs(storage.server) == []
        await storage.close()
    tried(f"messages lost with appendfsync {policy}", lost)
    tried(f"messages under kills of a server with appendfsync {policy}", next(numbers))


def check_suffix(given: list[tuple[float, bytes]], found: list[bytes], killed: float, lost_s: float) -> int:
    """What is there begins as what was confirmed; one more may be there, whose answer was under way. Returns how many
    are missing.
    """
    confirmed = [message for _, message in given]
    there = found[: len(confirmed)]
    assert there == confirmed[: len(there)], f"{found} of {confirmed}"
    assert len(found) <= len(confirmed) + 1
    missing = given[len(there) :]
    late = [message for at, message in missing if at < killed - lost_s]
    assert not late, f"{late} were confirmed more than {lost_s} s before the end"
    return len(missing)


def test_the_check_tells_good_from_bad() -> None:
    given = [(1.0, b"a"), (2.0, b"b"), (3.0, b"c")]
    assert check_suffix(given, [b"a", b"b", b"c"], 3.5, 0) == 0
    assert check_suffix(given, [b"a", b"b", b"c", b"d"], 3.5, 0) == 0
    assert check_suffix(given, [b"a"], 3.5, 2) == 2
    for found, lost_s in (([b"a", b"b"], 0), ([b"a"], 1), ([b"a", b"c"], 9), ([b"b", b"c"], 9)):
        with pytest.raises(AssertionError):
            check_suffix(given, found, 3.5, lost_s)


def limit(server: Server, more: int = 1 << 19) -> None:
    """Let the server have so many bytes more than now."""
    server.ask("CONFIG", "SET", "maxmemory", str(int(server.figure("memory", "used_memory")) + more))


async def test_17_a_full_server_takes_nothing_and_lets_everything_go(tried: Tried) -> None:
    async with started() as server:
        storage = storage_at(server.socket)
        queue, record, key = Queue(storage), f"{Record.__module__}/Record", f"{Record.__module__}/Record/0"
        storage.settings.when_full, large = "raise", bytes(20_000)
        taken = await queue.register(Record, Note("", 0))
        limit(server)
        while await storage.append([(f"{key}/0", [large])]):
            taken += 1
        # Connections give back what their buffers have grown by, once they are idle for seconds: this is to be no room.
        limit(server, -(1 << 17))
        with pytest.raises(QueueFull) as full:
            await queue.register(Record, Note("", taken, 0, large))
        assert [note.number for note in full.value.not_accepted] == [taken]
        assert (await storage.backlog()).queued == taken
        storage.settings.when_full = "wait"
        busy.append(lambda: storage.server.busy)
        waiting = await suspended(queue.register(Record, *full.value.not_accepted))
        busy.clear()

        one, grave, token = Terms((0,), 1), dead_pipe(record), await storage.claim(key)
        for _ in range(3):
            hand = Hand(key, token, await storage.take(key, token, one))
            assert (await storage.fail(hand)).attempts == 1
            hand = Hand(key, token, await storage.take(key, token, one))
            assert await storage.bury(hand, hand.batch.sequence, grave, b"letter")
        assert await storage.unclaim(key, token)
        handled = await drained(storage, record)
        assert await finished(waiting) == 1
        handled += await drained(storage, record)

        assert handled == taken + 1 - 3
        counts = await storage.backlog()
        assert (counts.queued, counts.dead) == (0, 3)
        assert await wrongs(storage.server) == []
        await storage.close()
        tried("requests of a full server", taken)


async def drained(storage: RedisStorage, handler: str) -> int:
    return sum(map(len, (await handed_out(storage, handler)).values()))
