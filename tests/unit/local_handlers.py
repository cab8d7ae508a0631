"""Handlers that are worked off by a clock which only the test moves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

from shardq import Handler, Retry, Route
from shardq.testing import Clock

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR_S = 3600


class Note(NamedTuple):
    number: int
    fails: int = 0
    """How many attempts fail."""


class Journal(Handler[Note]):
    """Writes down which requests it saw and when; the tests' queue says what time it is."""

    entries: ClassVar[list[tuple[int, float]]] = []
    batches: ClassVar[list[int]] = []
    attempts: ClassVar[dict[int, int]] = {}
    clock: ClassVar[Clock]

    async def perform(self, *requests: Note) -> None:
        self.batches.append(len(requests))
        for request in requests:
            self.entries.append((request.number, (self.clock.now - START).total_seconds()))
            self.attempts[request.number] = self.attempts.get(request.number, 0) + 1
            if self.attempts[request.number] <= request.fails:
                raise ValueError(f"not yet, {request.number}")


class Patient(Journal):
    retry = Retry(max_attempts=4, backoff_s=10, jitter=False)


class Threaded(Patient):
    @classmethod
    def route(cls, *requests: Note) -> list[Route]:
        return [Route(request.number % 3) for request in requests]


class Skipping(Journal):
    retry = Retry(on_failure="skip")


class Chained(Journal):
    """Each request registers the next, one minute later, until five came."""

    async def perform(self, *requests: Note) -> None:
        await super().perform(*requests)
        for request in requests:
            if request.number < 5:
                await self.queue.register(Chained, Note(request.number + 1), defer=60)


class Plain(Journal):
    def perform(self, *requests: Note) -> None:  # type: ignore[override]
        for request in requests:
            self.entries.append((request.number, (self.clock.now - START).total_seconds()))
            if request.number < 3:
                self.queue.register_sync(Plain, Note(request.number + 1))


class Emitting(Patient):
    """Sends on each request at once, and once more a minute later, where it does not fail."""

    async def perform(self, *requests: Note) -> None:
        for request in requests:
            await self.emit(Journal, request._replace(fails=0))
            await self.emit(Threaded, Note(request.number + 100), defer=60)
        await super().perform(*requests)


class Late(Handler[Note]):
    retry = Retry(max_attempts=1)

    def perform(self, *requests: Note) -> None:
        self.emit_sync(Journal, *requests)
        self.emit_sync(Journal, *requests, defer=2 * HOUR_S)


class NotStarting(Journal):
    starts: ClassVar[int] = 0

    def start(self) -> Any:
        type(self).starts += 1
        if self.starts < 3:
            raise OSError("the database is away")


class Idle(Handler[Note]):
    """Says nowhere what to do."""
