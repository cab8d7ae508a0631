"""Workers whose handlers do not even start, or are declared in a way that cannot be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

import pytest

from shardq import Queue, Retry, Route, Tube, Worker
from shardq.errors import ConfigurationError, HandlerError
from shardq.model import Counts
from tests.support.drivers import Backend
from tests.support.tasks import LIMIT_S
from tests.support.workers import (
    Impatient,
    Item,
    Once,
    Planned,
    batches,
    diary,
    letters,
    new_worker,
    one_each,
    plans,
    run,
)

TEN_YEARS_S = 10 * 365 * 86400


class Hasty(Once):
    timeout_s = 0.05


class Endless(Planned):
    """Waits as long as can be asked for."""

    retry = Retry(backoff_s=TEN_YEARS_S, backoff_max_s=TEN_YEARS_S, jitter=False)


# Not even started


async def lasting(worker: Worker) -> None:
    """Run the worker's loop, which may only end by `stop`: not by what a handler raises, a cancellation included."""
    loop = asyncio.create_task(worker.loop())
    try:
        await asyncio.wait({loop})
    finally:
        loop.cancel()
    assert not loop.cancelled(), "the worker was ended by its handler"
    await loop


@asynccontextmanager
async def lasting_workers(*workers: Worker) -> AsyncIterator[None]:
    """As `working`, but a worker that ends before the block does fails the test at once."""
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(lasting(worker))
        yield
        for worker in workers:
            worker.stop()


class Unmade(Planned):
    @classmethod
    async def create(cls) -> Self:
        diary.add("create")
        if not diary.gate.is_set():
            raise ConnectionError("not there yet")
        return cls()


class Unstarted(Planned):
    def start(self) -> None:
        diary.add("create")
        if not diary.gate.is_set():
            raise SystemExit("not there yet")


class Unborn(Planned):
    async def start(self) -> None:
        diary.add("create")
        if not diary.gate.is_set():
            raise asyncio.CancelledError("of its own")


class Unready(Planned):
    timeout_s = 0.01

    async def start(self) -> None:
        diary.add("create")
        await diary.gate.wait()


every_false_start = pytest.mark.parametrize("handler", [Unmade, Unstarted, Unborn, Unready])


