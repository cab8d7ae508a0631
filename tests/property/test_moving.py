"""Whatever a storage holds, a move leaves it in the other one: between all drivers, there and back."""

from __future__ import annotations

import itertools
import os
import re
from random import Random
from typing import Any

import pytest

from shardq.errors import MoveRefused, QueueFull, StorageMoved
from shardq.model import Hand, Standing, Terms, key_of
from shardq.moving import mover
from shardq.moving.mover import Ends
from tests.support.chance import SEED
from tests.support.drivers import MIB, Backend, Driver, driver_named
from tests.support.moving import MOVING, PAIRS, PIPES, Open, dumped, ends_of, fill, pair_name


@pytest.mark.parametrize("run", range(3))
async def test_all_is_there_after_a_move(pair: tuple[Backend, Backend], run: int) -> None:
    source, target = pair
    random = Random(f"{_seed()} {source.url[:5]} {target.url[:5]} {run}")
    await fill(source.storage, random, 150)
    before = await _dumped(source)

    moved = await mover.move(ends_of(source, target), 0)

    assert await _dumped(target) == before
    assert moved.messages == sum(before["figures"][:4]) + len(before["kept"])
    counts = await source.storage.backlog()
    assert counts.queued + counts.deferred + counts.recurrent + counts.dead == 0
    with pytest.raises(StorageMoved, match=_named(target)):
        await source.storage.append([(PIPES[0], [b"new"])])
    assert (await mover.move(ends_of(source, target), 0)).before


async def test_it_moves_back(pair: tuple[Backend, Backend]) -> None:
    source, target = pair
    await fill(source.storage, Random(f"{_seed()} back"), 100)
    before = await _dumped(source)

    await mover.move(ends_of(source, target), 0)
    await mover.move(ends_of(target, source), 0)

    assert await _dumped(source) == before
    await source.storage.check_stays()
    assert await source.storage.append([(PIPES[0], [b"new"])]) == 1
    with pytest.raises(StorageMoved, match=_named(source)):
        await target.storage.check_stays()


class Cut(BaseException):
    """Stands for the end of the process."""


class Cutting:
    """One end of a move, on which the mover dies before the call of that number, or right after it."""

    def __init__(self, its: Any, counter: list[int], *, after: bool) -> None:
        self._its, self._counter, self._after = its, counter, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._its, name)
        if name == "storage":
            return found

        async def call(*arguments: Any) -> Any:
            self._counter[0] -= 1
            if self._counter[0] == 0 and not self._after:
                raise Cut
            result = await found(*arguments)
            if self._counter[0] == 0:
                raise Cut
            return result

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before a call", "after a call"])
async def test_a_move_that_is_cut_off_at_each_call_goes_on(pair: tuple[Backend, Backend], after: bool) -> None:
    source, target = pair
    await fill(source.storage, Random(f"{_seed()} cut"), 40)
    before, cuts = await _dumped(source), 0
    for number in itertools.count(1):
        counter, plain = [number], afresh(source, target)
        come_from: Any = Cutting(plain.source, counter, after=after)
        go_to: Any = Cutting(plain.target, counter, after=after)
        try:
            await mover.move(plain._replace(source=come_from, target=go_to), 0)
            break
        except Cut:
            cuts += 1
        standing = (await plain.source.stand()).standing
        if standing is not Standing.LEFT:
            assert await _dumped(source) == before
        if standing is Standing.LEAVING:  # programs are told to go to the target, and must not be there first
            assert await target.storage.append([(PIPES[0], [b"new"])]) is None

    assert cuts > 10
    assert await _dumped(target) == before


def afresh(source: Backend, target: Backend) -> Ends:
    """Both ends for another process: what an earlier one knew is gone with it."""
    ends = ends_of(source, target)
    return ends._replace(
        source=type(ends.source)(source.storage),  # type: ignore[call-arg]
        target=type(ends.target)(target.storage),  # type: ignore[call-arg]
    )


