"""Workers in the test's own process, what their handlers are told to do, and the diary in which they write it down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from shardq import Handler, Queue, Retry, Route, Worker
from shardq.deadletters import DeadLetter
from shardq.errors import QueueFull
from shardq.handling.prepared import Prepared
from shardq.settings import WorkerSettings
from tests.support.drivers import Backend
from tests.support.tasks import LIMIT_S

#: A worker that leaves a thread as soon as it is empty.
NO_HOLD = {"empty_limit": 0}


class Diary:
    """What the handlers did, in order. Tests wait for an entry."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """For another test."""
        self.gate = asyncio.Event()
        """Open it to let `Gated` end its batches."""
        self._entries: list[tuple[Any, ...]] = []
        self._news = asyncio.Event()

    def add(self, *entry: Any) -> None:
        self._entries.append(entry)
        self._news.set()

    def of(self, *kinds: str) -> list[tuple[Any, ...]]:
        """Entries of these kinds; without their kind where only one is asked for."""
        if len(kinds) == 1:
            return [entry[1:] for entry in self._entries if entry[0] == kinds[0]]
        return [entry for entry in self._entries if entry[0] in kinds]

    async def until(self, kind: str, *values: Any, times: int = 1) -> None:
        """Wait until there are so many entries that begin like this. For handlers on the test's own loop."""
        wanted = (kind, *values)
        async with asyncio.timeout(LIMIT_S):
            while sum(entry[: len(wanted)] == wanted for entry in self._entries) < times:
                self._news.clear()
                await self._news.wait()


class Item(NamedTuple):
    thread: int
    number: int
    priority: int = 0


class Routed(Handler[Item]):
    @classmethod
    def route(cls, *items: Item) -> list[Route]:
        return [Route(item.thread, item.priority) for item in items]


#: The diary of the test that runs.
diary = Diary()
#: What `Planned` handlers do with their batch, at each call the next of these; then they do it all.
plans: list[Callable[[Any, Sequence[Item]], Any]] = []
#: What handlers raise for items of these numbers, each time.
trouble: dict[int, Callable[[], BaseException]] = {}


def begin_anew() -> None:
    """For another test."""
    diary.begin_anew()
    plans.clear()
    trouble.clear()


def without_room_for_0(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have calls of the item with the number 0 wait for room until this is set."""
    room, stored = asyncio.Event(), queue.stored

    async def store(call: Prepared) -> None:
        if call.requests[0].number == 0:
            await room.wait()
        await stored(call)

    monkeypatch.setattr(queue, "stored", store)
    return room


class Impatient(Routed):
    """Fails three times in no time before it is given up."""

    retry = Retry(max_attempts=3, backoff_s=0.001, jitter=False)


class Planned(Impatient):
    async def perform(self, *items: Item) -> None:
        diary.add("batch", *(item.number for item in items))
        if plans:
            await plans.pop(0)(self, items)

    def stop(self) -> Any:
        diary.add("stop")


class Once(Planned):
    """A single attempt: whatever is counted shows."""

    retry = Retry(max_attempts=1)


def failing_after(
    count: int, error: Callable[[str], Exception], text: str = "as planned"
) -> Callable[[Any, Sequence[Item]], Any]:
    """A plan: acknowledge so many, then fail."""

    async def plan(handler: Planned, items: Sequence[Item]) -> None:
        if count:
            await handler.acknowledge(count)
        raise error(text)

    return plan


class Padded(NamedTuple):
    """A request of any size."""

    number: int
    padding: bytes


class Second(Handler[Padded]):
    """What other handlers bring about."""

    retry = Retry(max_attempts=1)

    def perform(self, *requests: Padded) -> Any:
        for request in requests:
            diary.add("second", request.number)


async def fill(queue: Queue, handler: type[Handler[Padded]], size: int) -> int:
    """Register requests until there is no room; returns how many there are."""
    queue.storage.settings.when_full = "raise"
    many = max(1, 32_000 // size)
    for call in range(1_000):
        try:
            await queue.register(handler, *(Padded(call * many + n, bytes(size)) for n in range(many)))
        except QueueFull:
            return call * many
    raise AssertionError("never full")


def batches() -> list[tuple[int, ...]]:
    """Numbers of the items in each batch of `Planned` handlers."""
    return diary.of("batch")


async def letters(queue: Queue) -> list[DeadLetter]:
    return [buried.letter for buried in await queue.dead_letters.list()]


def one_each(count: int, *threads: int) -> list[Item]:
    """Items 0..count-1 for each of the threads, in turns."""
    return [Item(thread, number) for number in range(count) for thread in threads or (0,)]


def new_worker(backend: Backend, queue: Queue, **settings: Any) -> Worker:
    return Worker(backend.new_lock(), queue, WorkerSettings(**(NO_HOLD | settings)))


async def run(worker: Worker, limit: int | None = None, **options: Any) -> None:
    """A loop that must come to its end."""
    async with asyncio.timeout(LIMIT_S):
        await worker.loop(limit, **options)


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[None]:
    """The workers serve until the end of the block."""
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.loop())
        yield
        for worker in workers:
            worker.stop()
