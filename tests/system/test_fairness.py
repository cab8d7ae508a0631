"""Each has its turn: threads beside one that is never empty, handlers beside each other, and low priorities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from shardq import Queue, Route, Supervisor
from shardq.errors import HandlerError
from shardq.model import Tube
from tests.support.drivers import Backend
from tests.support.fair import Endless
from tests.support.homes import cases_on_homes
from tests.support.jobs import Folder, Record
from tests.support.tasks import LIMIT_S
from tests.support.workers import Item, Routed, diary, new_worker, one_each, run, working

NEVER = 10 * LIMIT_S
#: Two ways to leave a thread after a batch: by what was done, and by the time that went by.
BY_ITEMS = {"quantum": NEVER, "quantum_items": 1}
BY_TIME = {"quantum": 1e-9, "quantum_items": 10**9}
both_ways = pytest.mark.parametrize("quantum", [BY_ITEMS, BY_TIME], ids=["by items", "by time"])


class Note(Routed):
    """Writes down every item."""

    def perform(self, *items: Item) -> None:
        for item in items:
            diary.add("done", type(self).__name__, item.thread, item.number)


class Other(Note):
    """The same, under another name."""


def rounds(size: int) -> list[list[tuple[Any, ...]]]:
    """Which threads were served, by handler and thread, so many at a time."""
    served = [entry[:2] for entry in diary.of("done")]
    return [served[start : start + size] for start in range(0, len(served), size)]


def numbers() -> list[int]:
    return [number for _, _, number in diary.of("done")]


# A thread that has more work than others


@both_ways
async def test_a_full_thread_is_left_after_the_quantum(
    quantum: dict[str, float], backend: Backend, queue: Queue
) -> None:
    await queue.register(Note, *one_each(50, 0))
    await queue.register(Note, *one_each(3, 1))

    await run(new_worker(backend, queue, batch_size=1, **quantum), 53)

    assert [thread for _, thread, _ in diary.of("done")][:6] == [0, 1, 0, 1, 0, 1]


class Begun(Note):
    """With code of its own before its first batch, so that no other thread is served before it is stopped."""

    async def start(self) -> None:
        diary.add("begun")


@both_ways
@pytest.mark.parametrize("handler", [Note, Begun])
async def test_so_it_is_left_by_a_worker_without_an_end(
    handler: type[Note], quantum: dict[str, float], backend: Backend, queue: Queue
) -> None:
    await queue.register(handler, *one_each(50, 0))
    await queue.register(handler, *one_each(3, 1))

    async with working(new_worker(backend, queue, batch_size=1, **quantum)):
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert [thread for _, thread, _ in diary.of("done")][:6] == [0, 1, 0, 1, 0, 1]


@both_ways
async def test_a_thread_of_requests_that_do_not_decode_is_left_too(
    quantum: dict[str, float], backend: Backend, queue: Queue
) -> None:
    """Each becomes a dead letter, which is no turn."""
    await queue.storage.append([(Tube(Note, Route(0)).pipe, [b"\xc1"] * 30)])
    await queue.register(Note, *one_each(3, 1))

    async with working(new_worker(backend, queue, batch_size=1, **quantum)):
        await diary.until("done", times=3)
        assert (await queue.storage.backlog()).dead <= 6
        assert await queue.storage.wait_for_quiet(LIMIT_S)


async def test_the_quantum_of_items_is_counted_over_batches(backend: Backend, queue: Queue) -> None:
    await queue.register(Note, *one_each(10, 0))
    await queue.register(Note, *one_each(10, 1))

    await run(new_worker(backend, queue, batch_size=2, quantum=NEVER, quantum_items=4), 20)

    assert [thread for _, thread, _ in diary.of("done")] == [*([0] * 4), *([1] * 4)] * 2 + [0, 0, 1, 1]


async def test_the_batch_in_hand_is_finished_first(backend: Backend, queue: Queue) -> None:
    await queue.register(Note, *one_each(10, 0))
    await queue.register(Note, *one_each(10, 1))

    await run(new_worker(backend, queue, batch_size=5, quantum=NEVER, quantum_items=2), 20)

    assert [thread for _, thread, _ in diary.of("done")] == [*([0] * 5), *([1] * 5)] * 2


class Late(Note):
    """The third item of thread 0 brings about work for thread 1."""

    def perform(self, *items: Item) -> None:
        super().perform(*items)
        if items[0] == Item(0, 2):
            self.queue.register_sync(Late, Item(1, 0))


async def test_a_quantum_begins_anew_where_no_thread_waited(backend: Backend, queue: Queue) -> None:
    await queue.register(Late, *one_each(8, 0))

    await run(new_worker(backend, queue, batch_size=1, quantum=NEVER, quantum_items=2), 9)

    assert [thread for _, thread, _ in diary.of("done")] == [0, 0, 0, 0, 1, 0, 0, 0, 0]


class Flood(Note):
    """Fills its thread again with every batch, until all other threads were served."""

    def perform(self, *items: Item) -> None:
        super().perform(*items)
        others = {thread for _, thread, _ in diary.of("done")} - {0}
        if not items[0].thread and len(others) < 9:
            self.queue.register_sync(Flood, *items)


@both_ways
@pytest.mark.parametrize("workers", [1, 2])
async def test_threads_beside_one_that_is_never_empty_are_served(
    workers: int, quantum: dict[str, float], backend: Backend, queue: Queue
) -> None:
    async with working(*(new_worker(backend, queue, **quantum) for _ in range(workers))):
        await queue.register(Flood, *one_each(300, 0))
        await diary.until("done", "Flood", 0, 0, times=2)
        await queue.register(Flood, *one_each(1, *range(1, 10)))
        assert await queue.storage.wait_for_quiet(LIMIT_S)


# Round robin


@both_ways
async def test_threads_take_turns(quantum: dict[str, float], backend: Backend, queue: Queue) -> None:
    await queue.register(Note, *one_each(6, *range(5)))

    await run(new_worker(backend, queue, batch_size=1, **quantum), 30)

    assert all(set(served) == {("Note", thread) for thread in range(5)} for served in rounds(5))


async def test_handlers_take_turns(backend: Backend, queue: Queue) -> None:
    await queue.register(Note, *one_each(6, *range(3)))
    await queue.register(Other, *one_each(6, *range(3)))

    await run(new_worker(backend, queue, batch_size=1, **BY_ITEMS), 36)

    assert all(len(set(served)) == 6 for served in rounds(6))


async def test_many_threads_of_a_handler_do_not_hide_another_handler(backend: Backend, queue: Queue) -> None:
    await queue.register(Note, *one_each(6, *range(30)))
    await queue.register(Other, *one_each(6, 7))

    await run(new_worker(backend, queue, batch_size=1, **BY_ITEMS), 186)

    assert all(("Other", 7) in served for served in rounds(31))


# Priorities


class Strict(Note):
    priorities: ClassVar[list[int] | None] = [5, 0, 9]


class Bounded(Strict):
    starvation_limit: ClassVar[int | None] = 6


class Tight(Strict):
    starvation_limit: ClassVar[int | None] = 3


def of_all_priorities(count: int, thread: int = 0) -> list[Item]:
    """Items of every priority, which they have for their number as well."""
    return [Item(thread, priority, priority) for _ in range(count) for priority in (9, 0, 5)]


def turns(size: int, served: Sequence[int]) -> list[set[int]]:
    """Which priorities were served in so many batches, from each of them on."""
    return [set(served[start : start + size]) for start in range(len(served) - size + 1)]


async def test_without_a_limit_lower_priorities_wait_for_all_higher_ones(backend: Backend, queue: Queue) -> None:
    await queue.register(Strict, *of_all_priorities(20))

    await run(new_worker(backend, queue, batch_size=1), 60)

    assert numbers() == [*([5] * 20), *([0] * 20), *([9] * 20)]


@pytest.mark.parametrize("handler", [Bounded, Tight])
async def test_with_a_limit_each_priority_has_its_turn(handler: type[Bounded], backend: Backend, queue: Queue) -> None:
    assert handler.starvation_limit
    await queue.register(handler, *of_all_priorities(20))

    await run(new_worker(backend, queue, batch_size=1), 60)

    while_all_wait = numbers()[:30]
    assert all(found == {5, 0, 9} for found in turns(handler.starvation_limit, while_all_wait))


async def test_between_the_turns_of_others_the_first_priority_is_served(backend: Backend, queue: Queue) -> None:
    await queue.register(Bounded, *of_all_priorities(20))

    await run(new_worker(backend, queue, batch_size=1), 24)

    assert numbers().count(5) >= 12


async def test_a_limit_holds_for_the_thread_however_often_its_worker_changes(backend: Backend, queue: Queue) -> None:
    await queue.register(Tight, *of_all_priorities(20, thread=0), *of_all_priorities(20, thread=1))

    await run(new_worker(backend, queue, batch_size=1, **BY_ITEMS), 36)

    for thread in range(2):
        served = [number for _, done, number in diary.of("done") if done == thread]
        assert all(found == {5, 0, 9} for found in turns(3, served))


class Hasty(Strict):
    starvation_limit: ClassVar[int | None] = 2


async def test_a_limit_below_the_number_of_priorities_is_refused_when_something_is_registered(queue: Queue) -> None:
    with pytest.raises(HandlerError, match=r"test_fairness/Hasty\.starvation_limit must be None or a number from 3 up"):
        await queue.register(Hasty, Item(0, 0, 5))

    assert await queue.storage.pipes() == []


async def test_a_priority_that_is_not_listed_is_refused_when_it_is_registered(queue: Queue) -> None:
    with pytest.raises(HandlerError, match=r"test_fairness/Bounded.* priority 7, .* not among its priorities"):
        await queue.register(Bounded, Item(0, 0, 5), Item(0, 1, 7))

    assert await queue.storage.pipes() == []


# A family


@cases_on_homes(
    "seconds items flooded",
    {
        "by items, one flooded": (str(NEVER), "100", 1),
        "by items, as many as workers": (str(NEVER), "100", 2),
        "by time, one flooded": ("0.001", str(10**9), 1),
        "by time, as many as workers": ("0.001", str(10**9), 2),
    },
    ["by items, one flooded", "by time, as many as workers"],
)
async def test_a_family_serves_threads_beside_those_that_are_never_empty(
    seconds: str, items: str, flooded: int, url: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_WORKER_QUANTUM", seconds)
    monkeypatch.setenv("QUEUE_WORKER_QUANTUM_ITEMS", items)
    async with Supervisor(Endless, Record, workers=2, url=url) as supervisor:
        floods = folder.notes(range(300 * flooded), threads=flooded)
        await supervisor.queue.register(Endless, *floods)
        folder.until("flood", *range(flooded))

        for first in range(0, 40, 8):
            await supervisor.queue.register(Record, *folder.notes(range(first, first + 8), threads=8))
            folder.until("done", *range(first, first + 8))

        (folder.path / "enough").touch()
        assert await supervisor.drain()
