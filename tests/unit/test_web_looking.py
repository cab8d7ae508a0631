"""What viewers of the page share: the one that looks at the storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shardq.drivers import SharedStorage
from shardq.errors import ConfigurationError, StorageUnavailable
from shardq.model import Counts
from shardq.pages import Page
from shardq.web.letters import Groups
from shardq.web.looking import Lookout, Meter, Seldom
from tests.support.drivers import MIB
from tests.support.tasks import LIMIT_S


async def test_a_viewer_who_asks_for_what_cannot_be_leaves_it_to_others(name: str) -> None:
    storage = SharedStorage.create(name, MIB)
    lookout = Lookout(f"shm://{name}")
    async with lookout.looking() as observer:
        with pytest.raises(ConfigurationError):
            async with lookout.looking():
                raise ConfigurationError("no such filter")
        assert (await observer.backlog()).queued == 0
        with pytest.raises(StorageUnavailable):
            async with lookout.looking():
                raise StorageUnavailable("gone")
    async with lookout.looking() as another:
        assert another is not observer
    lookout.close()
    storage.destroy()


class Busy:
    """A storage whose letters come and go all the time, and whose letters take long to be read."""

    def __init__(self) -> None:
        self.rounds = 0
        self._buried = 0

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Any]:
        yield self

    async def backlog(self) -> Counts:
        self._buried += 1
        return Counts(self._buried, self._buried, self._buried, dead=1)

    async def graves(self, after: Any = None) -> Page[str]:
        self.rounds += 1
        await asyncio.sleep(0.1)  # the meter takes it for work
        return Page()


async def test_letters_that_come_all_the_time_are_not_grouped_all_the_time() -> None:
    storage: Any = Busy()
    groups = Groups(storage)

    for _ in range(10):
        assert await groups.found() is not None

    assert storage.rounds < 10
    groups.forget()
    before = storage.rounds
    assert await groups.found() is not None
    assert storage.rounds == before + 1  # what a user did is seen at once


async def test_what_changes_during_a_long_look_is_looked_at_again() -> None:
    looks, begun, goes_on = 0, [asyncio.Event(), asyncio.Event()], asyncio.Event()

    async def look(meter: Meter) -> int:
        nonlocal looks
        looks += 1
        begun[looks - 1].set()
        await goes_on.wait()
        return looks

    seldom = Seldom(look)
    first = asyncio.create_task(seldom.found())
    await begun[0].wait()
    seldom.outdated()
    goes_on.set()
    assert await first == 1

    assert await seldom.found() == 1  # the next look begins
    async with asyncio.timeout(LIMIT_S):
        await begun[1].wait()
    assert await seldom.found() == 2
