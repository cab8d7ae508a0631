"""No priority waits for ever: S31 of `shardq.protocols.Storage`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import pytest

from shardq.errors import FencedError
from shardq.model import Hand
from shardq.protocols import Lock, Storage
from tests.contracts.test_storage import KEY, claimed, numbered
from tests.support import hands

BATCHES = 60


def pipes_of(*priorities: int) -> list[str]:
    return [f"{KEY}/{priority}" for priority in priorities]


async def take_one(storage: Storage, pipes: list[str], token: int, limit: int | None) -> str:
    batch = await hands.take(storage, pipes, 1, token, starvation_limit=limit)
    assert batch.count == 1
    await storage.pop(Hand(KEY, token, batch), batch.count)
    return batch.pipe


@pytest.mark.parametrize("limit", [2, 3, 4, 5, 10])
@pytest.mark.parametrize("count", [2, 3], ids=["2 priorities", "3 priorities"])
async def test_S31_no_priority_waits_for_more_batches(storage: Storage, lock: Lock, count: int, limit: int) -> None:
    limit = max(limit, count)
    pipes = pipes_of(*range(count))
    for pipe in pipes:
        await storage.append([(pipe, numbered(BATCHES))])
    token = await claimed(lock)

    served = [await take_one(storage, pipes, token, limit) for _ in range(BATCHES)]

    for start in range(BATCHES - limit + 1):
        assert set(served[start : start + limit]) == set(pipes)
    if limit >= 2 * count:
        assert served.count(pipes[0]) > BATCHES / 2


async def test_S31_without_a_limit_the_first_goes_first(storage: Storage, lock: Lock) -> None:
    pipes = pipes_of(0, 1)
    for pipe in pipes:
        await storage.append([(pipe, numbered(20))])
    token = await claimed(lock)

    served = [await take_one(storage, pipes, token, None) for _ in range(40)]

    assert served == [pipes[0]] * 20 + [pipes[1]] * 20


async def test_S31_the_turn_belongs_to_the_thread_and_not_to_its_holder(storage: Storage, lock: Lock) -> None:
    """A worker that leaves the thread after each batch does not begin with the first priority each time."""
    pipes, limit = pipes_of(0, 1), 4
    for pipe in pipes:
        await storage.append([(pipe, numbered(BATCHES))])
    served = []
    for _ in range(BATCHES):
        token = await claimed(lock)
        served.append(await take_one(storage, pipes, token, limit))
        await lock.release(KEY)

    for start in range(BATCHES - limit + 1):
        assert pipes[1] in served[start : start + limit]


async def test_S31_what_is_refused_was_no_turn(storage: Storage, lock: Lock) -> None:
    pipes, limit = pipes_of(0, 1), 4
    for pipe in pipes:
        await storage.append([(pipe, numbered(BATCHES))])
    token = await claimed(lock)
    served = []
    for _ in range(BATCHES):
        with pytest.raises(FencedError):
            await hands.take(storage, pipes, 1, token + 1, starvation_limit=limit)
        served.append(await take_one(storage, pipes, token, limit))

    for start in range(BATCHES - limit + 1):
        assert pipes[1] in served[start : start + limit]


async def test_S31_what_is_in_front_goes_with_its_priority(storage: Storage, lock: Lock) -> None:
    pipes, limit = pipes_of(0, 1), 4
    for pipe in pipes:
        await storage.append([(pipe, numbered(10))])
        await hands.put_in_front(storage, pipe, *numbered(10, 10))
    token = await claimed(lock)
    served: dict[str, list[bytes]] = {pipe: [] for pipe in pipes}
    for _ in range(40):
        batch = await hands.take(storage, pipes, 1, token, starvation_limit=limit)
        await storage.pop(Hand(KEY, token, batch), batch.count)
        served[batch.pipe] += batch.messages

    assert list(served.values()) == [numbered(10, 10) + numbered(10)] * 2


async def test_S31_an_empty_priority_leaves_its_turn_to_the_others(storage: Storage, lock: Lock) -> None:
    pipes = pipes_of(0, 1, 2)
    await storage.append([(pipes[1], numbered(20))])
    token = await claimed(lock)

    assert [await take_one(storage, pipes, token, 3) for _ in range(20)] == [pipes[1]] * 20

    assert (await hands.take(storage, pipes, 1, token, starvation_limit=3)).count == 0
