"""Handlers that the families of the benchmarks do not serve, since no worker imports this module: what is registered
for them stays where it is, to be looked at.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.load.jobs import CALL, THREADS, Job
from shardq import Handler, Route


class Due(NamedTuple):
    due_us: int
    """When it should come into its tube, Unix microseconds."""


class Later(Handler[Due]):
    """Requests with a time, all in one thread."""

    def handle(self, *requests: Due) -> None:
        pass


class Kept(Handler[Job]):
    """Requests in 16 threads, calls of 128 each in one of them."""

    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        return [Route(request.number // CALL % THREADS) for request in requests]

    def handle(self, *requests: Job) -> None:
        pass


class OneTube(Handler[Job]):
    """All requests in one tube."""

    def handle(self, *requests: Job) -> None:
        pass


class Aside(Handler[Job]):
    """Each request in a thread of its own, all of which are ready for ever."""

    @classmethod
    def route(cls, *requests: Job) -> list[Route]:
        return [Route(request.number) for request in requests]

    def handle(self, *requests: Job) -> None:
        pass
