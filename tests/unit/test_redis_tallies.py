"""What is counted of handlers on a server: by scripts what is rare, by workers what is frequent."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path

import pytest

from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.tallies import MOST_TALLIED, OTHER, RATE_SPAN_S, handlers_of, sums_of
from shardq.drivers.redis.verbs import presence, tallying
from shardq.drivers.redis.verbs.tallying import SAID_EACH_S
from shardq.errors import FencedError
from shardq.model import Hand, HandlerView, Terms
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_proxy import proxied
from tests.support.redis_server import miscounted, removed_when_right, running_server
from tests.support.tasks import finished

HANDLER = "app.jobs/Resize"
KEY, PIPE = f"{HANDLER}/0", f"{HANDLER}/0/0"
TERMS = {HANDLER: Terms((0,), 1)}
#: More than that has not passed since the storage was made.
SECONDS = 60.0


def opened(partitions: int = 1) -> RedisStorage:
    address = Address(path=str(running_server().socket))
    return RedisStorage(address, StorageSettings(prefix=f"{segment_name()}_"), partitions=partitions)


@pytest.fixture
async def storage() -> AsyncIterator[RedisStorage]:
    storage = opened()
    await storage.server.layout()
    yield storage
    assert await miscounted(storage.server) == []
    await removed_when_right(storage)


async def views(storage: RedisStorage) -> dict[str, HandlerView]:
    return {view.handler: view for view in await handlers_of(storage.server)}


async def test_a_worker_says_once_a_second_what_it_did(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(tallying.time, "monotonic", lambda: clock[0])
    assert await storage.append([(PIPE, [b"x"] * 8)])
    hand, seen = await storage.turn(None, None, TERMS), list[int]()
    for _ in range(6):
        clock[0] += SAID_EACH_S * 0.4
        hand = await storage.turn(hand, None, TERMS)
        seen.append((await views(storage))[HANDLER].done)

    assert seen == [0, 0, 3, 3, 3, 6]  # with the very turn that acknowledges
    view = (await views(storage))[HANDLER]
    assert view.batches == view.wait.count == view.work.count == 6
    assert hand
    assert await storage.unclaim(hand.key, hand.token)


async def test_a_worker_that_has_nothing_to_do_has_said_all(storage: RedisStorage) -> None:
    assert await storage.append([(PIPE, [b"x"] * 5)])
    hand = await storage.turn(None, None, TERMS)
    while hand and hand.batch.count:
        hand = await storage.turn(hand, None, TERMS)
    assert hand
    hand = await storage.rest(hand, None, TERMS, 0.0)
    assert hand
    assert (await views(storage))[HANDLER].done == 5
    assert await storage.unclaim(hand.key, hand.token)


async def test_what_was_refused_is_not_counted(storage: RedisStorage) -> None:
    """The thread of the hand was given to another worker."""
    assert await storage.append([(PIPE, [b"x"] * 2)])
    hand = await storage.turn(None, None, TERMS)
    assert hand
    await storage.of_owner(storage.turning.owner, ending=None)
    with pytest.raises(Exception, match="token"):
        await storage.turn(hand, None, TERMS)
    await storage.turning.tallying.say_last()

    view = (await views(storage))[HANDLER]
    assert (view.done, view.batches, view.failed["died"]) == (0, 0, 1)


async def test_what_was_counted_before_a_refused_turn_is_said_later(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(tallying.time, "monotonic", lambda: clock[0])
    assert await storage.append([(PIPE, [b"x"] * 3)])
    hand = await storage.turn(await storage.turn(None, None, TERMS), None, TERMS)
    assert hand
    await storage.of_owner(storage.turning.owner, ending=None)
    clock[0] += SAID_EACH_S
    with pytest.raises(FencedError):
        await storage.turn(hand, None, TERMS)
    assert (await views(storage))[HANDLER].done == 0
    await storage.turning.tallying.say_last()

    view = (await views(storage))[HANDLER]
    assert (view.done, view.batches) == (1, 1)


async def test_a_process_that_ends_waits_for_no_silent_server(
    storage: RedisStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "_PATIENCE_S", 0.05)
    async with proxied(tmp_path, running_server().socket) as proxy:
        its = RedisStorage(Address(path=str(proxy.socket)), storage.settings)
        assert await its.append([(PIPE, [b"x"])])
        hand = await its.turn(None, None, TERMS)
        assert hand
        assert await its.pop(hand, 1)
        proxy.is_silent = True
        await finished(its.close())


async def test_a_handler_that_nobody_serves_has_a_rate_beside_others(storage: RedisStorage) -> None:
    """Once a second the rate of one of them is brought to the moment: here that of the first alone."""
    for name in ("m/First", "m/Second"):
        assert await storage.append([(f"{name}/0/0", [b"x"] * 100)])

    assert (await views(storage))["m/Second"].accepted_per_s > 0


async def test_what_becomes_a_letter_is_not_counted_as_done(storage: RedisStorage) -> None:
    assert await storage.append([(PIPE, [b"x"] * 3)])
    token = await storage.claim(KEY)
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 3)))
    assert await storage.bury(hand, hand.batch.numbers[0], f"{HANDLER}/dead/0", b"letter")
    assert await storage.pop(hand, 3)
    assert await storage.unclaim(KEY, token)

    view = (await views(storage))[HANDLER]
    assert (view.done, view.dead, view.batches) == (2, 1, 1)


async def test_a_forked_process_does_not_say_it_again(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await storage.append([(PIPE, [b"x"])])
    token = await storage.claim(KEY)
    hand = Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1)))
    assert await storage.pop(hand, 1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: -1)
        assert storage.turning.tallying.say().told == {}
    assert await storage.unclaim(KEY, token)


async def test_rates_rise_by_what_came_and_fall_in_silence() -> None:
    storage = opened()
    assert await storage.append([(PIPE, [b"x"] * 1000)])
    await storage.server.run("tally", 0, {"tallies": {HANDLER: {"d": 500}}})
    reply = await storage.server.run("tallies", 0, {})

    def rates(later_s: float) -> tuple[float, float]:
        its = sums_of([int(reply[0]) + round(later_s * 1e6), *reply[1:]])[HANDLER]
        return its["came_per_s"], its["done_per_s"]

    fallen = math.exp(-SECONDS / RATE_SPAN_S)
    assert 100 * fallen <= rates(0)[0] <= 100
    assert 50 * fallen <= rates(0)[1] <= 50
    assert rates(RATE_SPAN_S * 0.9) == pytest.approx([rate / math.exp(0.9) for rate in rates(0)], rel=0.01)
    await storage.server.destroy()
    await storage.close()


async def test_what_came_long_ago_has_its_mean_rate_until_a_script_looks(storage: RedisStorage) -> None:
    assert await storage.append([(PIPE, [b"x"])])
    assert await storage.append([(PIPE, [b"x"] * 600)])  # within the second, so no rate is made of them
    reply = await storage.server.run("tallies", 0, {})
    found = sums_of([int(reply[0]) + 60 * 10**6, *reply[1:]])[HANDLER]
    assert found["came_per_s"] == pytest.approx(10, rel=0.2)
    assert found["accepted"] == 601


async def test_handlers_beyond_so_many_are_counted_together(storage: RedisStorage) -> None:
    names = [f"m/H{number:03}" for number in range(MOST_TALLIED + 10)]
    for name in names * 2:
        assert await storage.append([(f"{name}/0/0", [b"x"])])
        await storage.server.run("tally", 0, {"tallies": {name: {"d": 1}}})
    found = await views(storage)
    assert len(found) == MOST_TALLIED + 1
    assert (found[OTHER].accepted, found[OTHER].done) == (20, 20)
    assert sum(view.accepted for view in found.values()) == 2 * len(names)
    for name in names:
        assert await storage.remove(f"{name}/0/0", b"x")


async def test_partitions_are_added_up_and_have_no_more_names_together() -> None:
    storage, names = opened(3), [f"m/H{number:03}" for number in range(MOST_TALLIED + 30)]
    for start in range(0, len(names), 25):
        few = names[start : start + 25]
        assert await storage.append(list(chain(*([(f"{name}/{n}/0", [b"x"]) for n in range(5)] for name in few))))
    found = await views(storage)
    assert len(found) == MOST_TALLIED + 1
    assert (found[OTHER].accepted, found[names[0]].accepted) == (5 * 30, 5)
    await removed_when_right(storage)
