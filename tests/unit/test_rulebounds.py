"""Rules that never come, or came often, cost a bounded search. It is counted in steps of the library, not timed."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count as numbers
from typing import Any
from zoneinfo import ZoneInfo

import dateutil.rrule
import pytest
from dateutil.rrule import DAILY, HOURLY, MINUTELY, MO, MONTHLY, SECONDLY, TU, WEEKLY, YEARLY, rrule

from shardq import Queue
from shardq.drivers import RuntimeStorage
from shardq.errors import ScheduleError
from shardq.scheduling.rule_bounds import MOST_COUNTED
from shardq.scheduling.schedule import first_us, next_us, written
from tests.unit.queue_handlers import Job, Plain

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2020, 1, 1, 9, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
#: Of the library, in a search: some hundred years, and not all to the year 9999.
MOST_STEPS = 1_500


def us(time: datetime) -> int:
    return int((time - EPOCH).total_seconds()) * 1_000_000


def time_of(found: int | None) -> datetime | None:
    return None if found is None else datetime.fromtimestamp(found / 1e6, UTC)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps the library took so far, as the only number of a list."""
    taken, rebuild = [0], dateutil.rrule._iterinfo.rebuild

    def counted(self: Any, year: int, month: int) -> Any:
        taken[0] += 1
        return rebuild(self, year, month)

    monkeypatch.setattr("dateutil.rrule._iterinfo.rebuild", counted)
    return taken


NEVER = [
    *({"freq": freq, "bymonth": 2, "bymonthday": 30} for freq in (YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY)),
    {"freq": SECONDLY, "bymonth": 2, "bymonthday": 30},
    {"freq": DAILY, "bymonth": 2, "bymonthday": -30},
    {"freq": DAILY, "bymonth": 4, "bymonthday": 31, "count": 5},
    {"freq": YEARLY, "byyearday": 366, "bymonth": 1},
    {"freq": YEARLY, "byweekno": 53, "bymonth": 6},
    {"freq": YEARLY, "byeaster": 500},
    {"freq": MONTHLY, "bymonth": (4, 6), "bymonthday": 31, "byweekday": MO},
]


@pytest.mark.parametrize("rule", NEVER, ids=str)
def test_a_rule_that_never_comes_is_found_out_in_bounded_steps(rule: dict[str, Any], steps: list[int]) -> None:
    assert first_us(written(rrule(dtstart=START, **rule)), us(NOW)) is None

    assert steps[0] <= MOST_STEPS


#: A position that none of their periods has: the library would look into each of them, up to the year 9999.
NOWHERE = [
    {"freq": SECONDLY, "bysetpos": 2},
    {"freq": MINUTELY, "bysetpos": 300, "byhour": 3},
    {"freq": MINUTELY, "bysetpos": -4, "bysecond": (1, 2, 3)},
    {"freq": HOURLY, "bysetpos": 5, "byminute": (1, 2), "bysecond": (3, 4)},
    {"freq": DAILY, "bysetpos": (-3, 4), "byhour": (1, 2)},
    {"freq": WEEKLY, "bysetpos": 2, "byweekday": MO},
    {"freq": WEEKLY, "bysetpos": 3, "bymonthday": 1},
    {"freq": MONTHLY, "bysetpos": 32, "bymonthday": tuple(range(1, 32))},
    {"freq": YEARLY, "bysetpos": 300, "bymonth": 1},
    {"freq": MINUTELY, "bysetpos": 2, "count": 3},
]
#: Of those, in a search: it looks at weeks and months one by one, as they have no fixed number of days.
MOST_PERIODS = 30_000


@pytest.mark.parametrize("rule", NOWHERE, ids=str)
def test_a_position_that_no_period_has_is_not_looked_for_in_each(
    rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, dayset = [0], dateutil.rrule._iterinfo.ddayset

    def counted(self: Any, year: int, month: int, day: int) -> Any:
        looked[0] += 1
        if looked[0] > MOST_PERIODS:
            pytest.fail("the library looks into each of its periods")
        return dayset(self, year, month, day)

    monkeypatch.setattr("dateutil.rrule._iterinfo.ddayset", counted)

    assert first_us(written(rrule(dtstart=START, **rule)), us(NOW)) is None


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ({"freq": SECONDLY, "bysetpos": -1, "byhour": 3}, datetime(2026, 3, 1, 3, tzinfo=UTC)),
        ({"freq": MINUTELY, "bysetpos": (9, -3), "bysecond": (1, 2, 3)}, datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)),
        (
            {"freq": HOURLY, "bysetpos": 4, "byminute": (1, 2), "bysecond": (3, 4)},
            datetime(2026, 3, 1, 0, 2, 4, tzinfo=UTC),
        ),
        ({"freq": DAILY, "bysetpos": 2, "byhour": (1, 2)}, datetime(2026, 3, 1, 2, tzinfo=UTC)),
        ({"freq": WEEKLY, "bysetpos": 2, "byweekday": (MO, TU)}, datetime(2026, 3, 3, 9, tzinfo=UTC)),
        ({"freq": YEARLY, "bysetpos": 366, "byyearday": tuple(range(1, 367))}, datetime(2028, 12, 31, 9, tzinfo=UTC)),
    ],
    ids=str,
)
def test_a_position_that_there_is_comes(rule: dict[str, Any], first: datetime) -> None:
    assert time_of(first_us(written(rrule(dtstart=START, **rule)), us(NOW))) == first


