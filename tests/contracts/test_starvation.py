"""No priority waits for ever: S31 of `shardq.protocols.Storage`, on every driver and both event loops."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

import pytest

from shardq.errors import FencedError
from shardq.model import ahead_of
from shardq.protocols import Lock, Storage
from tests.contracts.test_storage import KEY, claimed, numbered

BATCHES = 60


def pipes_of(*priorities: int) -> list[str]:
    """As a worker asks for them: for each priority the one ahead, then the plain one."""
    return [pipe for priority in priorities for pipe in (ahead_of(f"{KEY}/{priority}"), f"{KEY}/{priority}")]


async def take_one(storage: Storage, pipes: list[str], token: int, limit: int | None) -> str:
    batch = await storage.take(pipes, 1, token, starvation_limit=limit)
    assert batch.count == 1
    await storage.pop(batch.pipe, batch.through, token)
    return batch.pipe.removesuffix("^")


@pytest.mark.parametrize("limit", [2, 3, 4, 5, 10])
@pytest.mark.parametrize("count", [2, 3], ids=["2 priorities", "3 priorities"])
async def test_S31_no_priority_waits_for_more_batches(storage: Storage, lock: Lock, count: int, limit: int) -> None:
    limit = max(limit, count)
    pipes = pipes_of(*range(count))
    for pipe in pipes[1::2]:
        await storage.append([(pipe, numbered(BATCHES))])
    token = await claimed(lock)

    served = [await take_one(storage, pipes, token, limit) for _ in range(BATCHES)]

    for start in range(BATCHES - limit + 1):
        assert set(served[start : start + limit]) == set(pipes[1::2])
    if limit >= 2 * count:
        assert served.count(pipes[1]) > BATCHES / 2


async def test_S31_without_a_limit_the_first_goes_first(storage: Storage, lock: Lock) -> None:
    pipes = pipes_of(0, 1)
    for pipe in pipes[1::2]:
        await storage.append([(pipe, numbered(20))])
    token = await claimed(lock)

    served = [await take_one(storage, pipes, token, None) for _ in range(40)]

    assert served == [pipes[1]] * 20 + [pipes[3]] * 20


async def test_S31_the_turn_belongs_to_the_thread_and_not_to_its_holder(storage: Storage, lock: Lock) -> None:
    """A worker that leaves the thread after each batch does not begin with the first priority each time."""
    pipes, limit = pipes_of(0, 1), 4
    for pipe in pipes[1::2]:
        await storage.append([(pipe, numbered(BATCHES))])
    served = []
    for _ in range(BATCHES):
        token = await claimed(lock)
        served.append(await take_one(storage, pipes, token, limit))
        await lock.release(KEY)

    for start in range(BATCHES - limit + 1):
        assert pipes[3] in served[start : start + limit]


async def test_S31_what_is_refused_was_nobodys_turn(storage: Storage, lock: Lock) -> None:
    pipes, limit = pipes_of(0, 1), 4
    for pipe in pipes[1::2]:
        await storage.append([(pipe, numbered(BATCHES))])
    token = await claimed(lock)
    served = []
    for _ in range(BATCHES):
        with pytest.raises(FencedError):
            await storage.take(pipes, 1, token + 1, starvation_limit=limit)
        served.append(await take_one(storage, pipes, token, limit))

    for start in range(BATCHES - limit + 1):
        assert pipes[3] in served[start : start + limit]


async def test_S31_what_runs_ahead_goes_with_its_priority(storage: Storage, lock: Lock) -> None:
    pipes, limit = pipes_of(0, 1), 4
    for pipe in pipes:
        await storage.append([(pipe, numbered(10))])
    token = await claimed(lock)
    served = []
    for _ in range(40):
        batch = await storage.take(pipes, 1, token, starvation_limit=limit)
        await storage.pop(batch.pipe, batch.through, token)
        served.append(batch.pipe)

    for first, second in ((pipes[0], pipes[1]), (pipes[2], pipes[3])):
        assert [pipe for pipe in served if pipe in (first, second)] == [first] * 10 + [second] * 10


async def test_S31_an_empty_priority_leaves_its_turn_to_the_others(storage: Storage, lock: Lock) -> None:
    pipes = pipes_of(0, 1, 2)
    await storage.append([(pipes[3], numbered(20))])
    token = await claimed(lock)

    assert [await take_one(storage, pipes, token, 3) for _ in range(20)] == [pipes[3]] * 20

    assert (await storage.take(pipes, 1, token, starvation_limit=3)).count == 0
