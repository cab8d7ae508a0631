"""When deferred and recurrent requests are due. Plain arithmetic on Unix microseconds; no clock is read here.

A schedule is kept as text, so that any process that promotes can compute the next time from it:

    every 60                                                       each minute, counted from the first time
    30 8 * * MON-FRI                                               cron, in UTC
    CRON_TZ=Europe/Berlin 30 8 * * MON-FRI                         cron, elsewhere; six fields: seconds first
    DTSTART;TZID=Europe/Berlin:20260101T083000 RRULE:FREQ=DAILY    a dateutil rrule

Daylight saving: a time that the change skips comes at the end of the gap, of a repeated hour only the first; a cron
line with `*` at the beginning of its minute or hour follows the clock itself. See `shardq.scheduling.calendar`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shardq.errors import ScheduleError, shown
from shardq.lazy import Lazy
from shardq.model import When

if TYPE_CHECKING:
    from dateutil import rrule as rules

    from shardq.scheduling import calendar
    from shardq.scheduling.calendar import After
else:
    rules, calendar = Lazy("dateutil.rrule"), Lazy("shardq.scheduling.calendar")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
#: End of the calendar, Unix microseconds: a `datetime` goes to the year 9999.
LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _US
#: Furthest ahead that something can be deferred, and longest period.
_LONGEST = timedelta(days=100 * 366)
#: Shortest period.
_SHORTEST = timedelta(milliseconds=1)
#: Whole seconds, and at most six decimals without zeros at the end.
_EVERY = r"every ([0-9]{1,11})(?:\.([0-9]{0,5}[1-9]))?"


def when(defer: Any, schedule: str = "") -> When:
    """What `register` asks of a storage with this `defer`: None, a number of seconds from 0 up, a `timedelta`, or an
    aware `datetime`, which may be past. Raises `ScheduleError`.
    """
    if defer is None:
        return When(schedule=schedule)
    if isinstance(defer, datetime):
        if defer.utcoffset() is None:
            raise ScheduleError(f"defer={shown(defer)} has no time zone: give it one, as in datetime.now(UTC)")
        return When(max(0, (defer - _EPOCH) // _US), schedule)
    wait = _span("defer", defer, "or an aware datetime")
    if not timedelta() <= wait <= _LONGEST:
        raise ScheduleError(f"defer={shown(defer)} cannot be: use 0 s to 100 years")
    return When(None, schedule, wait // _US)


def resolved_us(when: When, now_us: int) -> int:
    """When messages come for the first time by a clock that shows `now_us`. Raises `ScheduleError` for a time that
    cannot be, and for a schedule that never comes or cannot be read.
    """
    first = first_us(when.schedule, now_us) if when.schedule else None
    if when.schedule and first is None:
        raise ScheduleError(f"the schedule {shown(when.schedule)} is over, or never comes: use one that does")
    if when.due_us is not None:
        if when.due_us > now_us + _LONGEST // _US:
            instant = _EPOCH + min(when.due_us, LAST_US) * _US
            raise ScheduleError(f"defer={shown(instant)} is more than 100 years ahead: defer for less")
        return when.due_us
    if when.after_us is None:
        return now_us if first is None else first
    if now_us + when.after_us > LAST_US:
        raise ScheduleError(f"defer={when.after_us / 1e6:g} s ends after the year 9999: defer for less")
    return now_us + when.after_us


def written(recurrent: Any) -> str:
    """The text of a `recurrent` argument, the same for equal schedules: a number of seconds or a `timedelta`, from a
    millisecond to 100 years; a cron line of five fields, or six with the seconds first, in UTC where no
    `CRON_TZ=Europe/Berlin` (or `TZ=`) precedes it; an `rrule` whose `dtstart` has a time zone with a name.
    Raises `ScheduleError`.

    An rrule with a count is counted through once in each process, some 4 microseconds for each of its times, where
    more than its period and interval say when it comes: then the count is at most 10,000.
    """
    if isinstance(recurrent, str):
        return calendar.cron_text(recurrent)
    is_period = isinstance(recurrent, int | float | timedelta)
    if not is_period and isinstance(recurrent, rules.rrule):
        return calendar.rule_text(recurrent)
    if not is_period and isinstance(recurrent, rules.rruleset):
        raise ScheduleError("an rruleset cannot be stored: register once for each of its rules")
    period = _span("recurrent", recurrent, "a cron line, or a dateutil rrule")
    if not _SHORTEST <= period <= _LONGEST:
        raise ScheduleError(f"recurrent={shown(recurrent)} cannot be: use a millisecond to 100 years")
    seconds, fraction = divmod(period // _US, 1_000_000)
    return f"every {seconds}" + (f".{fraction:06}".rstrip("0") if fraction else "")


def first_us(schedule: str, now_us: int) -> int | None:
    """The first time later than now; of a period, one period from now. None: never. Raises `ScheduleError`."""
    times = _parsed(schedule)
    return _in_calendar(now_us + times) if isinstance(times, int) else _after(times, now_us)


def next_us(schedule: str, due_us: int, now_us: int) -> int | None:
    """The time after `due_us` that is later than now: what was missed is left out. Periods are counted from `due_us`,
    however late it is now. None: never again. Raises `ScheduleError`.
    """
    times = _parsed(schedule)
    if isinstance(times, int):
        return _in_calendar(due_us + max(1, (now_us - due_us) // times + 1) * times)
    return _after(times, max(due_us, now_us))


def next_times_us(schedule: str, due_us: int, count: int = 5) -> list[int]:
    """The next times, that of the due one first: so many, or fewer where the schedule ends or cannot be read."""
    times = [due_us]
    with suppress(ScheduleError, ArithmeticError, ValueError):
        while len(times) < count and (time_us := next_us(schedule, times[-1], times[-1])) is not None:
            times.append(time_us)
    return times


@lru_cache(maxsize=1024)
def _parsed(schedule: str) -> int | After:
    """A period in microseconds, or what tells the time after another."""
    if every := re.fullmatch(_EVERY, schedule):
        period_us = int(every[1]) * 1_000_000 + int((every[2] or "").ljust(6, "0"))
        if period_us < _SHORTEST // _US:
            raise ScheduleError(f"{shown(schedule)} is no schedule: the shortest period is a millisecond")
        return period_us
    return (calendar.parsed_rule if schedule.startswith(calendar.RULE) else calendar.parsed_cron)(schedule)


def _after(times: After, after_us: int) -> int | None:
    try:
        found = times(_EPOCH + after_us * _US)
    except OverflowError:  # the search left the calendar
        return None
    return None if found is None else (found - _EPOCH) // _US


def _in_calendar(time_us: int) -> int | None:
    return time_us if time_us <= LAST_US else None


def _span(name: str, value: Any, others: str) -> timedelta:
    """Seconds or a `timedelta`, as the latter. Raises `ScheduleError`."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScheduleError(f"{name}={shown(value)} cannot be: use seconds, a timedelta, {others}")
    # Put so that it is true of nan.
    if not abs(value) <= _LONGEST.total_seconds():
        raise ScheduleError(f"{name}={shown(value)} cannot be: use seconds up to 100 years")
    return timedelta(seconds=value)
