"""What a worker says of a handler's threads before it has made the handler."""

from __future__ import annotations

import abc
import asyncio
from typing import Any, ClassVar, Self

import pytest

from shardq import Handler, Queue, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage
from shardq.handling.info import info_of
from shardq.model import Terms
from shardq.settings import WorkerSettings
from tests.support.tasks import finished


class Plain(Handler[int]):
    def perform(self, *numbers: int) -> None: ...


class Sized(Plain):
    batch_size = 7


class Unsized(Plain):
    batch_size = None


class Asked(Plain):
    def batch_size(self) -> int:
        return 3


class Ruled(Plain):
    priorities: ClassVar[list[int]] = [2, 0, 2]
    starvation_limit = 4
    timeout_s = 1.5


class OneByOne(Handler[int]):
    batch_size = 1

    def perform(self, number: int) -> None: ...


class Impossible(Plain):
    batch_size = 0


@pytest.mark.parametrize(
    ("handler", "terms"),
    [
        (Plain, Terms((0,), 50)),
        (Sized, Terms((0,), 7)),
        (Unsized, Terms((0,), 50)),
        (Ruled, Terms((2, 0), 50, 1.5, 4)),
        (OneByOne, Terms((0,), 1)),
        (Asked, None),
        (Impossible, None),
    ],
)
def test_terms_are_those_of_the_class(handler: type[Handler[Any]], terms: Terms | None) -> None:
    assert info_of(handler).terms(50) == terms


class Created(Plain):
    @classmethod
    def create(cls) -> Self:
        return cls()


class Initialized(Plain):
    def __init__(self) -> None: ...


class Allocated(Plain):
    def __new__(cls) -> Self:
        return super().__new__(cls)


class Started(Plain):
    async def start(self) -> None: ...


class Stopped(Plain):
    def stop(self) -> None: ...


class OfAnotherKind(Plain, metaclass=abc.ABCMeta): ...


@pytest.mark.parametrize(
    ("handler", "at_once"),
    [
        (Plain, True),
        (Asked, True),
        (Created, False),
        (Initialized, False),
        (Allocated, False),
        (Started, False),
        (Stopped, False),
        (OfAnotherKind, False),
    ],
)
def test_a_handler_with_code_of_its_own_does_not_begin_at_once(handler: type[Handler[Any]], at_once: bool) -> None:
    assert info_of(handler).begins_at_once() is at_once


class OutOfOrder:
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise KeyError("out of order")


class ReadsBadly(Plain):
    retry = OutOfOrder()  # type: ignore[assignment]


async def test_a_class_that_cannot_be_looked_at_keeps_no_other_from_its_worker() -> None:
    queue = Queue(RuntimeStorage())
    await queue.register(Plain, 1, 2)

    await Worker(RuntimeLock(), queue).loop(limit=2)

    assert (await queue.storage.backlog()).handled == 2


class Growing(Handler[int]):
    """Has its worker take two at once after the first, and stop after the last."""

    worker: ClassVar[Worker]
    sizes: ClassVar[list[int]] = []

    def perform(self, *numbers: int) -> None:
        self.sizes.append(len(numbers))
        self.worker.settings.batch_size = 2
        if numbers[-1] == 5:
            self.worker.stop()


@pytest.mark.parametrize("served", [Growing, None], ids=["given", "found"])
async def test_a_batch_size_that_is_assigned_while_the_worker_serves_takes_effect(served: Any) -> None:
    Growing.sizes.clear()
    queue = Queue(RuntimeStorage())
    Growing.worker = worker = Worker(RuntimeLock(), queue, WorkerSettings(batch_size=1))
    await queue.register(Growing, 1, 2, 3, 4, 5)

    await finished(asyncio.create_task(worker.loop(handler=served)))

    assert Growing.sizes == [1, 2, 2]
