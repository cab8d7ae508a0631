"""A process that moves a storage of several partitions may die between any two of its scripts, and between two
partitions that one step has to do with.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from random import Random
from typing import Any

import pytest

from shardq.drivers.redis.moving import MovableServer
from shardq.drivers.redis.servers.layout import Layout
from shardq.errors import MoveRefused, StorageMoved
from shardq.model import Chunk, Place, Standing
from shardq.moving import mover
from shardq.moving.mover import Ends
from tests.support.chance import SEED
from tests.support.drivers import MOST_PARTITIONS, Backend, driver_named
from tests.support.moving import dumped, fill

#: Scripts that change what the next process finds.
STEPS = frozenset({"arrive", "arrived", "bring", "follow", "forget", "incoming", "leave_for", "settle"})
#: One thread in each partition, of a handler that nothing else has.
PIPES = [
    next(
        f"app.jobs/Apart/{n}/0"
        for n in itertools.count()
        if Layout("", MOST_PARTITIONS).partition_of(f"app.jobs/Apart/{n}") == place
    )
    for place in range(MOST_PARTITIONS)
]


class Cut(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
async def both() -> AsyncIterator[tuple[Backend, Backend]]:
    made = driver_named("redis, partitions").make(None), driver_named("redis, cluster").make(None)
    yield made
    for backend in made:
        await backend.discard()


@contextmanager
def dying_at(number: int, *backends: Backend) -> Iterator[list[int]]:
    """The process dies before the step of that number, on one partition, at either end. Of a call to several partitions
    those before it are made.
    """
    left = [number]
    with ExitStack() as undo:
        for backend in backends:
            server: Any = backend.storage.server  # type: ignore[attr-defined]

            async def run(name: str, *its: Any, _run: Any = server.run, **more: Any) -> Any:
                left[0] -= name in STEPS
                if left[0] == 0:
                    raise Cut
                return await _run(name, *its, **more)

            async def run_each(name: str, calls: Any, _run: Any = server.run_each, **more: Any) -> Any:
                if name in STEPS and left[0] <= len(calls):
                    await _run(name, dict(itertools.islice(calls.items(), left[0] - 1)), **more)
                    left[0] = 0
                    raise Cut
                left[0] -= len(calls) if name in STEPS else 0
                return await _run(name, calls, **more)

            server.run, server.run_each = run, run_each
            undo.callback(vars(server).pop, "run")
            undo.callback(vars(server).pop, "run_each")
        yield left


def ends_of(source: Backend, target: Backend) -> Ends:
    """Both ends for a process that knows nothing of earlier ones."""
    come_from: Any = MovableServer(source.storage)  # type: ignore[arg-type]
    go_to: Any = MovableServer(target.storage)  # type: ignore[arg-type]
    return Ends(come_from, go_to, source.url, target.url)


async def died_at(number: int, both: tuple[Backend, Backend], what: Callable[[Ends], Any]) -> bool:
    """Whether the process that did this died at the step of that number."""
    try:
        with dying_at(number, *both):
            await what(ends_of(*both))
    except Cut:
        return True
    return False


async def moves(ends: Ends) -> None:
    await mover.move(ends, 0)


async def test_a_move_that_is_cut_off_at_each_step_goes_on(both: tuple[Backend, Backend]) -> None:
    source, target = both
    await fill(source.storage, Random(f"{os.environ[SEED]} steps"), 25)
    before, number = await _dumped(source), 1
    while await died_at(number, both, moves):
        number += 1
        stands = [await _stands(backend) for backend in both]
        if stands[0] is not Standing.LEFT:
            assert await _dumped(source) == before
        if stands[0] is Standing.LEAVING:  # programs are told to go to the target, and must not be there first
            assert [await target.storage.append([(pipe, [b"new"])]) for pipe in PIPES] == [None] * len(PIPES)
        if stands[0] is Standing.LEFT:
            for pipe in PIPES:
                with pytest.raises(StorageMoved):
                    await source.storage.append([(pipe, [b"new"])])

    assert number > 20
    assert await _dumped(target) == before
    assert (await source.storage.backlog()).queued == 0


@pytest.mark.parametrize("begun", [5, 12, 25])
async def test_a_cancellation_that_is_cut_off_at_each_step_goes_on(both: tuple[Backend, Backend], begun: int) -> None:
    """`begun`: at which of its steps the mover died before."""
    source, target = both
    await fill(source.storage, Random(f"{os.environ[SEED]} cancel"), 15)
    before = await _dumped(source)
    assert await died_at(begun, both, moves)
    number = 1
    with suppress(MoveRefused):  # there is nothing to cancel any more
        while await died_at(number, both, mover.cancel):
            number += 1
    for _ in range(2):  # the second finds nothing, or puts right what the first could not know of
        with suppress(MoveRefused):
            await mover.cancel(ends_of(*both))

    assert number > 3
    assert await _dumped(source) == before
    for backend in both:
        assert await backend.storage.append([(pipe, [b"new"]) for pipe in PIPES]) == len(PIPES)
    counts = await target.storage.backlog()
    assert (counts.queued, counts.deferred, counts.recurrent, counts.dead) == (len(PIPES), 0, 0, 0)


async def test_what_was_cancelled_half_moves_after_all(both: tuple[Backend, Backend]) -> None:
    source, target = both
    await fill(source.storage, Random(f"{os.environ[SEED]} after all"), 15)
    before = await _dumped(source)
    for number in range(1, 20):
        await died_at(20, both, moves)
        with suppress(MoveRefused):
            await died_at(number, both, mover.cancel)

    await moves(ends_of(*both))

    assert await _dumped(target) == before


async def test_a_cancellation_that_comes_too_late_opens_nothing(both: tuple[Backend, Backend]) -> None:
    source, _ = both
    await source.storage.append([(pipe, [b"old"]) for pipe in PIPES])
    ends = ends_of(*both)
    await ends.target.arrive(7, ends.come_from)
    await ends.source.leave(7, ends.go_to)
    await ends.source.hand_over(7)

    assert not await ends.source.stay(7)

    for pipe in PIPES:
        with pytest.raises(StorageMoved):
            await source.storage.append([(pipe, [b"new"])])
    await ends.target.clear(7)


async def test_nothing_comes_into_a_storage_that_has_not_forgotten_what_left_it(
    both: tuple[Backend, Backend],
) -> None:
    """It says so before anything in it changes: what left is known to have left until it is forgotten."""
    source, _ = both
    await source.storage.append([(PIPES[1], [b"old"])])  # nothing in the partition that decides
    ends = ends_of(*both)
    await ends.source.leave(7, ends.go_to)
    await ends.source.hand_over(7)

    with pytest.raises(MoveRefused):
        await ends.source.arrive(8, "shm://third")

    assert (await ends.source.stand())[:2] == (Standing.LEFT, 7)
    for pipe in PIPES:
        with pytest.raises(StorageMoved):
            await source.storage.append([(pipe, [b"new"])])


async def test_what_is_being_dropped_cannot_be_opened(both: tuple[Backend, Backend]) -> None:
    """A part of it may be gone. What a process left of it is dropped by the next one."""
    _, target = both
    ends = ends_of(*both)
    await ends.target.arrive(7, ends.come_from)
    for number, pipe in enumerate(PIPES):
        assert await ends.target.store(7, Chunk(number, Place.TUBE, pipe, [b"came"]))
    with suppress(Cut), dying_at(4, target):
        await ends.target.clear(7)

    with pytest.raises(MoveRefused, match="--cancel"):
        await ends.target.open(7)

    assert (await ends.target.stand()).standing is Standing.OPEN
    assert (await target.storage.backlog()).queued == 0
    assert await target.storage.append([(pipe, [b"new"]) for pipe in PIPES]) == len(PIPES)


async def test_an_earlier_word_does_not_take_the_place_of_a_later_one(both: tuple[Backend, Backend]) -> None:
    """A process that was stopped between two partitions goes on when the storage stands otherwise."""
    source, target = both
    ends = ends_of(*both)
    with suppress(Cut), dying_at(2, source, target):
        await ends.source.leave(7, ends.go_to)
    gate = (await ends.source._told(0))["gate"]  # type: ignore[attr-defined]  # what that process was about to pass on
    assert await ends.source.stay(7)

    for place in range(1, 3):
        assert await source.storage.server.run("follow", place, {"gate": gate}) == 1  # type: ignore[attr-defined]

    assert await source.storage.append([(pipe, [b"new"]) for pipe in PIPES]) == len(PIPES)


async def _stands(backend: Backend) -> Standing:
    """How partition 0 says that the storage stands. Lets no other partition follow."""
    told = await MovableServer(backend.storage)._told(0)  # type: ignore[arg-type]
    return Standing[told["standing"].upper()]


async def _dumped(backend: Backend) -> dict[str, Any]:
    assert backend.movable
    return await dumped(backend.movable)
