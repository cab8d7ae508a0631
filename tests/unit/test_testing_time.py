"""The clock that only the test moves, and what comes as it moves on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shardq.errors import ConfigurationError, ScheduleError
from shardq.testing import Clock, LocalQueue
from tests.support.clock import now_us
from tests.unit.local_handlers import (
    HOUR_S,
    START,
    Chained,
    Journal,
    Note,
)

# The clock


async def test_the_clock_stands_still(local: LocalQueue) -> None:
    assert local.clock.now == START

    await local.register(Journal, Note(1))
    await local.drain()

    assert local.clock.now == START
    assert await now_us(local.storage) == int(START.timestamp()) * 1_000_000


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
async def test_the_clock_ends_with_the_calendar(local: LocalQueue, span: Any) -> None:
    await local.register(Journal, Note(1))

    with pytest.raises(ConfigurationError, match="to after the year 9999: advance by less"):
        local.clock.move(span)
    with pytest.raises(ConfigurationError, match="to after the year 9999: advance by less"):
        await local.advance(span)

    assert local.clock.now == START
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


# Advancing


async def test_deferred_requests_come_at_their_time(local: LocalQueue) -> None:
    await local.register(Journal, Note(2), defer=120)
    await local.register(Journal, Note(1), defer=timedelta(minutes=1))
    await local.register(Journal, Note(3), defer=START + timedelta(minutes=3))
    await local.register(Journal, Note(0))

    assert await local.advance(119) == 2
    assert await local.advance(timedelta(seconds=61)) == 2

    assert Journal.entries == [(0, 0), (1, 60), (2, 120), (3, 180)]


async def test_the_end_of_an_advance_belongs_to_it(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), defer=60)

    assert await local.advance(59.999999) == 0
    assert await local.advance(0.000001) == 1

    assert local.clock.now == START + timedelta(minutes=1)


async def test_recurrent_requests_come_each_time(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), recurrent=60)

    assert await local.advance(HOUR_S) == 60

    assert Journal.entries == [(1, 60.0 * minute) for minute in range(1, 61)]
    assert local.clock.now == START + timedelta(hours=1)


async def test_recurrent_requests_come_by_the_calendar(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), recurrent="30 8 * * *")

    assert await local.advance(timedelta(days=7)) == 7

    first_s = (20 * 60 + 30) * 60.0
    assert Journal.entries == [(1, first_s + day * 86400) for day in range(7)]


async def test_deferred_and_recurrent_requests_come_in_turn(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), recurrent=60)
    await local.register(Journal, Note(2), defer=90)

    await local.advance(180)

    assert Journal.entries == [(1, 60), (2, 90), (1, 120), (1, 180)]


async def test_handlers_defer_their_follow_ups(local: LocalQueue) -> None:
    await local.register(Chained, Note(1))

    assert await local.advance(150) == 3
    assert await local.advance(HOUR_S) == 2

    assert Journal.entries == [(1, 0), (2, 60), (3, 120), (4, 180), (5, 240)]


async def test_what_was_cancelled_does_not_come(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), Note(2), defer=60)
    await local.cancel(Journal, Note(1))

    await local.advance(60)

    assert Journal.entries == [(2, 60)]


async def test_moving_the_clock_alone_misses_times(local: LocalQueue) -> None:
    await local.register(Journal, Note(1), recurrent=60)
    local.clock.move(HOUR_S + 30)

    assert await local.drain() == 1

    assert Journal.entries == [(1, HOUR_S + 30)]
    assert await local.advance(30) == 1


@pytest.mark.parametrize("span", [-1, timedelta(seconds=-1)])
async def test_time_does_not_go_back(local: LocalQueue, span: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot go back"):
        await local.advance(span)
