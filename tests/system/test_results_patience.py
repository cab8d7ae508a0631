"""Callers that wait for a limited time, ask again, give up, or whose inbox is lost: each learns what there is."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from itertools import count
from typing import Any

import pytest

from shardq import Queue, Worker
from shardq.errors import ConfigurationError, DecodeError, FencedError, NotServed, ResultTimeout
from shardq.functions import apply
from shardq.functions.named import named
from shardq.handling import isolation
from shardq.model import handler_name, inbox_key
from shardq.protocols import Storage
from shardq.results import calls, mapping, serving
from shardq.results.results import Results
from tests.support.drivers import Backend
from tests.support.tasks import LIMIT_S, cancelled, eventually, finished, suspended
from tests.support.workers import Item, Routed, new_worker, without_room_for_0, working


class Double(Routed):
    def perform(self, *items: Item) -> list[int]:
        return [2 * item.number for item in items]


class Gone(Double):
    """Served once, and not any more."""


class Stuck(Routed):
    """Handles requests of all threads but one until it may go on."""

    handled: asyncio.Queue[Item]
    may_go_on: asyncio.Event

    async def perform(self, *items: Item) -> list[int]:
        for item in items:
            if item.thread:
                self.handled.put_nowait(item)
            else:
                await self.may_go_on.wait()
        return [item.number for item in items]


@pytest.fixture
async def queue(storage: Storage) -> Queue:
    await storage.wait(frozenset(map(handler_name, (Double, Gone, Stuck))), 0)
    return Queue(storage)


@pytest.fixture
def worker(backend: Backend, queue: Queue) -> Worker:
    return new_worker(backend, queue)


async def pending() -> AsyncIterator[Item]:
    """One item, and more that never come."""
    yield Item(0, 1)
    await asyncio.Event().wait()


@pytest.mark.parametrize("timeout_s", ["5", float("nan"), True])
async def test_a_limit_that_cannot_be_is_refused_before_anything_is_stored(queue: Queue, timeout_s: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout_s"):
        await queue.call(Double, Item(0, 1), timeout_s=timeout_s)
    with pytest.raises(ConfigurationError, match="timeout_s"):
        async with queue.map(Double, [Item(0, 1)], timeout_s=timeout_s):
            pass
    assert list(await queue.storage.pipes()) == []


async def test_a_map_whose_input_is_waited_for_hears_that_its_time_is_over(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that is longer than a single look."""
    monkeypatch.setattr(mapping, "LOOK_S", 0.02)
    async with asyncio.timeout(LIMIT_S):
        async with queue.map(Double, pending(), timeout_s=0.1) as results:
            with pytest.raises(ResultTimeout):
                await anext(results)


async def test_results_of_later_requests_do_not_put_off_the_end_of_the_wait_for_the_next_one(
    backend: Backend, queue: Queue
) -> None:
    """Here a request is sent whenever the one before it was handled, and none of them is due before the first one."""
    Stuck.handled = handled = asyncio.Queue[Item]()
    Stuck.may_go_on = may_go_on = asyncio.Event()

    async def coming() -> AsyncIterator[Item]:
        yield Item(0, 0)
        for number in count(1):
            yield Item(1, number)
            await handled.get()

    async with working(new_worker(backend, queue), new_worker(backend, queue)):
        async with queue.map(Stuck, coming(), window=100_000, timeout_s=0.1) as results:
            with pytest.raises(ResultTimeout):
                await anext(results)
        may_go_on.set()


async def test_who_asks_for_one_result_at_a_time_may_ask_again(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with queue.map(Double, [Item(0, 1), Item(0, 2)], timeout_s=0.02) as results:
        for _ in range(3):
            with pytest.raises(ResultTimeout):
                await anext(results)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(results), 0.001)
        monkeypatch.setattr(results._mapping, "_options", results._mapping._options._replace(timeout_s=None))
        async with working(worker):
            assert [await anext(results), await anext(results)] == [2, 4]
            with pytest.raises(StopAsyncIteration):
                await anext(results)


async def asks_until_something_else_comes(results: Results[Any]) -> None:
    for _ in range(100):
        with suppress(ResultTimeout):
            await anext(results)