async def test_two_that_move_at_once_do_no_harm(pair: tuple[Backend, Backend]) -> None:
    """The other one does all of the move while this one stores a chunk."""
    source, target = pair
    await fill(source.storage, Random(f"{_seed()} two"), 60)
    before, plain = await _dumped(source), ends_of(source, target)
    calls = 0

    class Slow(Cutting):
        def __getattr__(self, name: str) -> Any:
            found = getattr(self._its, name)
            if name != "store":
                return found

            async def store(*arguments: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == 5:
                    await mover.move(plain, 0)
                return await found(*arguments)

            return store

    slow: Any = Slow(plain.target, [0], after=False)
    with pytest.raises(MoveRefused):
        await mover.move(plain._replace(target=slow), 0)

    assert await _dumped(target) == before


async def test_nothing_moves_while_a_worker_has_something_in_hand(pair: tuple[Backend, Backend]) -> None:
    source, target = pair
    await source.storage.append([(PIPES[0], [b"one", b"two"])])
    key = key_of(PIPES[0])
    token = await source.storage.claim(key)
    batch = await source.storage.take(key, token, Terms((0,), 1))

    with pytest.raises(MoveRefused, match=key):
        await mover.move(ends_of(source, target), 0)
    assert await source.storage.append([(PIPES[0], [b"three"])]) == 1  # the move that could not begin is undone

    await source.storage.pop(Hand(key, token, batch), 1)
    await source.storage.unclaim(key, token)
    await mover.move(ends_of(source, target), 0)
    assert (await target.storage.range(PIPES[0], 9)).messages == [b"two", b"three"]


async def test_nothing_moves_into_what_is_not_empty(pair: tuple[Backend, Backend]) -> None:
    source, target = pair
    await source.storage.append([(PIPES[0], [b"one"])])
    await target.storage.append([(PIPES[1], [b"other"])])

    with pytest.raises(MoveRefused, match="not empty"):
        await mover.move(ends_of(source, target), 0)

    await source.storage.check_stays()
    assert await target.storage.length(PIPES[1]) == 1


async def test_a_move_that_fails_before_it_copies_is_undone(pair: tuple[Backend, Backend]) -> None:
    """By an error of any kind."""
    source, target = pair
    await source.storage.append([(PIPES[0], [b"one"])])
    plain = ends_of(source, target)

    class Failing(Cutting):
        def __getattr__(self, name: str) -> Any:
            return _broken if name == "message_bytes" else getattr(self._its, name)

    failing: Any = Failing(plain.source, [0], after=False)
    with pytest.raises(ZeroDivisionError):
        await mover.move(plain._replace(source=failing), 0)

    assert await source.storage.append([(PIPES[0], [b"two"])]) == 1
    assert await target.storage.append([(PIPES[1], [b"other"])]) == 1


async def test_a_move_elsewhere_is_refused_meanwhile(pair: tuple[Backend, Backend]) -> None:
    source, target = pair
    assert source.movable
    await source.movable.leave(5, "shm://third")

    with pytest.raises(MoveRefused, match="shm://third"):
        await mover.move(ends_of(source, target), 0)
    with pytest.raises(MoveRefused, match="nothing to cancel"):
        await mover.cancel(ends_of(source, target))


async def test_a_move_can_be_cancelled(pair: tuple[Backend, Backend]) -> None:
    source, target = pair
    await fill(source.storage, Random(f"{_seed()} cancel"), 60)
    before, plain, counter = await _dumped(source), ends_of(source, target), [30]
    cutting: Any = Cutting(plain.target, counter, after=True)
    with pytest.raises(Cut):
        await mover.move(plain._replace(target=cutting), 0)

    await mover.cancel(plain)
    with pytest.raises(MoveRefused, match="nothing to cancel"):
        await mover.cancel(plain)

    assert await _dumped(source) == before
    assert (await target.storage.backlog()).queued == 0
    await source.storage.check_stays()
    assert await target.storage.append([(PIPES[0], [b"new"])]) == 1


@pytest.mark.parametrize("pair", PAIRS, ids=pair_name)
async def test_what_does_not_fit_does_not_begin(pair: tuple[Driver, Driver], opened: Open) -> None:
    source, target = opened(pair[0]), opened(pair[1], MIB)
    for _ in range(20):
        assert await source.storage.append([(PIPES[0], [bytes(64 * 1024)])])

    with pytest.raises(MoveRefused, match="more capacity"):
        await mover.move(ends_of(source, target), 0)

    await source.storage.check_stays()
    assert (await target.storage.backlog()).queued == 0


@pytest.mark.parametrize("source_driver", MOVING, ids=lambda driver: driver.name)
async def test_a_target_that_fills_up_ends_the_move_for_now(source_driver: Driver, opened: Open) -> None:
    """Room is made by giving more capacity: here to a storage on a server."""
    source, target = opened(source_driver), opened(driver_named("redis"), MIB)
    for number in range(14):
        assert await source.storage.append([(PIPES[number], [bytes(60 * 1024)])])
    await _fill_with_letters(source)
    before, plain = await _dumped(source), ends_of(source, target)
    target.storage.settings.capacity_bytes = 300 * 1024

    class Blind(Cutting):
        """Does not know how much room there is."""

        def __getattr__(self, name: str) -> Any:
            return _unknown if name == "room_bytes" else getattr(self._its, name)

    blind: Any = Blind(plain.target, [0], after=False)
    with pytest.raises(QueueFull, match="same command again"):
        await mover.move(plain._replace(target=blind), 0)
    with pytest.raises(StorageMoved):
        await source.storage.append([(PIPES[0], [b"new"])])
    assert await _dumped(source) == before

    target.storage.settings.capacity_bytes = MIB
    await mover.move(plain, 0)
    assert await _dumped(target) == before


async def _broken() -> None:
    raise ZeroDivisionError


async def _unknown() -> None:
    return None


async def _fill_with_letters(source: Backend) -> None:
    await fill(source.storage, Random("letters"), 20)


async def _dumped(backend: Backend) -> dict[str, Any]:
    assert backend.movable
    return await dumped(backend.movable)


def _named(backend: Backend) -> str:
    """Its URL, for `match`."""
    return re.escape(backend.url)


def _seed() -> str:
    return os.environ[SEED]