async def test_it_is_refused_when_registering() -> None:
    queue = Queue(RuntimeStorage())

    with pytest.raises(ScheduleError, match="never comes"):
        await queue.register(Plain, Job(1), recurrent=rrule(DAILY, bymonth=2, bymonthday=30, dtstart=START))
    assert await queue.recurrent.list() == []


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ({"freq": DAILY, "bymonth": 2, "bymonthday": 29}, datetime(2028, 2, 29, 9, tzinfo=UTC)),
        ({"freq": YEARLY, "bymonth": 2, "bymonthday": 29, "byweekday": MO}, datetime(2044, 2, 29, 9, tzinfo=UTC)),
        ({"freq": YEARLY, "byyearday": 366}, datetime(2028, 12, 31, 9, tzinfo=UTC)),
        ({"freq": MONTHLY, "bymonthday": 31, "interval": 6, "bymonth": 7}, datetime(2026, 7, 31, 9, tzinfo=UTC)),
        ({"freq": YEARLY, "interval": 25}, datetime(2045, 1, 1, 9, tzinfo=UTC)),
        ({"freq": YEARLY, "byeaster": 0}, datetime(2026, 4, 5, 9, tzinfo=UTC)),
        ({"freq": WEEKLY, "interval": 3}, datetime(2026, 3, 18, 9, tzinfo=UTC)),
    ],
    ids=str,
)
def test_one_that_seldom_comes_does(rule: dict[str, Any], first: datetime, steps: list[int]) -> None:
    assert time_of(first_us(written(rrule(dtstart=START, **rule)), us(NOW))) == first

    assert steps[0] <= MOST_STEPS


COUNTED = [
    {"freq": DAILY, "count": 2500},
    {"freq": HOURLY, "count": 60_000, "interval": 2},
    {"freq": WEEKLY, "count": 400, "byweekday": (MO,)},
    {"freq": MONTHLY, "count": 80, "bymonthday": (1, -1)},
    {"freq": DAILY, "count": 3000, "bymonth": (1, 2, 3, 6, 7, 8)},
]


@pytest.mark.parametrize("rule", COUNTED, ids=str)
def test_a_count_comes_to_its_end_as_the_library_counts_it(rule: dict[str, Any], steps: list[int]) -> None:
    schedule = written(rrule(dtstart=START, **rule))
    *_, last = rrule(dtstart=START, **rule)

    assert time_of(next_us(schedule, us(last) - 1, us(last) - 1)) == last
    assert next_us(schedule, us(last), us(last)) is None


@pytest.mark.parametrize("rule", COUNTED, ids=str)
def test_past_times_are_not_counted_again_each_time(rule: dict[str, Any], steps: list[int]) -> None:
    schedule = written(rrule(dtstart=START, **rule))
    first_us(schedule, us(NOW))
    steps[0] = 0

    due = us(NOW)
    for _ in range(3):
        found = next_us(schedule, due, due)
        due = found or due

    assert steps[0] <= 3 * 40  # a search looks at the rest of a month or so


def test_a_count_in_a_zone_ends_at_the_clock_of_the_zone() -> None:
    start = datetime(2026, 3, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))  # two days before the clock skips that time
    schedule, due = written(rrule(DAILY, count=4, dtstart=start)), us(start.astimezone(UTC)) - 1
    times = []
    for _ in numbers():
        found = next_us(schedule, due, due)
        if found is None:
            break
        times.append(time_of(found))
        due = found

    assert [f"{time:%d %H:%M}" for time in times if time] == ["27 01:30", "28 01:30", "29 01:00", "30 00:30"]


@pytest.mark.parametrize("freq", [SECONDLY, MINUTELY, DAILY])
def test_a_count_that_is_plain_arithmetic_may_be_any(freq: Any, steps: list[int]) -> None:
    schedule = written(rrule(freq, count=10**12, dtstart=START))

    assert first_us(schedule, us(NOW)) is not None
    assert steps[0] <= MOST_STEPS


def test_a_count_that_would_have_to_be_counted_through_has_a_bound() -> None:
    with pytest.raises(ScheduleError, match=f"give it `until`, or a count of at most {MOST_COUNTED}"):
        written(rrule(MINUTELY, byhour=9, count=MOST_COUNTED + 1, dtstart=START))