async def test_who_asks_again_hears_that_nobody_serves_the_handler_any_more(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def served(name: str) -> int:
        return 0

    monkeypatch.setattr(serving, "GONE_S", 0.05)
    async with queue.map(Gone, [Item(0, 1)], timeout_s=0.02) as results:
        monkeypatch.setattr(queue.storage, "serving", served)
        with pytest.raises(NotServed):
            await asks_until_something_else_comes(results)


async def test_items_of_an_asynchronous_input_are_not_lost_where_the_wait_for_them_is_given_up(
    queue: Queue, worker: Worker
) -> None:
    async def coming() -> AsyncIterator[Item]:
        for number in range(20):
            await asyncio.sleep(0.003)
            yield Item(0, number)

    found = []
    async with working(worker), queue.map(Double, coming(), window=3) as results:
        for _ in range(20):
            try:
                found.append(await asyncio.wait_for(anext(results), 0.001))
            except TimeoutError:
                found.append(await anext(results))
        with pytest.raises(StopAsyncIteration):
            await anext(results)
    assert found == [2 * number for number in range(20)]


async def test_an_asynchronous_input_keeps_its_context_variables(queue: Queue, worker: Worker) -> None:
    number = ContextVar[int]("number")

    async def coming() -> AsyncIterator[Item]:
        token = number.set(0)
        for _ in range(3):
            number.set(number.get() + 1)
            yield Item(0, number.get())
        number.reset(token)

    async with working(worker), queue.map(Double, coming()) as results:
        assert [result async for result in results] == [2, 4, 6]


@pytest.mark.parametrize("early", [True, False], ids=["between two requests", "while one is waited for"])
async def test_an_asynchronous_input_keeps_its_time_limits(queue: Queue, worker: Worker, *, early: bool) -> None:
    found, loop = list[int](), asyncio.get_running_loop()

    async def coming() -> AsyncIterator[Item]:
        async with asyncio.timeout_at(loop.time() if early else None) as limit:
            yield Item(0, 1)
            if not early:
                limit.reschedule(loop.time())
            await asyncio.Event().wait()

    async with asyncio.timeout(LIMIT_S) as outer, working(worker), queue.map(Double, coming(), window=1) as results:
        with pytest.raises(TimeoutError):
            await add_all(found, results)
    assert found == [2]
    assert not outer.expired()


async def test_leaving_a_map_over_an_asynchronous_input_raises_what_ended_it(queue: Queue) -> None:
    fail = asyncio.Event()

    async def fails() -> AsyncIterator[Item]:
        yield Item(0, 1)
        await fail.wait()
        raise ValueError("of the input")

    async def block() -> None:
        async with queue.map(Double, fails()) as results:
            await cancelled(await suspended(anext(results)))
            fail.set()
            assert results._mapping._source.next
            await asyncio.wait({results._mapping._source.next})
            raise KeyError("of the block")

    with pytest.raises(KeyError):
        await block()


async def add_all(found: list[int], results: AsyncIterable[Any]) -> None:
    async for result in results:
        found.append(result)


async def test_who_is_cancelled_while_its_input_closes_is_cancelled(queue: Queue) -> None:
    closing, close = asyncio.Event(), asyncio.Event()

    async def coming() -> AsyncIterator[Item]:
        yield Item(0, 1)
        try:
            await asyncio.Event().wait()
        finally:
            closing.set()
            await close.wait()

    async def job() -> None:
        async with queue.map(Double, coming()) as results:
            await cancelled(await suspended(anext(results)))

    task = asyncio.create_task(job())
    async with asyncio.timeout(LIMIT_S):
        await closing.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=LIMIT_S)
    close.set()
    assert task.cancelled()


async def test_a_map_that_is_cancelled_again_while_it_closes_leaves_nothing(queue: Queue) -> None:
    """As anyio cancels, where a client of Starlette or FastAPI goes away: at each turn of the event loop."""
    results = queue.map(Double, pending())

    async def job() -> None:
        async with results:
            await anext(results)

    task = asyncio.create_task(job())
    await eventually(lambda: results._mapping._reading, "results are waited for")
    inbox = results._mapping._inbox
    assert inbox
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert task.cancelled()

    await eventually(lambda: not inbox.is_open, "the inbox is closed")
    assert not await queue.storage.claimed(inbox_key(inbox.number))
    assert list(await queue.storage.pipes()) == []


