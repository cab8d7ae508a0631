"""What applications test their handlers with: a queue that is worked off by a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

from shardq import Handler, Retry, Route
from shardq.errors import ConfigurationError, HandlerError, RequestFailed, ResultTimeout, ScheduleError
from shardq.model import When, handler_name
from shardq.settings import StorageSettings
from shardq.testing import Clock, LocalQueue, RequestsFailed
from tests.support.clock import now_us
from tests.support.tasks import finished, suspended

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


@pytest.fixture
def queue() -> Iterator[LocalQueue]:
    queue = LocalQueue(clock=Clock(START))
    Journal.clock = queue.clock
    yield queue
    Journal.entries.clear()
    Journal.batches.clear()
    Journal.attempts.clear()


@pytest.fixture
def lenient(queue: LocalQueue) -> LocalQueue:
    """A queue that says nothing of requests that failed."""
    queue.raises = False
    return queue


# The clock


async def test_the_clock_stands_still(queue: LocalQueue) -> None:
    assert queue.clock.now == START

    await queue.register(Journal, Note(1))
    await queue.drain()

    assert queue.clock.now == START
    assert await now_us(queue.storage) == int(START.timestamp()) * 1_000_000


def test_the_clock_moves_as_told() -> None:
    clock = Clock(START)
    clock.move(1.5)
    clock.move(timedelta(minutes=1))

    assert clock.now == START + timedelta(seconds=61.5)
    assert clock.seconds() == 61.5


def test_the_clock_does_not_go_back() -> None:
    clock = Clock(START)

    with pytest.raises(ConfigurationError, match="cannot go back"):
        clock.move(-1)
    clock.move_to_us(0)

    assert clock.now == START


def test_the_clock_wants_a_time_zone() -> None:
    with pytest.raises(ConfigurationError, match="a datetime with a time zone"):
        Clock(datetime(2026, 3, 1))

    assert Clock().now.utcoffset() == timedelta()


@pytest.mark.parametrize("clock", [5, 0, "x", START])
def test_what_is_no_clock_is_refused(clock: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"is no clock: use shardq\.testing\.Clock"):
        LocalQueue(clock=clock)


@pytest.mark.parametrize("span", [timedelta.max, timedelta(days=4_000_000), 1e12])
async def test_the_clock_ends_with_the_calendar(queue: LocalQueue, span: Any) -> None:
    await queue.register(Journal, Note(1))

    with pytest.raises(ConfigurationError, match="to after the year 9999: advance by less"):
        queue.clock.move(span)
    with pytest.raises(ConfigurationError, match="to after the year 9999: advance by less"):
        await queue.advance(span)

    assert queue.clock.now == START
    assert Journal.entries == []


@pytest.mark.parametrize("recurrent", ["0 8 * * *", 86400, timedelta(days=1)])
async def test_what_would_come_after_the_calendar_is_refused(recurrent: Any) -> None:
    queue = LocalQueue(clock=Clock(datetime.max.replace(tzinfo=UTC)))

    with pytest.raises(ScheduleError, match="is over, or never comes"):
        await queue.register(Journal, Note(1), recurrent=recurrent)

    assert await queue.recurrent.list() == []


async def test_a_schedule_ends_with_the_calendar() -> None:
    queue = LocalQueue(clock=Clock(datetime(9999, 12, 30, tzinfo=UTC)))
    Journal.clock = queue.clock
    await queue.register(Journal, Note(1), recurrent="0 8 * * *")

    assert await queue.advance(2 * 86400 - 1) == 2

    assert await queue.recurrent.list() == []
    Journal.entries.clear()


# Draining


async def test_drain_handles_what_is_queued(queue: LocalQueue) -> None:
    await queue.register(Journal, *map(Note, range(300)))

    assert await queue.drain() == 300

    assert [number for number, _ in Journal.entries] == list(range(300))
    assert await queue.drain() == 0


async def test_drain_handles_what_handlers_register(queue: LocalQueue) -> None:
    await queue.register(Plain, Note(0))

    assert await queue.drain() == 4

    assert Journal.entries == [(0, 0), (1, 0), (2, 0), (3, 0)]


async def test_drain_leaves_what_is_due_later(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), defer=60)
    await queue.register(Journal, Note(2), recurrent=60)

    assert await queue.drain() == 0

    assert Journal.entries == []
    backlog = await queue.storage.backlog()
    assert (backlog.deferred, backlog.recurrent) == (1, 1)


async def test_drain_handles_all_threads(queue: LocalQueue) -> None:
    await queue.register(Threaded, *map(Note, range(9)))

    assert await queue.drain() == 9

    assert sorted(number for number, _ in Journal.entries) == list(range(9))


# Advancing


async def test_deferred_requests_come_at_their_time(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(2), defer=120)
    await queue.register(Journal, Note(1), defer=timedelta(minutes=1))
    await queue.register(Journal, Note(3), defer=START + timedelta(minutes=3))
    await queue.register(Journal, Note(0))

    assert await queue.advance(119) == 2
    assert await queue.advance(timedelta(seconds=61)) == 2

    assert Journal.entries == [(0, 0), (1, 60), (2, 120), (3, 180)]


async def test_the_end_of_an_advance_belongs_to_it(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), defer=60)

    assert await queue.advance(59.999999) == 0
    assert await queue.advance(0.000001) == 1

    assert queue.clock.now == START + timedelta(minutes=1)


async def test_recurrent_requests_come_each_time(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), recurrent=60)

    assert await queue.advance(HOUR_S) == 60

    assert Journal.entries == [(1, 60.0 * minute) for minute in range(1, 61)]
    assert queue.clock.now == START + timedelta(hours=1)


async def test_recurrent_requests_come_by_the_calendar(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), recurrent="30 8 * * *")

    assert await queue.advance(timedelta(days=7)) == 7

    first_s = (20 * 60 + 30) * 60.0
    assert Journal.entries == [(1, first_s + day * 86400) for day in range(7)]


async def test_deferred_and_recurrent_requests_come_in_turn(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), recurrent=60)
    await queue.register(Journal, Note(2), defer=90)

    await queue.advance(180)

    assert Journal.entries == [(1, 60), (2, 90), (1, 120), (1, 180)]


async def test_handlers_defer_their_follow_ups(queue: LocalQueue) -> None:
    await queue.register(Chained, Note(1))

    assert await queue.advance(150) == 3
    assert await queue.advance(HOUR_S) == 2

    assert Journal.entries == [(1, 0), (2, 60), (3, 120), (4, 180), (5, 240)]


async def test_what_was_cancelled_does_not_come(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), Note(2), defer=60)
    await queue.cancel(Journal, Note(1))

    await queue.advance(60)

    assert Journal.entries == [(2, 60)]


async def test_moving_the_clock_alone_misses_times(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), recurrent=60)
    queue.clock.move(HOUR_S + 30)

    assert await queue.drain() == 1

    assert Journal.entries == [(1, HOUR_S + 30)]
    assert await queue.advance(30) == 1


@pytest.mark.parametrize("span", [-1, timedelta(seconds=-1)])
async def test_time_does_not_go_back(queue: LocalQueue, span: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot go back"):
        await queue.advance(span)


# Failures


async def test_failures_are_tried_again_at_their_time(queue: LocalQueue) -> None:
    await queue.register(Patient, Note(1, fails=3), Note(2))

    assert await queue.advance(HOUR_S) == 2

    # First in a batch, then alone, then after 10 and 20 seconds. The other one waits, since order holds.
    assert [at_s for number, at_s in Journal.entries if number == 1] == pytest.approx([0, 0, 10, 30], abs=0.001)
    assert Journal.entries[-1] == (2, pytest.approx(30, abs=0.001))
    assert await queue.dead_letters.list() == []


async def test_a_request_waits_for_its_next_attempt(lenient: LocalQueue) -> None:
    await lenient.register(Patient, Note(1, fails=1))
    assert await lenient.drain() == 0
    assert await lenient.drain() == 0
    assert await lenient.advance(9.9) == 0

    assert await lenient.advance(0.2) == 1

    assert [at_s for _, at_s in Journal.entries] == pytest.approx([0, 10], abs=0.001)


async def test_a_request_that_fails_holds_its_own_thread_alone(lenient: LocalQueue) -> None:
    await lenient.register(Threaded, Note(0, fails=9), Note(3), Note(1), Note(2))

    assert await lenient.drain() == 2
    assert await lenient.advance(HOUR_S) == 2

    letters = await lenient.dead_letters.list(Threaded)
    assert [found.letter.attempts for found in letters] == [4]


async def test_what_is_given_up_is_a_dead_letter_of_the_time_of_the_clock(lenient: LocalQueue) -> None:
    await lenient.register(Patient, Note(1, fails=9))

    await lenient.advance(HOUR_S)

    [found] = await lenient.dead_letters.list()
    start_us = int(START.timestamp()) * 1_000_000
    assert (found.letter.attempts, found.letter.first_failed_us) == (4, start_us)
    assert found.letter.last_failed_us == pytest.approx(start_us + 70_000_000, abs=1000)


async def test_a_dead_letter_is_raised_at_the_end(queue: LocalQueue) -> None:
    await queue.register(Skipping, Note(1, fails=9), Note(2), defer=60)

    with pytest.raises(RequestsFailed, match=r"Skipping#\d+ became a dead letter: ValueError: not yet, 1\n") as failed:
        await queue.advance(100)

    assert [found.letter.handler for found in failed.value.letters] == [handler_name(Skipping)]
    assert "Traceback" in str(failed.value)
    assert queue.clock.now == START + timedelta(seconds=100)
    assert Journal.entries[-1] == (2, 60)
    assert await queue.advance(100) == 0


async def test_a_request_that_is_still_to_be_tried_again_is_raised(queue: LocalQueue) -> None:
    await queue.register(Patient, Note(1, fails=1))

    with pytest.raises(RequestsFailed, match=f"1 of {handler_name(Patient)}/0/0 wait for their next attempt"):
        await queue.drain()

    assert await queue.advance(11) == 1


async def test_a_letter_can_be_put_back(lenient: LocalQueue) -> None:
    await lenient.register(Skipping, Note(1, fails=1))
    await lenient.drain()
    [found] = await lenient.dead_letters.list()

    assert await lenient.dead_letters.requeue(found)

    assert await lenient.drain() == 1
    assert lenient.registered(Skipping) == [Note(1, 1)]


@pytest.mark.parametrize("letter", ["app.jobs/Greeter#1", 1, None, [], ("app.jobs/Greeter/dead/0", 1, None)])
async def test_what_is_no_letter_is_refused_and_nothing_is_forgotten(lenient: LocalQueue, letter: Any) -> None:
    await lenient.register(Skipping, Note(1, fails=9))
    await lenient.drain()
    found = await lenient.dead_letters.list(handler_name(Skipping))

    with pytest.raises(ConfigurationError, match=r"is no dead letter: give those that dead_letters\.list"):
        await lenient.dead_letters.requeue(letter)
    with pytest.raises(ConfigurationError, match=r"is no dead letter: give those that dead_letters\.list"):
        await lenient.dead_letters.drop(*found, letter)

    assert len(found) == 1
    assert await lenient.dead_letters.list() == found


@pytest.mark.parametrize("handler", [5, Note, Journal(), []])
async def test_letters_are_listed_for_handlers_only(queue: LocalQueue, handler: Any) -> None:
    with pytest.raises(HandlerError, match="is no handler class"):
        await queue.dead_letters.list(handler)


async def test_a_handler_that_does_not_start_is_tried_again(queue: LocalQueue) -> None:
    NotStarting.starts = 0
    await queue.register(NotStarting, Note(1))
    with pytest.raises(RequestsFailed, match="NotStarting"):
        await queue.drain()

    assert await queue.advance(HOUR_S) == 1

    assert NotStarting.starts == 3


async def test_a_handler_that_does_nothing_rests_longer_each_time(
    lenient: LocalQueue, caplog: pytest.LogCaptureFixture
) -> None:
    await lenient.storage.append([(f"{handler_name(Idle)}/0/0", [b"\x92\x01\x00"])])

    await lenient.drain()
    assert caplog.text.count("handler did not start") == 1
    await lenient.advance(3.5)  # after 1 and 2 more seconds

    assert caplog.text.count("handler did not start") == 3
    assert (await lenient.storage.backlog()).queued == 1


# What was registered


async def test_registered_lists_requests_of_any_kind(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), Note(2))
    await queue.register(Journal, Note(3), defer=60)
    queue.register_sync(Journal, Note(4), recurrent=60)
    await queue.register(Patient, Note(9))
    assert await queue.register(Journal, Note(1), Note(5), Note(5), if_not_exists=True) == 1
    expected = [Note(1), Note(2), Note(3), Note(4), Note(5)]
    assert queue.registered(Journal) == expected

    await queue.advance(HOUR_S)

    assert queue.registered(Journal) == expected
    assert queue.registered(Patient) == [Note(9)]
    assert queue.registered(Threaded) == []


@pytest.mark.parametrize("handler", ["Journal", None, Note, Journal(), []])
def test_registered_wants_a_handler(queue: LocalQueue, handler: Any) -> None:
    with pytest.raises(HandlerError, match="is no handler class"):
        queue.registered(handler)


async def test_registered_lists_what_handlers_registered(queue: LocalQueue) -> None:
    await queue.register(Chained, Note(4))

    await queue.drain()

    assert queue.registered(Chained) == [Note(4), Note(5)]


async def test_registered_lists_what_handlers_emitted_once_it_is_there(lenient: LocalQueue) -> None:
    await lenient.register(Emitting, Note(1), Note(2, fails=2))

    await lenient.drain()
    assert lenient.registered(Journal) == [Note(1)]
    await lenient.advance(10)

    assert lenient.registered(Journal) == [Note(1), Note(2)]
    assert lenient.registered(Threaded) == [Note(101), Note(102)]
    await lenient.advance(60)
    assert [entry for entry in Journal.entries if entry[0] > 100] == [(101, 60.0), (102, 70.0)]


async def test_what_is_emitted_for_after_the_calendar_is_not_stored() -> None:
    queue = LocalQueue(clock=Clock(datetime(9999, 12, 31, 23, tzinfo=UTC)), raises=False)
    Journal.clock = queue.clock
    await queue.register(Late, Note(1))

    await queue.drain()

    assert queue.registered(Journal) == []
    [buried] = await queue.dead_letters.list()
    assert "ScheduleError" in buried.letter.error


# The whole


async def test_queues_do_not_share_anything() -> None:
    first, second = LocalQueue(clock=Clock(START)), LocalQueue()
    await first.register(Patient, Note(1), defer=1)

    assert (await second.storage.backlog()).deferred == 0
    assert second.clock.now != first.clock.now
    assert second.registered(Patient) == []


async def test_a_bound_may_be_set() -> None:
    queue = LocalQueue(settings=StorageSettings(capacity_bytes=1 << 20, when_full="raise"))

    assert queue.storage.settings.capacity_bytes == 1 << 20


def test_it_runs_on_any_loop() -> None:
    queue = LocalQueue(clock=Clock(START))
    Journal.clock = queue.clock

    asyncio.run(queue.register(Journal, Note(1), defer=1))

    assert asyncio.run(queue.advance(1)) == 1
    Journal.entries.clear()


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


async def test_a_call_whose_request_fails_moves_the_clock_to_its_next_attempts(queue: LocalQueue) -> None:
    with pytest.raises(RequestFailed, match="below 0"):
        await finished(asyncio.create_task(queue.call(Root, -1)))

    assert queue.clock.now == START + timedelta(seconds=10 + 20)


async def test_a_map_moves_the_clock_to_the_next_attempts(queue: LocalQueue) -> None:
    async def mapped() -> list[bool]:
        async with queue.map(Root, [4, -1, 9], outcomes=True) as results:
            return [outcome.error is None async for outcome in results]

    assert await finished(asyncio.create_task(mapped())) == [True, False, True]


async def test_asking_for_a_result_moves_the_clock_to_the_next_attempts(queue: LocalQueue) -> None:
    ticket = await queue.submit(Root, -1)

    with pytest.raises(RequestFailed, match="below 0"):
        await finished(asyncio.create_task(queue.result(ticket)))

    assert queue.clock.now == START + timedelta(seconds=10 + 20)


async def test_a_call_that_has_its_result_leaves_the_clock_to_the_test(lenient: LocalQueue) -> None:
    await lenient.register(Patient, Note(1, fails=1))
    await lenient.drain()

    assert await lenient.call(Double, 2) == 4

    assert lenient.clock.now == START
    assert Journal.attempts == {1: 1}


async def test_a_call_whose_clock_moves_handles_what_is_due_on_the_way(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1), defer=15)

    with pytest.raises(RequestFailed):
        await finished(asyncio.create_task(queue.call(Root, -1)))

    assert Journal.entries == [(1, 15)]


async def test_a_call_of_a_handler_that_never_starts_ends_with_its_time_limit(queue: LocalQueue) -> None:
    with pytest.raises(ResultTimeout):
        await queue.call(Never, 1, timeout_s=0.05)


class Gated(Handler[int, int]):
    """Waits until it may go on."""

    begun: ClassVar[asyncio.Event]
    may_go: ClassVar[asyncio.Event]

    async def perform(self, *numbers: int) -> list[int]:
        self.begun.set()
        await self.may_go.wait()
        return [*numbers]


@pytest.mark.parametrize("verb", ["drain", "advance"])
async def test_what_a_call_has_in_hand_did_not_fail(queue: LocalQueue, verb: str) -> None:
    Gated.begun, Gated.may_go = asyncio.Event(), asyncio.Event()
    calling = asyncio.create_task(queue.call(Gated, 5))
    await Gated.begun.wait()
    await queue.register(Journal, Note(1))
    working = await suspended(queue.drain() if verb == "drain" else queue.advance(1))

    Gated.may_go.set()

    assert await finished(calling) == 5
    assert await finished(working) <= 1
    assert [number for number, _ in Journal.entries] == [1]


class Draining(Handler[int]):
    retry = Retry(max_attempts=1)

    async def perform(self, *numbers: int) -> None:
        assert isinstance(self.queue, LocalQueue)
        await self.queue.drain()


async def test_a_handler_cannot_drain_its_queue(queue: LocalQueue) -> None:
    await queue.register(Draining, 1)

    with pytest.raises(RequestsFailed, match="HandlerError"):
        await queue.drain()


async def test_a_pause_ends_at_its_time(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1))
    await queue.storage.pause(handler_name(Journal), When(None, "", 60_000_000), "maintenance")

    assert await queue.advance(HOUR_S) == 1

    assert Journal.entries == [(1, 60)]


async def test_what_is_paused_is_said_to_be(queue: LocalQueue) -> None:
    await queue.register(Journal, Note(1))
    await queue.storage.pause(handler_name(Journal))

    with pytest.raises(RequestsFailed, match=r"Journal is resumed$"):
        await queue.advance(HOUR_S)


async def test_a_call_of_a_paused_handler_moves_the_clock_to_the_end_of_the_pause(queue: LocalQueue) -> None:
    await queue.storage.pause(handler_name(Double), When(None, "", 60_000_000))

    assert await finished(asyncio.create_task(queue.call(Double, 2))) == 4
    assert queue.clock.now == START + timedelta(seconds=60)
