"""Commands of one move, or of moves of one source, run at once: whichever is slow where, all messages are in one of
both storages, and a command gets them out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from shardq.errors import MoveRefused
from shardq.model import Standing
from shardq.moving import mover
from tests.support.chance import SEED
from tests.support.drivers import Backend
from tests.support.moving import PIPES, dumped, ends_of, fill
from tests.support.tasks import finished

Pair = tuple[Backend, Backend]
Meanwhile = Callable[[], Awaitable[object]]


class Slow:
    """One end of a move, for a process that is slow before its first call of this name, or right after it: all that is
    done `meanwhile`.
    """

    def __init__(self, its: Any, name: str, meanwhile: Meanwhile, *, after: bool = False) -> None:
        self._its, self._name, self._after = its, name, after
        self._meanwhile: Meanwhile | None = meanwhile

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._its, name)
        if name != self._name or self._meanwhile is None:
            return found
        meanwhile, self._meanwhile = self._meanwhile, None

        async def call(*arguments: Any) -> Any:
            if not self._after:
                await meanwhile()
            result = await found(*arguments)
            if self._after:
                await meanwhile()
            return result

        return call


async def filled(source: Backend) -> dict[str, Any]:
    """What the source has."""
    await fill(source.storage, Random(f"{os.environ[SEED]} at once"), 40)
    return await _dumped(source)


async def test_a_second_move_does_not_drop_what_the_first_one_brought(pair: Pair) -> None:
    """It looked at the source before the first one began, and comes to the target when all is there."""
    source, target = pair
    before, plain = await filled(source), ends_of(source, target)

    looked, go_on = asyncio.Event(), asyncio.Event()

    async def first_goes_on() -> None:
        looked.set()
        await go_on.wait()

    async def second_goes_on() -> None:
        go_on.set()
        with pytest.raises(MoveRefused, match="another process"):
            await finished(second)

    looks: Any = Slow(plain.source, "stand", first_goes_on, after=True)
    second = asyncio.create_task(mover.move(plain._replace(source=looks), 0))
    await looked.wait()
    late: Any = Slow(plain.source, "hand_over", second_goes_on)
    await mover.move(plain._replace(source=late), 0)

    assert await _dumped(target) == before
    assert (await mover.move(plain, 0)).before


async def test_a_cancellation_does_not_drop_what_a_move_brought(pair: Pair) -> None:
    """It looked at the source before the move began."""
    source, target = pair
    before, plain = await filled(source), ends_of(source, target)
    await plain.target.arrive(7, plain.come_from)
    looked: Any = Slow(plain.source, "stand", lambda: plain.source.leave(7, plain.go_to), after=True)

    with pytest.raises(MoveRefused, match="another process"):
        await mover.cancel(plain._replace(source=looked))

    assert (await plain.target.stand())[3] == 7
    await mover.move(plain, 0)
    assert await _dumped(target) == before


async def test_what_the_target_dropped_is_not_handed_over(pair: Pair) -> None:
    source, target = pair
    before, plain = await filled(source), ends_of(source, target)

    async def drop() -> None:
        await plain.target.clear((await plain.target.stand()).arriving_by)

    late: Any = Slow(plain.target, "settle", drop, after=True)
    with pytest.raises(MoveRefused, match="--cancel"):
        await mover.move(plain._replace(target=late), 0)
    assert (await plain.source.stand()).standing is Standing.LEAVING
    assert await _dumped(source) == before

    await mover.move(afresh(plain), 0)

    assert await _dumped(target) == before


@pytest.mark.parametrize("again", [False, True])
async def test_what_the_target_dropped_after_it_was_handed_over_is_taken_back(pair: Pair, again: bool) -> None:
    """`again`: another move of the source was about to begin there."""
    source, target = pair
    before, plain = await filled(source), ends_of(source, target)

    async def drop() -> None:
        await plain.target.clear((await plain.target.stand()).arriving_by)
        if again:
            await plain.target.arrive(5, plain.come_from)

    late: Any = Slow(plain.source, "hand_over", drop, after=True)
    for _ in range(2):
        with pytest.raises(MoveRefused, match="--cancel"):
            await mover.move(plain._replace(source=late), 0)

    await mover.cancel(plain)

    assert await _dumped(source) == before
    for backend, pipe in ((source, PIPES[0]), (target, PIPES[1])):
        assert await backend.storage.append([(pipe, [b"new"])]) == 1
    with pytest.raises(MoveRefused, match="nothing to cancel"):
        await mover.cancel(plain)


@pytest.mark.parametrize("late_by", ["open", "forget"])
async def test_what_the_target_has_is_not_taken_back(pair: Pair, late_by: str) -> None:
    source, target = pair
    before, plain = await filled(source), ends_of(source, target)

    async def cancelled() -> None:
        with pytest.raises(MoveRefused, match="has the messages already"):
            await mover.cancel(plain)

    end = {"open": plain.target, "forget": plain.source}[late_by]
    late: Any = Slow(end, late_by, cancelled)
    await mover.move(plain._replace(**{"target" if late_by == "open" else "source": late}), 0)
    await cancelled()

    assert await _dumped(target) == before


async def test_a_move_of_nothing_leaves_the_target_open_for_a_second_one(pair: Pair) -> None:
    """The second one looked at the source before, and finds the target empty."""
    source, target = pair
    plain = ends_of(source, target)

    async def first() -> None:
        await mover.move(plain, 0)

    looked: Any = Slow(plain.source, "stand", first, after=True)
    with pytest.raises(MoveRefused):
        await mover.move(plain._replace(source=looked), 0)

    assert await target.storage.append([(PIPES[0], [b"new"])]) == 1


def afresh(ends: mover.Ends) -> mover.Ends:
    """Both ends for another process: what an earlier one knew is gone with it."""
    return ends._replace(
        source=type(ends.source)(ends.source.storage),  # type: ignore[call-arg]
        target=type(ends.target)(ends.target.storage),  # type: ignore[call-arg]
    )


async def _dumped(backend: Backend) -> dict[str, Any]:
    assert backend.movable
    return await dumped(backend.movable)