@every_false_start
async def test_a_handler_that_does_not_start_costs_its_requests_nothing(
    backend: Backend, queue: Queue, handler: type[Planned], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardq.working.worker.FIRST_BACKOFF_S", 0.001)
    await queue.register(handler, *one_each(3))

    async with lasting_workers(new_worker(backend, queue)):
        await diary.until("create", times=5)
        diary.gate.set()
        assert await queue.storage.wait_for_quiet(LIMIT_S)

    assert batches() == [(0, 1, 2)]
    assert await letters(queue) == []


@every_false_start
async def test_a_thread_whose_handler_does_not_start_rests_and_others_are_served(
    backend: Backend, queue: Queue, handler: type[Planned], caplog: pytest.LogCaptureFixture
) -> None:
    await queue.register(handler, Item(0, 0))

    async with lasting_workers(new_worker(backend, queue), new_worker(backend, queue)):
        await diary.until("create")
        for number in range(1, 4):
            await queue.register(Planned, Item(1, number))
            await diary.until("batch", number)

    assert "handler did not start" in caplog.messages
    assert batches() == [(1,), (2,), (3,)]
    assert await queue.storage.backlog() == Counts(4, 3)


class BadlyStopping(Planned):
    endings: ClassVar[list[type[BaseException]]] = [ValueError, SystemExit, OSError]

    def stop(self) -> None:
        diary.add("stop")
        raise self.endings[len(diary.of("stop")) % 3]("does not stop")


async def test_what_stop_raises_is_logged_and_nothing_is_lost(
    backend: Backend, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    async with lasting_workers(new_worker(backend, queue)):
        for number in range(4):
            await queue.register(BadlyStopping, Item(0, number))
            await diary.until("stop", times=number + 1)

    assert batches() == [(0,), (1,), (2,), (3,)]
    assert await queue.storage.backlog() == Counts(4, 4)
    records = [record for record in caplog.records if record.getMessage() == "handler did not stop"]
    assert [record.levelno for record in records] == [logging.ERROR] * 4
    assert not await backend.new_lock().exists(Tube(BadlyStopping, Route()).key)


class NeverStopping(Planned):
    timeout_s = 0.01

    async def stop(self) -> None:
        diary.add("stop")
        await diary.gate.wait()


class StoppingItself(Planned):
    async def stop(self) -> None:
        diary.add("stop")
        raise asyncio.CancelledError("of its own")


@pytest.mark.parametrize("handler", [NeverStopping, StoppingItself])
async def test_a_handler_that_does_not_come_to_its_end_is_left(
    backend: Backend, queue: Queue, handler: type[Planned]
) -> None:
    async with lasting_workers(new_worker(backend, queue)):
        for number in range(2):
            await queue.register(handler, Item(0, number))
            await diary.until("stop", times=number + 1)
        await queue.register(Planned, Item(1, 2))
        await diary.until("batch", 2)

    assert batches() == [(0,), (1,), (2,)]
    assert await queue.storage.backlog() == Counts(3, 3)
    assert not await backend.new_lock().exists(Tube(handler, Route()).key)


class OverAndOver(BaseException):
    """Ends what would go on for ever."""


class Measuring(Planned):
    """Asked for the size of its batches it says what the test wants."""

    answer: ClassVar[Any] = None

    def batch_size(self) -> int | None:
        diary.add("asked")
        if len(diary.of("asked")) > 100:
            raise OverAndOver
        return self.answer() if callable(self.answer) else self.answer  # type: ignore[no-any-return]


def unmeasurable() -> int:
    raise ValueError("no size")


def exits_later() -> int:
    """Not at the start."""
    if len(diary.of("asked")) > 1:
        raise SystemExit(3)
    return 1


def cancels_later() -> int:
    """As a loop of its own whose task was cancelled."""
    if len(diary.of("asked")) > 1:
        raise asyncio.CancelledError
    return 1


@pytest.mark.parametrize(
    "answer",
    [0, -1, "5", unmeasurable, exits_later, cancels_later],
    ids=["none", "negative", "text", "an error", "an exit behind the start", "a cancellation behind the start"],
)
async def test_a_batch_size_that_cannot_be_keeps_no_worker_from_others(
    backend: Backend, queue: Queue, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Measuring, "answer", answer if not callable(answer) else staticmethod(answer))
    await queue.register(Measuring, Item(0, 0))

    async with lasting_workers(new_worker(backend, queue)):
        await diary.until("asked")
        await queue.register(Planned, Item(1, 1))
        await diary.until("batch", 1)

    assert (await queue.storage.backlog()).dead == 0


# Misuse


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"backoff_s": -0.1},
        {"backoff_max_s": -1},
        {"on_failure": "drop"},
        {"on_failure": None},
        {"backoff_s": float("nan")},
        {"backoff_s": 2 * TEN_YEARS_S},
        {"backoff_s": float("inf"), "backoff_max_s": float("inf")},
    ],
    ids=str,
)
def test_a_retry_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be"):
        Retry(**wrong)


@pytest.mark.parametrize("wrong", [0, -1, "5", float("nan")], ids=str)
async def test_a_timeout_that_makes_no_sense_is_refused_when_registering(
    queue: Queue, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hasty, "timeout_s", wrong)

    with pytest.raises(HandlerError, match="timeout_s must be"):
        await queue.register(Hasty, Item(0, 0))
    assert (await queue.storage.backlog()).accepted == 0


async def test_the_longest_wait_is_a_wait(backend: Backend, queue: Queue) -> None:
    async def broken(handler: Endless, items: Sequence[Item]) -> None:
        raise ValueError("broken")

    plans.append(broken)
    await queue.register(Endless, Item(0, 0))

    async with lasting_workers(new_worker(backend, queue)):
        await diary.until("stop")
        await queue.register(Planned, Item(1, 1))
        await diary.until("batch", 1)

    assert batches() == [(0,), (1,)]
    assert not await backend.new_lock().exists(Tube(Endless, Route()).key)


class Started(Impatient):
    """Says when it starts, and fails twice."""

    def start(self) -> None:
        diary.add("start")

    def perform(self, *items: Item) -> None:
        if len(diary.of("start")) < 3:
            raise ValueError("not yet")


async def test_a_handler_is_started_once_for_each_attempt(queue: Queue, worker: Worker) -> None:
    await queue.register(Started, Item(0, 0))

    await run(worker, 1)

    assert len(diary.of("start")) == 3
    assert await letters(queue) == []
