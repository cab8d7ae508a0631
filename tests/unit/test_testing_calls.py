"""Calls, maps, tickets and pauses of a queue for tests."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shardq import Handler, Retry, testing
from shardq.errors import RequestError, RequestFailed, ResultTimeout
from shardq.model import When, handler_name
from shardq.testing import LocalQueue, RequestsFailed
from tests.support.tasks import finished, suspended
from tests.unit.local_handlers import (
    HOUR_S,
    START,
    Journal,
    Note,
    Patient,
)


class Double(Handler[int, int]):
    def perform(self, *numbers: int) -> list[int]:
        return [2 * number for number in numbers]


class Rename(Handler[Path, Path]):
    """Takes a class of which Python makes instances of another one."""

    def perform(self, *paths: Path) -> list[Path]:
        return [path.with_suffix(".png") for path in paths]


async def test_calls_are_handled_at_once() -> None:
    queue = LocalQueue()
    assert await queue.call(Double, 2) == 4
    async with queue.map(Double, range(500)) as results:
        assert [result async for result in results] == [2 * number for number in range(500)]
    assert queue.registered(Double) == [2, *range(500)]
    assert await queue.drain() == 0
    assert await queue.call(Rename, Path("a.jpg")) == Path("a.png")


async def test_the_results_that_a_loop_left_are_there_for_the_next_one() -> None:
    """Also where all of them were there, so that nothing is waited for in between."""
    async with LocalQueue().map(Double, range(6)) as results:
        async for result in results:
            if result == 2:
                break
        assert [result async for result in results] == [4, 6, 8, 10]


async def test_the_error_for_a_request_that_cannot_be_leads_to_its_place_in_the_input() -> None:
    requests: list[Any] = [0, 1, 2, "x"]
    async with LocalQueue().map(Double, requests, window=4) as results:
        with pytest.raises(RequestError, match="request 0, 'x', is of type str") as raised:
            _ = [result async for result in results]
    assert raised.value.__notes__ == ["Of the input of this map, what is request 0 here is number 3."]


def test_the_results_that_a_plain_loop_left_are_there_for_the_next_one() -> None:
    with LocalQueue().map_sync(Double, range(6)) as results:
        for result in results:
            if result == 2:
                break
        assert [next(iter(results)), *results] == [4, 6, 8, 10]


async def test_several_tasks_take_the_results_of_one_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the storage has the others go on meanwhile, as a server does."""
    queue = LocalQueue()
    append = queue.storage.append

    async def appended_later(*call: Any, **options: Any) -> int | None:
        await asyncio.sleep(0)
        return await append(*call, **options)

    async def taken() -> list[int]:
        return [result async for result in results]

    monkeypatch.setattr(queue.storage, "append", appended_later)
    async with queue.map(Double, range(50), window=4) as results:
        shares = await asyncio.gather(taken(), taken(), taken())
    assert sorted(chain(*shares)) == [2 * number for number in range(50)]
    assert queue.registered(Double) == [*range(50)]


async def test_the_results_of_a_map_are_the_input_of_another_one() -> None:
    queue = LocalQueue()
    async with queue.map(Double, iter(range(3))) as once, queue.map(Double, once) as twice:
        assert [result async for result in twice] == [0, 4, 8]
        assert twice.progress.total is None


def test_the_input_of_a_plain_map_sees_no_event_loop() -> None:
    queue = LocalQueue()
    called = (queue.call_sync(Double, number) for number in range(3))
    with queue.map_sync(Double, called) as twice, queue.map_sync(Double, twice) as thrice:
        assert [*thrice] == [0, 8, 16]


class Root(Handler[int, float]):
    """Fails for what is below 0, three times."""

    retry = Retry(max_attempts=3, backoff_s=10, jitter=False)

    def perform(self, *numbers: int) -> list[float]:
        if min(numbers) < 0:
            raise ValueError("below 0")
        return [number**0.5 for number in numbers]


class Never(Handler[int, int]):
    def start(self) -> None:
        raise OSError("the database is away")

    def perform(self, *numbers: int) -> list[int]:
        return [*numbers]


async def test_a_call_whose_request_fails_moves_the_clock_to_its_next_attempts(local: LocalQueue) -> None:
    with pytest.raises(RequestFailed, match="below 0"):
        await finished(asyncio.create_task(local.call(Root, -1)))

    assert local.clock.now == START + timedelta(seconds=10 + 20)


