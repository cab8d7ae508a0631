"""What applications test their handlers with: a queue that is worked off where the test says so."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shardq.errors import ConfigurationError, HandlerError
from shardq.model import handler_name
from shardq.settings import StorageSettings
from shardq.testing import Clock, LocalQueue, RequestsFailed
from tests.unit.local_handlers import (
    HOUR_S,
    START,
    Chained,
    Emitting,
    Idle,
    Journal,
    Late,
    Note,
    NotStarting,
    Patient,
    Plain,
    Skipping,
    Threaded,
)

# Draining


async def test_drain_handles_what_is_queued(local: LocalQueue) -> None:
    await local.register(Journal, *map(Note, range(300)))

    assert await local.drain() == 300

    assert [number for number, _ in Journal.entries] == list(range(300))
    assert await local.drain() == 0


async def test_drain_handles_what_handlers_register(local: LocalQueue) -> None:
    await local.register(Plain, Note(0))

    assert await local.drain() == 4

    assert Journal.entries == [(0, 0), (1, 0), (2, 0), (3, 0)]


async def test_drain_leaves_what_is_due_later(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), defer=60)
    await local.register(Journal, Note(2), recurrent=60)

    assert await local.drain() == 0

    assert Journal.entries == []
    backlog = await local.storage.backlog()
    assert (backlog.deferred, backlog.recurrent) == (1, 1)


async def test_drain_handles_all_threads(local: LocalQueue) -> None:
    await local.register(Threaded, *map(Note, range(9)))

    assert await local.drain() == 9

    assert sorted(number for number, _ in Journal.entries) == list(range(9))


# Failures


async def test_failures_are_tried_again_at_their_time(local: LocalQueue) -> None:
    await local.register(Patient, Note(1, fails=3), Note(2))

    assert await local.advance(HOUR_S) == 2

    # First in a batch, then alone, then after 10 and 20 seconds. The other one waits, since order holds.
    assert [at_s for number, at_s in Journal.entries if number == 1] == pytest.approx([0, 0, 10, 30], abs=0.001)
    assert Journal.entries[-1] == (2, pytest.approx(30, abs=0.001))
    assert await local.dead_letters.list() == []


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


async def test_a_dead_letter_is_raised_at_the_end(local: LocalQueue) -> None:
    await local.register(Skipping, Note(1, fails=9), Note(2), defer=60)

    with pytest.raises(RequestsFailed, match=r"Skipping#\d+ became a dead letter: ValueError: not yet, 1\n") as failed:
        await local.advance(100)

    assert [found.letter.handler for found in failed.value.letters] == [handler_name(Skipping)]
    assert "Traceback" in str(failed.value)
    assert local.clock.now == START + timedelta(seconds=100)
    assert Journal.entries[-1] == (2, 60)
    assert await local.advance(100) == 0


async def test_a_request_that_is_still_to_be_tried_again_is_raised(local: LocalQueue) -> None:
    await local.register(Patient, Note(1, fails=1))

    with pytest.raises(RequestsFailed, match=f"1 of {handler_name(Patient)}/0/0 wait for their next attempt"):
        await local.drain()

    assert await local.advance(11) == 1


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
async def test_letters_are_listed_for_handlers_only(local: LocalQueue, handler: Any) -> None:
    with pytest.raises(HandlerError, match="is no handler class"):
        await local.dead_letters.list(handler)


async def test_a_handler_that_does_not_start_is_tried_again(local: LocalQueue) -> None:
    NotStarting.starts = 0
    await local.register(NotStarting, Note(1))
    with pytest.raises(RequestsFailed, match="NotStarting"):
        await local.drain()

    assert await local.advance(HOUR_S) == 1

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


async def test_registered_lists_requests_of_any_kind(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), Note(2))
    await local.register(Journal, Note(3), defer=60)
    local.register_sync(Journal, Note(4), recurrent=60)
    await local.register(Patient, Note(9))
    assert await local.register(Journal, Note(1), Note(5), Note(5), if_not_exists=True) == 1
    expected = [Note(1), Note(2), Note(3), Note(4), Note(5)]
    assert local.registered(Journal) == expected

    await local.advance(HOUR_S)

    assert local.registered(Journal) == expected
    assert local.registered(Patient) == [Note(9)]
    assert local.registered(Threaded) == []


@pytest.mark.parametrize("handler", ["Journal", None, Note, Journal(), []])
def test_registered_wants_a_handler(local: LocalQueue, handler: Any) -> None:
    with pytest.raises(HandlerError, match="is no handler class"):
        local.registered(handler)


async def test_registered_lists_what_handlers_registered(local: LocalQueue) -> None:
    await local.register(Chained, Note(4))

    await local.drain()

    assert local.registered(Chained) == [Note(4), Note(5)]


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
