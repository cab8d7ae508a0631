"""When deferred and recurrent requests are due: what is taken, how it is written, and the times that follow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil import tz
from dateutil.rrule import DAILY, HOURLY, MINUTELY, MO, MONTHLY, SECONDLY, WEEKLY, rrule, rruleset

from shardq.errors import ScheduleError, shown
from shardq.scheduling.schedule import first_us, next_us, resolved_us, when, written

NOW_US = 1_700_000_000_123_456
CENTURIES = timedelta(days=40_000)
BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 1, 9, tzinfo=BERLIN)


def us(text: str) -> int:
    """An ISO time, in UTC where it does not say."""
    when = datetime.fromisoformat(text)
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


DUE = [
    (0, NOW_US),
    (1, NOW_US + 1_000_000),
    (0.25, NOW_US + 250_000),
    (timedelta(minutes=1, microseconds=7), NOW_US + 60_000_007),
    (datetime(2030, 1, 1, tzinfo=UTC), 1_893_456_000_000_000),
    (datetime(2030, 1, 1, 1, tzinfo=BERLIN), 1_893_456_000_000_000),
    (datetime(2001, 1, 1, tzinfo=UTC), 978_307_200_000_000),
    (datetime(1950, 1, 1, tzinfo=UTC), 0),
]


@pytest.mark.parametrize(("defer", "due"), DUE, ids=[str(defer) for defer, _ in DUE])
def test_what_is_deferred_is_due_then(defer: Any, due: int) -> None:
    assert resolved_us(when(defer), NOW_US) == due


NOT_DEFERRED = [
    -1,
    -0.001,
    timedelta(seconds=-1),
    float("nan"),
    float("inf"),
    True,
    1e300,
    10**400,
    CENTURIES,
    timedelta.max,
    datetime(2030, 1, 1),
    datetime(2300, 1, 1, tzinfo=UTC),
    "60",
    Decimal(1),
    [1],
]


@pytest.mark.parametrize("defer", NOT_DEFERRED, ids=lambda value: repr(value)[:30])
def test_what_cannot_be_deferred_is_refused_by_name(defer: Any) -> None:
    with pytest.raises(ScheduleError) as raised:
        resolved_us(when(defer), NOW_US)

    assert shown(defer) in str(raised.value)


@pytest.mark.parametrize("seconds", [10**5000, -(10**5000)], ids=["much", "little"])
def test_a_number_that_cannot_be_written_out_is_refused(seconds: int) -> None:
    with pytest.raises(ScheduleError, match=r"defer=<an integer of [0-9,]+ bits>"):
        resolved_us(when(seconds), NOW_US)
    with pytest.raises(ScheduleError, match=r"recurrent=<an integer of [0-9,]+ bits>"):
        written(seconds)


WRITTEN = [
    (60, "every 60"),
    (60.0, "every 60"),
    (timedelta(minutes=1), "every 60"),
    (0.001, "every 0.001"),
    (1.5, "every 1.5"),
    (timedelta(days=1, microseconds=10), "every 86400.00001"),
    (" 0  3 * *\tmon-fri ", "0 3 * * MON-FRI"),
    ("CRON_TZ=UTC 0 3 * * *", "0 3 * * *"),
    ("TZ=Europe/Berlin 0 3 * * *", "CRON_TZ=Europe/Berlin 0 3 * * *"),
    ("CRON_TZ=Europe/Berlin 30 0 3 * * *", "CRON_TZ=Europe/Berlin 30 0 3 * * *"),
    (rrule(DAILY, START), "DTSTART;TZID=Europe/Berlin:20260101T090000 RRULE:FREQ=DAILY"),
    (
        rrule(MONTHLY, START.astimezone(UTC), count=3, byweekday=MO(-1)),
        "DTSTART:20260101T080000Z RRULE:FREQ=MONTHLY;COUNT=3;BYDAY=-1MO",
    ),
    (
        rrule(HOURLY, START.replace(tzinfo=tz.gettz("Europe/Berlin")), until=START + timedelta(days=1)),
        "DTSTART;TZID=Europe/Berlin:20260101T090000 RRULE:FREQ=HOURLY;UNTIL=20260102T080000Z",
    ),
    (rrule(DAILY, START.replace(tzinfo=tz.UTC)), "DTSTART:20260101T090000Z RRULE:FREQ=DAILY"),
    (rrule(DAILY, START.replace(tzinfo=ZoneInfo("UTC"))), "DTSTART:20260101T090000Z RRULE:FREQ=DAILY"),
]


@pytest.mark.parametrize(("recurrent", "text"), WRITTEN, ids=[text for _, text in WRITTEN])
def test_a_schedule_is_written_in_one_way(recurrent: Any, text: str) -> None:
    assert written(recurrent) == text
    assert first_us(text, us("2025-01-01")) is not None


REFUSED = [
    (0, "a millisecond to 100 years"),
    (-1, "a millisecond to 100 years"),
    (0.0001, "a millisecond to 100 years"),
    (CENTURIES, "a millisecond to 100 years"),
    (float("inf"), "up to 100 years"),
    (True, "seconds, a timedelta, a cron line"),
    (None, "seconds, a timedelta, a cron line"),
    (START, "seconds, a timedelta, a cron line"),
    ("", "is no cron line"),
    ("@daily", "is no cron line"),
    ("* * * *", "is no cron line"),
    ("61 * * * *", "Bad minute"),
    ("0 0 30 2 *", "Bad day-of-month"),
    ("9" * 5000 + " * * * *", "is no cron line"),
    ("CRON_TZ=Europe/Nowhere 0 3 * * *", "no time zone 'Europe/Nowhere'"),
    ("CRON_TZ=Europe 0 3 * * *", "no time zone 'Europe'"),
    ("CRON_TZ= 0 3 * * *", "no time zone ''"),
    ("CRON_TZ=../x 0 3 * * *", "no time zone"),
    (rrule(DAILY, START.replace(tzinfo=None)), "has no time zone"),
    (rrule(DAILY, START.replace(tzinfo=timezone(timedelta(hours=1)))), "has no name to store"),
    (rrule(DAILY, START.replace(tzinfo=tz.tzlocal())), "has no name to store"),
    (rrule(DAILY, START, interval=10**9), "interval"),
    (rrule(DAILY, START, interval=0), "interval"),
    (rruleset(), "each of its rules"),
]


@pytest.mark.parametrize(("recurrent", "words"), REFUSED, ids=lambda value: repr(value)[:30])
def test_what_is_no_schedule_is_refused_with_advice(recurrent: Any, words: str) -> None:
    with pytest.raises(ScheduleError, match=words):
        written(recurrent)


@pytest.mark.parametrize(
    "text",
    [
        *("", "every", "every 0", "every -1", "every 1.50", "every 0.0001", "hello", "DTSTART", "RRULE:FREQ=DAILY"),
        "DTSTART:20260101T080000 RRULE:FREQ=DAILY",
        "DTSTART:20260101T080000Z RRULE:FREQ=NEVER",
        "DTSTART:20260101T080000Z RRULE:FREQ=DAILY RRULE:FREQ=WEEKLY",
        "DTSTART;TZID=X/Y:20260101T080000 RRULE:FREQ=DAILY",
    ],
)
def test_stored_text_that_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        first_us(text, NOW_US)
    with pytest.raises(ScheduleError):
        next_us(text, NOW_US, NOW_US)


NEXT = [
    # schedule, due, now, next
    ("every 60", "2026-01-01T00:00:00", "2026-01-01T00:00:00", "2026-01-01T00:01:00"),
    ("every 60", "2026-01-01T00:00:00", "2026-01-01T00:00:59.999999", "2026-01-01T00:01:00"),
    ("every 60", "2026-01-01T00:00:00", "2026-01-01T00:01:00", "2026-01-01T00:02:00"),
    ("every 60", "2026-01-01T00:00:30", "2026-01-03T00:00:31", "2026-01-03T00:01:30"),
    ("every 60", "2026-01-01T01:00:00", "2026-01-01T00:00:00", "2026-01-01T01:01:00"),
    ("0 3 * * *", "2026-01-01T03:00:00", "2026-01-01T03:00:00.5", "2026-01-02T03:00:00"),
    ("0 3 * * *", "2026-01-01T03:00:00", "2026-02-01T12:00:00", "2026-02-02T03:00:00"),
    ("0 3 * * *", "2026-01-05T03:00:00", "2026-01-01T00:00:00", "2026-01-06T03:00:00"),
    ("15 0 3 * * *", "2026-01-01T03:00:00", "2026-01-01T03:00:00", "2026-01-01T03:00:15"),
    ("0 0 29 2 *", "2026-01-01T00:00:00", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
    # The gap of 2026 is from 02:00 to 03:00 on March 29th, the repeated hour from 02:00 on October 25th.
    ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00", "2026-03-28T12:00", "2026-03-29T03:00+02:00"),
    ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-29T03:00+02:00", "2026-03-28T12:00", "2026-03-30T02:30+02:00"),
    ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00", "2026-10-24T12:00", "2026-10-25T02:30+02:00"),
    ("CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-25T02:30+02:00", "2026-10-24T12:00", "2026-10-26T02:30+01:00"),
    ("CRON_TZ=Europe/Berlin 0 30 2 * * *", "2026-03-28T12:00", "2026-03-28T12:00", "2026-03-29T03:00+02:00"),
    ("CRON_TZ=Europe/Berlin */20 2 * * *", "2026-03-28T12:00", "2026-03-28T12:00", "2026-03-30T02:00+02:00"),
    ("CRON_TZ=Europe/Berlin */20 2 * * *", "2026-10-25T02:40+02:00", "2026-10-24T12:00", "2026-10-25T02:00+01:00"),
    ("CRON_TZ=Europe/Berlin */20 2 * * *", "2026-10-25T02:50+02:00", "2026-10-24T12:00", "2026-10-25T02:00+01:00"),
    ("CRON_TZ=Europe/Berlin */20 2 * * *", "2026-10-25T02:40+01:00", "2026-10-24T12:00", "2026-10-26T02:00+01:00"),
    ("CRON_TZ=Australia/Lord_Howe 0 2 * * *", "2026-10-03T00:00", "2026-10-03T00:00", "2026-10-04T02:30+11:00"),
    (written(rrule(DAILY, START)), "2026-03-28T08:00", "2026-03-28T08:00", "2026-03-29T09:00+02:00"),
    (written(rrule(WEEKLY, START, interval=2)), "2026-01-01T08:00", "2026-01-20T08:00", "2026-01-29T08:00"),
    (written(rrule(MONTHLY, START.replace(day=31))), "2026-01-31T08:00", "2026-01-31T08:00", "2026-03-31T07:00"),
    (written(rrule(DAILY, START, count=2)), "2026-01-01T08:00", "2026-01-01T08:00", "2026-01-02T08:00"),
]


@pytest.mark.parametrize(("schedule", "due", "now", "then"), NEXT, ids=[f"{s}|{d}" for s, d, *_ in NEXT])
def test_the_next_time(schedule: str, due: str, now: str, then: str) -> None:
    assert next_us(schedule, us(due), us(now)) == us(then)


OVER = [rrule(DAILY, START, count=2), rrule(DAILY, START, until=START + timedelta(days=1))]


@pytest.mark.parametrize("rule", OVER, ids=["count", "until"])
def test_a_rule_that_is_over_never_comes_again(rule: rrule) -> None:
    last = us("2026-01-02T08:00")

    assert next_us(written(rule), last, last) is None
    assert first_us(written(rule), last - 1) == last
    assert first_us(written(rule), last) is None


@pytest.mark.parametrize(
    "schedule",
    [
        "0 8 * * *",
        "CRON_TZ=Asia/Tokyo 0 8 * * *",
        "CRON_TZ=America/New_York */5 23 * * *",
        "every 86400",
        "DTSTART;TZID=Asia/Tokyo:20260131T080000 RRULE:FREQ=MONTHLY",
    ],
)
def test_after_the_last_year_nothing_comes(schedule: str) -> None:
    end = us("9999-12-31T23:59:59")

    assert first_us(schedule, us("9999-12-01")) is not None
    assert first_us(schedule, end) is None
    assert next_us(schedule, end, end) is None
    with pytest.raises(ScheduleError, match="after the year 9999"):
        resolved_us(when(60), end)


def test_the_first_time_of_a_period_is_its_end() -> None:
    assert first_us("every 0.5", NOW_US) == NOW_US + 500_000


@pytest.mark.parametrize("freq", [SECONDLY, MINUTELY, HOURLY])
def test_an_old_rule_is_not_counted_from_its_beginning(freq: Any) -> None:
    schedule = written(rrule(freq, datetime(1971, 1, 1, tzinfo=UTC), interval=7))

    # Counting takes minutes, which no test has.
    found = first_us(schedule, NOW_US)

    unit_us = {SECONDLY: 1, MINUTELY: 60, HOURLY: 3600}[freq] * 7_000_000
    assert found
    assert (found - us("1971-01-01")) % unit_us == 0
    assert NOW_US < found <= NOW_US + unit_us