async def test_a_map_moves_the_clock_to_the_next_attempts(local: LocalQueue) -> None:
    async def mapped() -> list[bool]:
        async with local.map(Root, [4, -1, 9], outcomes=True) as results:
            return [outcome.error is None async for outcome in results]

    assert await finished(asyncio.create_task(mapped())) == [True, False, True]


async def test_asking_for_a_result_moves_the_clock_to_the_next_attempts(local: LocalQueue) -> None:
    ticket = await local.submit(Root, -1)

    with pytest.raises(RequestFailed, match="below 0"):
        await finished(asyncio.create_task(local.result(ticket)))

    assert local.clock.now == START + timedelta(seconds=10 + 20)


async def test_a_call_that_has_its_result_leaves_the_clock_to_the_test(lenient: LocalQueue) -> None:
    await lenient.register(Patient, Note(1, fails=1))
    await lenient.drain()

    assert await lenient.call(Double, 2) == 4

    assert lenient.clock.now == START
    assert Journal.attempts == {1: 1}


async def test_a_call_whose_clock_moves_handles_what_is_due_on_the_way(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), defer=15)

    with pytest.raises(RequestFailed):
        await finished(asyncio.create_task(local.call(Root, -1)))

    assert Journal.entries == [(1, 15)]


async def test_a_call_of_a_handler_that_never_starts_ends_with_its_time_limit(local: LocalQueue) -> None:
    with pytest.raises(ResultTimeout):
        await local.call(Never, 1, timeout_s=0.05)


class Gated(Handler[int, int]):
    """Waits until it may go on."""

    begun: ClassVar[asyncio.Event]
    may_go: ClassVar[asyncio.Event]

    async def perform(self, *numbers: int) -> list[int]:
        self.begun.set()
        await self.may_go.wait()
        return [*numbers]


async def test_the_time_limits_of_maps_and_of_results_hold_for_handlers_that_wait(
    local: LocalQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "_LEAST_S", 0.05)
    Gated.begun, Gated.may_go = asyncio.Event(), asyncio.Event()

    async def mapped() -> None:
        async with local.map(Gated, [1], timeout_s=0.05) as results:
            await anext(results)

    ticket = await local.submit(Gated, 2)
    for asked in (mapped(), local.result(ticket, timeout_s=0)):
        with pytest.raises(ResultTimeout):
            await finished(asyncio.create_task(asked))

    Gated.may_go.set()
    assert await local.result(ticket, timeout_s=0) == 2


@pytest.mark.parametrize("verb", ["drain", "advance"])
async def test_what_a_call_has_in_hand_did_not_fail(local: LocalQueue, verb: str) -> None:
    Gated.begun, Gated.may_go = asyncio.Event(), asyncio.Event()
    calling = asyncio.create_task(local.call(Gated, 5))
    await Gated.begun.wait()
    await local.register(Journal, Note(1))
    working = await suspended(local.drain() if verb == "drain" else local.advance(1))

    Gated.may_go.set()

    assert await finished(calling) == 5
    assert await finished(working) <= 1
    assert [number for number, _ in Journal.entries] == [1]


class Draining(Handler[int]):
    retry = Retry(max_attempts=1)

    async def perform(self, *numbers: int) -> None:
        assert isinstance(self.queue, LocalQueue)
        await self.queue.drain()


async def test_a_handler_cannot_drain_its_queue(local: LocalQueue) -> None:
    await local.register(Draining, 1)

    with pytest.raises(RequestsFailed, match="HandlerError"):
        await local.drain()


async def test_a_pause_ends_at_its_time(local: LocalQueue) -> None:
    await local.register(Journal, Note(1))
    await local.storage.pause(handler_name(Journal), When(None, "", 60_000_000), "maintenance")

    assert await local.advance(HOUR_S) == 1

    assert Journal.entries == [(1, 60)]


async def test_what_is_paused_is_said_to_be(local: LocalQueue) -> None:
    await local.register(Journal, Note(1))
    await local.storage.pause(handler_name(Journal))

    with pytest.raises(RequestsFailed, match=r"Journal is resumed$"):
        await local.advance(HOUR_S)


async def test_a_call_of_a_paused_handler_moves_the_clock_to_the_end_of_the_pause(local: LocalQueue) -> None:
    await local.storage.pause(handler_name(Double), When(None, "", 60_000_000))

    assert await finished(asyncio.create_task(local.call(Double, 2))) == 4
    assert local.clock.now == START + timedelta(seconds=60)