async def test_outcomes_go_on_behind_a_result_that_does_not_decode(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a worker with other code."""
    values_of = mapping.values_of

    def decoded(info: Any, reply: Any) -> Any:
        if 1 in reply.requests:
            raise DecodeError("another type")
        return values_of(info, reply)

    monkeypatch.setattr(mapping, "values_of", decoded)
    requests = [Item(number, number) for number in range(3)]
    async with working(worker), queue.map(Double, requests, outcomes=True) as results:
        found = [(outcome.value, type(outcome.error)) async for outcome in results]
    assert found == [(0, type(None)), (None, DecodeError), (4, type(None))]


def test_an_event_loop_that_is_gone_leaves_nothing(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where calls waited for one another, as they do over a server."""
    if backend.storage.suspends:
        pytest.skip("its connections belong to one loop")
    queue, claim = Queue(backend.storage), backend.storage.claim

    async def claimed_later(key: str) -> int:
        await asyncio.sleep(0)
        return await claim(key)

    async def call(number: int) -> list[int]:
        await queue.storage.wait(frozenset((handler_name(Double),)), 0)
        async with working(new_worker(backend, queue)):
            return await asyncio.gather(*(queue.call(Double, Item(0, number)) for _ in range(2)))

    monkeypatch.setattr(backend.storage, "claim", claimed_later)
    assert [asyncio.run(call(number)) for number in range(3)] == [[0, 0], [2, 2], [4, 4]]
    gc.collect()
    assert len(queue._calls) == 0


async def test_calls_whose_inbox_is_lost_are_told_and_the_next_one_has_another(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while another call is about to store its request, so that there never is a moment without calls."""
    room = without_room_for_0(queue, monkeypatch)
    late = await suspended(queue.call(Double, Item(0, 0)))
    waits = [await suspended(queue.call(Double, Item(1, number))) for number in (1, 2)]
    [its] = queue._calls.values()
    assert its._inbox
    key, token, _ = its._inbox._hand
    await queue.storage.unclaim(key, token)
    await queue.storage.append([(f"{key}/0", [b"any"])], follow_up=True)  # which wakes who reads it
    for call in waits:
        with pytest.raises(FencedError, match="Make the call again"):
            await finished(call)

    async with working(worker):
        assert await finished(asyncio.create_task(queue.call(Double, Item(2, 3)))) == 6
        room.set()
        with pytest.raises(FencedError):
            await finished(late)


async def test_a_call_hears_that_nobody_serves_its_handler_beside_calls_of_another_one(
    queue: Queue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = queue.storage.serving

    async def served(name: str) -> int | None:
        return 0 if name == handler_name(Gone) and begun else await real(name)

    begun = False
    monkeypatch.setattr(queue.storage, "serving", served)
    monkeypatch.setattr(calls, "LOOK_S", 0.01)
    monkeypatch.setattr(serving, "GONE_S", 0.05)

    async def others() -> None:
        while True:
            assert await queue.call(Double, Item(0, 1)) == 2

    serving_double = asyncio.create_task(worker.loop(handler=Double))
    beside = await suspended(others())
    call = await suspended(queue.call(Gone, Item(1, 1)))
    begun = True
    with pytest.raises(NotServed):
        await finished(call)
    beside.cancel()
    worker.stop()
    await asyncio.wait({beside})
    await finished(serving_double)


class Early(BaseException):
    """Ends everything."""


async def test_items_beside_one_that_has_to_end_early_end_with_it() -> None:
    ended = []

    async def goes_on() -> apply.Answer:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        raise AssertionError

    async def ends() -> apply.Answer:
        await asyncio.sleep(0)
        raise Early

    with pytest.raises(Early):
        await apply._completed([goes_on(), ends()])
    assert ended == [True]


async def cancels(number: int) -> int:
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel()
    await task
    return number


async def test_a_coroutine_function_that_waits_for_what_was_cancelled_fails_alone() -> None:
    function = named(cancels)
    answer = await apply._awaited(function, cancels(1), os.getpid(), 100)
    assert answer.failure
    assert "CancelledError" in answer.failure.type


def has_a_loop_that_is_cancelled(number: int) -> int:
    return asyncio.run(cancels(number))


def ends_early(number: int) -> int:
    raise Early


async def ends_early_later(number: int) -> int:
    raise Early


@pytest.mark.parametrize("function", [has_a_loop_that_is_cancelled, ends_early, ends_early_later])
async def test_what_a_function_raises_that_is_no_exception_is_its_answer(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "_named", lambda *name_and_proof: named(function))
    answer = isolation.plainly(apply._answer, apply.Task("", b"", b"\x01", 0), 100)
    answer = answer if isinstance(answer, apply.Answer) else await answer
    assert answer.failure
    assert answer.failure.type.endswith((".CancelledError", ".Early"))


async def test_a_loop_that_is_left_early_leaves_the_rest_to_the_next_one(queue: Queue, worker: Worker) -> None:
    async with working(worker), queue.map(Double, [Item(0, number) for number in range(6)]) as results:
        first = aiter(results)
        found = [await anext(first), await anext(first)]
        await first.aclose()  # type: ignore[attr-defined]
        found += [await anext(results), *[result async for result in results]]
    assert found == [0, 2, 4, 6, 8, 10]
