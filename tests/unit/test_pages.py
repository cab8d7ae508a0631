"""Lists of the queue that are longer than a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shardq import Queue, Route, Tube
from shardq.deadletters import DeadLetter
from shardq.drivers import RuntimeStorage, SharedStorage
from shardq.model import Batch, Scheduled, dead_pipe, handler_name, key_of
from shardq.pages import Page, each, page_of
from shardq.protocols import Storage
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.segments import new_name
from tests.unit.queue_handlers import Threaded, jobs

PIPE = Tube(Threaded, Route(1, 5)).pipe
GRAVE = dead_pipe(handler_name(Threaded))


@pytest.fixture(params=["memory", "shared"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    if request.param == "memory":
        yield RuntimeStorage()
        return
    shared = SharedStorage.create(new_name(), 8 * MIB)
    yield shared
    shared.destroy()


async def bury(storage: Storage, count: int) -> None:
    await storage.append([(PIPE, [b"%d" % number for number in range(count)])])
    token = await storage.claim(key_of(PIPE))
    while (batch := await hands.take(storage, [PIPE], 1, token)).count:
        letter = DeadLetter(PIPE, batch.sequence, batch.payload, "parked", "", 0, 1, 1).encoded()
        assert await hands.bury(storage, PIPE, batch.sequence, token, GRAVE, letter)


async def test_all_recurrent_requests_are_listed(storage: Storage) -> None:
    queue = Queue(storage)
    for number, job in enumerate(jobs(200)):
        await queue.register(Threaded, job, recurrent=60 + number)

    found = await queue.recurrent.list()

    assert [recurring.schedule for recurring in found] == [f"every {60 + number}" for number in range(200)]
    assert [recurring async for recurring in queue.recurrent.each()] == found


async def test_all_dead_letters_are_listed(storage: Storage) -> None:
    await bury(storage, 100)
    letters = Queue(storage).dead_letters

    found = await letters.list(Threaded)

    assert [buried.letter.message for buried in found] == [b"%d" % number for number in range(100)]
    assert [buried async for buried in letters.each()] == await letters.list() == found
    assert await letters.drop(*found[10:30]) == 20
    assert await letters.list() == [*found[:10], *found[30:]]


class Counting(RuntimeStorage):
    """Counts the pages that were read."""

    pages = 0

    async def range(self, *arguments: Any) -> Batch:
        self.pages += 1
        return await super().range(*arguments)

    async def scheduled(self, *arguments: Any) -> Page[Scheduled]:
        self.pages += 1
        return await super().scheduled(*arguments)


async def test_no_more_pages_are_read_than_are_asked_for() -> None:
    storage = Counting()
    queue = Queue(storage)
    await bury(storage, 100)
    await queue.register(Threaded, *jobs(200), recurrent=60)

    async for buried in queue.dead_letters.each():
        assert buried.letter.message == b"0"
        break
    assert storage.pages == 1
    async for _ in queue.recurrent.each():
        break
    assert storage.pages == 2
    await queue.recurrent.list()
    assert storage.pages > 4


async def test_a_page_has_the_least_items_behind_the_one_before() -> None:
    names = ["c", "a", "e", "b", "d"]

    async def read(after: Any) -> Page[str]:
        return page_of(names, after, 2)

    assert page_of(names, None, 2) == ["a", "b"]
    assert page_of(names, "b", 3) == ["c", "d", "e"]
    assert page_of(names, "b", 3).after is None
    assert [name async for name in each(read)] == sorted(names)
