"""What a storage knows of one pipe: O8 of `shardq.protocols.Observer`, on every driver; memory is asked itself."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from shardq import observe
from shardq.drivers import RuntimeStorage
from shardq.errors import HandlerError
from shardq.model import Hand, Standing, Terms
from shardq.protocols import Knowing, Lock, Storage
from tests.contracts.test_storage import KEY, PIPE, claimed, numbered
from tests.support import hands
from tests.support.drivers import Backend

OTHER_PRIORITY = f"{KEY}/1"


@pytest.fixture
def knowing(storage: Storage, backend: Backend) -> Iterator[Knowing]:
    if isinstance(storage, RuntimeStorage):
        yield storage
        return
    if not backend.url:
        pytest.skip("no other process can look into it")
    observer = observe(backend.url)
    yield observer
    observer.close()


async def test_O8_a_pipe_that_is_not_there(knowing: Knowing) -> None:
    facts = await knowing.facts(PIPE)
    assert (facts.queued, facts.others, facts.owner, facts.attempts, facts.rests_s) == (0, {}, None, 0, 0)
    assert (facts.standing, facts.guard, facts.moving) == (Standing.OPEN, "", False)
    with pytest.raises(HandlerError):
        await knowing.facts("no pipe")


async def test_O8_requests_are_counted_by_priority(storage: Storage, knowing: Knowing) -> None:
    assert await storage.append([(PIPE, numbered(3)), (OTHER_PRIORITY, numbered(2))])
    await hands.put_in_front(storage, PIPE, b"ahead")
    facts = await knowing.facts(PIPE)
    assert (facts.queued, facts.others) == (4, {1: 2})
    facts = await knowing.facts(f"{KEY}/7")
    assert (facts.queued, facts.others) == (0, {0: 4, 1: 2})


async def test_O8_what_is_in_hand(storage: Storage, lock: Lock, knowing: Knowing) -> None:
    assert await storage.append([(PIPE, numbered(3)), (OTHER_PRIORITY, numbered(2))])
    token = await claimed(lock)
    facts = await knowing.facts(PIPE)
    assert facts.owner
    assert (facts.owner.at.pid, facts.taken) == (os.getpid(), None)

    await storage.take(KEY, token, Terms((1, 0), 2))
    facts = await knowing.facts(PIPE)
    assert facts.owner
    assert (facts.owner.at.pid, facts.owner.at.requests, facts.taken, facts.queued) == (os.getpid(), 2, 1, 3)

    assert await lock.release(KEY)
    facts = await knowing.facts(PIPE)
    assert (facts.owner, facts.taken) == (None, None)


async def test_O8_failures_and_rest(storage: Storage, lock: Lock, knowing: Knowing) -> None:
    assert await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    for _ in range(2):
        await storage.fail(Hand(KEY, token, await storage.take(KEY, token, Terms((0,), 1))))
    assert await storage.unclaim(KEY, token, pause_s=60.0)

    facts = await knowing.facts(PIPE)
    assert (facts.owner, facts.attempts, facts.died) == (None, 2, False)
    assert 0 < facts.rests_s <= 60
    assert 0 <= facts.failed_ago_s < 600
