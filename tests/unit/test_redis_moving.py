"""What becomes of a move where a replica that lacks what came last takes the place of a server: point 15 of what
storages on a server must show, of moves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.moving import MovableServer
from shardq.drivers.redis.servers.layout import Layout
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import MoveRefused
from shardq.model import Chunk, Standing
from shardq.moving.mover import Ends, move
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.moving import dumped
from tests.support.redis_replica import Replica
from tests.support.redis_server import removed_when_right, running_server
from tests.support.tasks import LIMIT_S

PARTITIONS = 4
#: A tube in each partition.
PIPES = [
    next(f"{key}/0" for n in range(99) if Layout("", PARTITIONS).partition_of(key := f"app.jobs/Resize/{n}") == place)
    for place in range(PARTITIONS)
]


async def opened(partitions: int) -> AsyncIterator[RedisStorage]:
    settings = StorageSettings(prefix=f"{segment_name()}_")
    storage = storage_of(f"{running_server().url}?partitions={partitions}", settings)
    yield storage
    await removed_when_right(storage)


@pytest.fixture
async def source() -> AsyncIterator[RedisStorage]:
    async for storage in opened(PARTITIONS):
        await storage.append([(pipe, [b"first", b"second"]) for pipe in PIPES])
        yield storage


@pytest.fixture(params=[1, PARTITIONS])
async def target(request: pytest.FixtureRequest) -> AsyncIterator[RedisStorage]:
    async for storage in opened(request.param):
        yield storage


Step = Callable[[], Awaitable[None]]


class Eventful(MovableServer):
    """Something happens around one of its steps that store."""

    def __init__(self, storage: RedisStorage, step: int, before: Step | None, behind: Step) -> None:
        super().__init__(storage)
        self._left, self._before, self._behind = step, before, behind

    async def store(self, move: int, chunk: Chunk) -> bool:
        self._left -= 1
        if not self._left and self._before:
            await self._before()
        stored = await super().store(move, chunk)
        if not self._left:
            await self._behind()
        return stored


class Killed(Exception):
    """The process that moves ends here."""


async def moved(source: RedisStorage, target: MovableServer) -> None:
    await move(Ends(MovableServer(source), target, "redis://from", "redis://to"), LIMIT_S)


@pytest.mark.parametrize("step", [2, len(PIPES)])
async def test_15_a_target_that_lost_a_part_of_a_move_is_brought_it_again(
    source: RedisStorage, target: RedisStorage, step: int
) -> None:
    before, replica = await dumped(MovableServer(source)), Replica(target)

    async def fail_over() -> None:
        replica.takes_over()

    with pytest.raises(MoveRefused, match="lost a part of what it had confirmed"):
        await moved(source, Eventful(target, step, replica.lags, fail_over))
    replica.close()

    assert await dumped(MovableServer(source)) == before
    await moved(source, MovableServer(target))
    assert await dumped(MovableServer(target)) == before


@pytest.mark.parametrize("lost", range(2), ids=["that decides", "another"])
@pytest.mark.parametrize("killed", [False, True], ids=["in one run", "between two runs"])
async def test_15_a_source_that_forgot_that_it_leaves_keeps_what_came_meanwhile(
    source: RedisStorage, target: RedisStorage, lost: int, killed: bool
) -> None:
    replica = Replica(source)
    await replica.lags([lost])

    async def fail_over() -> None:
        if killed:
            raise Killed
        await come()

    async def come() -> None:
        replica.takes_over()
        assert await source.append([(PIPES[lost], [b"meanwhile"])]) == 1

    eventful = Eventful(target, PARTITIONS, None, fail_over)
    if killed:
        with pytest.raises(Killed):
            await moved(source, eventful)
        await come()
    if not (killed and lost == 0):  # then it is a new move
        with pytest.raises(MoveRefused, match="changed while it moved"):
            await moved(source, MovableServer(target) if killed else eventful)
        assert (await MovableServer(target).stand()).standing is Standing.OPEN
        assert (await target.backlog()).queued == 0
    replica.close()

    assert (await source.range(PIPES[lost], 9)).messages == [b"first", b"second", b"meanwhile"]
    before = await dumped(MovableServer(source))
    await moved(source, MovableServer(target))
    assert await dumped(MovableServer(target)) == before
    assert (await source.backlog()).queued == 0
