"""Handlers and requests that the tests of the queue register."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, NamedTuple

from shardq import Handler, Queue, Route


class Job(NamedTuple):
    number: int
    payload: Any = None


@dataclass
class Task:
    number: int


class Plain(Handler[Job]):
    def perform(self, *requests: Job) -> None:
        """No worker serves them here."""


class Threaded(Plain):
    priorities = [5, 0, -1]  # noqa: RUF012
    result: Any = None

    @classmethod
    def route(cls, *requests: Job) -> Any:
        if cls.result is not None:
            return cls.result
        return [Route(request.number % 3, 5) for request in requests]


class Later(Plain):
    """Routes after it waited."""

    @classmethod
    async def route(cls, *requests: Job) -> list[Route]:
        await asyncio.sleep(0)
        return [Route(request.number) for request in requests]


class AtOnce(Plain):
    """Routes in a coroutine that does not wait."""

    @classmethod
    async def route(cls, *requests: Job) -> list[Route]:
        return [Route(request.number) for request in requests]


class Failing(Plain):
    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        raise KeyError("its own error")


class NoType(Handler):  # type: ignore[type-arg]
    def perform(self, *requests) -> None:  # type: ignore[no-untyped-def]
        pass


class BadPriorities(Plain):
    priorities = []  # noqa: RUF012


class Either(Handler[Job | Task]):
    def perform(self, *requests: Job | Task) -> None:
        """No worker serves them here."""


def jobs(count: int, size: int = 0) -> list[Job]:
    return [Job(number, bytes(size)) for number in range(count)]


async def stored(queue: Queue) -> list[str]:
    return await queue.storage.pipes()
