"""Schedules around clock changes, against looking at every minute; and what holds for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import DAILY, FR, HOURLY, MINUTELY, MO, MONTHLY, WEEKLY, YEARLY, rrule
from hypothesis import given
from hypothesis import strategies as st

from shardq.scheduling.schedule import first_us, next_us, written
from tests.support.unhurried import unhurried

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
MINUTE_US, DAY_US = 60_000_000, 86_400_000_000

#: Days of 2026 on which clocks change, there or somewhere else.
CHANGES = [
    datetime(2026, month, day, tzinfo=UTC) for month, day in [(3, 8), (3, 29), (4, 5), (10, 4), (10, 25), (11, 1)]
]

zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"])
#: Within a day and a half of a change.
moments = st.builds(
    lambda day, minutes, us: (day - EPOCH) // US + minutes * MINUTE_US + us,
    st.sampled_from(CHANGES),
    st.integers(-36 * 60, 36 * 60),
    st.sampled_from([0, 0, 1, 59_999_999]),
)
minutes_of_hour = st.lists(st.integers(0, 59), min_size=1, max_size=3, unique=True)
hours_of_day = st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True)
lines_of_the_day = st.builds(
    lambda minutes, hours: f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *",
    minutes_of_hour,
    hours_of_day,
)
lines_of_the_clock = st.sampled_from(["* * * * *", "*/20 2 * * *", "*/7 1-2 * * *", "30 * * * *", "15 */2 * * *"])
periods_us = st.integers(1_000, 400 * DAY_US)


#: Where months and years are of different length.
old = st.sampled_from([datetime(2020, 2, 29, 3), datetime(2023, 12, 31, 2, 30), datetime(2024, 8, 31)])
days = st.sampled_from([{}, {}, {"bymonthday": [1, 31]}, {"byweekday": [MO(2), FR(-1)]}, {"byweekday": [0, 3, 6]}])
positions = st.sampled_from([{}, {"bysetpos": [1, -1], "byhour": [2, 3, 14], "byminute": [0, 30]}])


def rules_of(*periods: Any) -> st.SearchStrategy[rrule]:
    return st.builds(
        lambda freq, zone, start, interval, days, positions: rrule(
            freq, start.replace(tzinfo=ZoneInfo(zone)), interval=interval, **days, **positions
        ),
        st.sampled_from(periods),
        zones,
        st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 1)) | old,
        st.integers(1, 5),
        days,
        positions,
    )


def rules_of_the_hour(*periods: Any) -> st.SearchStrategy[rrule]:
    return st.builds(
        lambda freq, zone, start, interval: rrule(freq, start.replace(tzinfo=ZoneInfo(zone)), interval=interval),
        st.sampled_from(periods),
        zones,
        st.datetimes(datetime(2025, 1, 1), datetime(2026, 12, 1)),
        st.integers(1, 40),
    )


rules_of_the_day = rules_of(DAILY, WEEKLY, MONTHLY, YEARLY)
rules = rules_of_the_day | rules_of_the_hour(MINUTELY, HOURLY)
schedules: st.SearchStrategy[Any] = (
    periods_us.map(lambda us: timedelta(microseconds=us))
    | st.builds("CRON_TZ={} {}".format, zones, lines_of_the_day | lines_of_the_clock)
    | rules
)


def local(us: int, zone: str) -> datetime:
    return (EPOCH + us * US).astimezone(ZoneInfo(zone))


def following(schedule: str, now_us: int, count: int) -> list[int]:
    """The next so many times."""
    times = [now_us]
    for _ in range(count):
        found = next_us(schedule, times[-1], times[-1])
        assert found is not None
        times.append(found)
    return times[1:]


def numbers(field: str, most: int) -> Sequence[int]:
    """The numbers a field of a cron line stands for."""
    span, _, step = field.partition("/")
    if span == "*":
        return range(0, most, int(step or 1))
    if "-" in span:
        first, last = map(int, span.split("-"))
        return range(first, last + 1, int(step or 1))
    return [int(number) for number in span.split(",")]


def minutes_after(now_us: int, days: int) -> range:
    first = (now_us // MINUTE_US + 1) * MINUTE_US
    return range(first, first + days * DAY_US, MINUTE_US)


@unhurried
@given(schedules, moments)
def test_times_follow_one_another(recurrent: Any, now_us: int) -> None:
    schedule = written(recurrent)

    times = following(schedule, now_us, 6)

    assert times == sorted(set(times))
    assert times[0] > now_us
    assert times == following(schedule, now_us, 6)


@unhurried
@given(schedules, moments, st.integers(0, 3 * DAY_US))
def test_what_was_missed_comes_once(recurrent: Any, due_us: int, late_us: int) -> None:
    schedule = written(recurrent)
    now_us = due_us + late_us

    then = next_us(schedule, due_us, now_us)

    assert then is not None
    assert then > now_us
    # Nothing that is still to come is left out.
    if not schedule.startswith("every"):
        assert then == first_us(schedule, now_us)


@unhurried
@given(schedules)
def test_a_schedule_reads_as_it_was_written(recurrent: Any) -> None:
    schedule = written(recurrent)

    assert written(recurrent) == schedule
    if isinstance(recurrent, str):
        assert written(schedule) == schedule
    assert first_us(schedule, 0) is not None


@unhurried
@given(periods_us, moments, st.integers(0, 30 * DAY_US))
def test_periods_never_drift(period_us: int, due_us: int, late_us: int) -> None:
    schedule = written(timedelta(microseconds=period_us))

    then = next_us(schedule, due_us, due_us + late_us)

    assert then is not None
    assert (then - due_us) % period_us == 0
    assert due_us + late_us < then <= due_us + late_us + period_us


@unhurried
@given(zones, lines_of_the_clock, moments)
def test_a_line_of_the_clock_comes_whenever_the_clock_shows_it(zone: str, line: str, now_us: int) -> None:
    minutes, hours = (numbers(field, most) for field, most in zip(line.split(), (60, 24), strict=False))
    shown = (
        us for us in minutes_after(now_us, 3) if local(us, zone).hour in hours and local(us, zone).minute in minutes
    )

    assert first_us(f"CRON_TZ={zone} {line}", now_us) == next(shown)


@unhurried
@given(zones, lines_of_the_day, moments)
def test_a_line_of_the_day_comes_once_for_each_time_there_is(zone: str, line: str, now_us: int) -> None:
    minutes, hours = (numbers(field, most) for field, most in zip(line.split(), (60, 24), strict=False))
    named = {(hour, minute) for hour in hours for minute in minutes}
    first_day = local(now_us, zone).date()

    times = [local(us, zone) for us in following(f"CRON_TZ={zone} {line}", now_us, 4 * len(named))]

    for day in (first_day + timedelta(days=1), first_day + timedelta(days=2)):
        its = [(time.hour, time.minute) for time in times if time.date() == day]
        assert len(its) == len(set(its))
        skipped = {time for time in named if not exists(day.year, day.month, day.day, *time, zone)}
        assert set(its) >= named - skipped
        # What is skipped comes at the end of the gap, with what else comes then.
        assert len(set(its) - named) <= bool(skipped)
        assert its


@unhurried
@given(zones, st.integers(0, 23), st.integers(0, 59), moments)
def test_a_daily_line_comes_each_day(zone: str, hour: int, minute: int, now_us: int) -> None:
    times = following(f"CRON_TZ={zone} {minute} {hour} * * *", now_us, 5)

    days = [local(us, zone).date() for us in times]
    assert days == [days[0] + timedelta(days=n) for n in range(5)]


@unhurried
@given(zones, st.integers(0, 23), st.integers(0, 59), moments)
def test_a_daily_rule_comes_as_a_daily_line_does(zone: str, hour: int, minute: int, now_us: int) -> None:
    rule = rrule(DAILY, datetime(2020, 1, 1, hour, minute, tzinfo=ZoneInfo(zone)))

    assert following(written(rule), now_us, 4) == following(f"CRON_TZ={zone} {minute} {hour} * * *", now_us, 4)


@unhurried
@given(rules_of_the_day | rules_of_the_hour(HOURLY), moments)
def test_a_rule_comes_when_it_does_counted_from_its_beginning(rule: rrule, now_us: int) -> None:
    now = (EPOCH + now_us * US).astimezone(vars(rule)["_tzinfo"])
    plain = rule.after(now)
    assert plain is not None
    # Where a clock change is near the library has its own view.
    if plain.utcoffset() == now.utcoffset() == (plain + timedelta(days=1)).utcoffset():
        assert first_us(written(rule), now_us) == (plain - EPOCH) // US


def exists(year: int, month: int, day: int, hour: int, minute: int, zone: str) -> bool:
    wall = datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone))
    return wall.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall.replace(tzinfo=None)
