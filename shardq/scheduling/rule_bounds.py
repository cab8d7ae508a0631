"""Bounds for recurrence rules: the library counts through a rule period by period, to the year 9999 where nothing
comes, and from its beginning where it has a count.

All times here are those of the wall, without a zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from math import prod
from typing import Any

from dateutil.rrule import DAILY, HOURLY, MINUTELY, MONTHLY, SECONDLY, WEEKLY, YEARLY, rrule

from shardq.errors import ScheduleError

#: The calendar repeats itself, weekdays included, after so much time.
_CYCLE_YEARS = 400
_CYCLE = timedelta(days=146_097)
#: No rule is followed beyond it.
_END = datetime(9000, 1, 1)
#: A rule that has no time within so many years never has one.
_HORIZON_YEARS = 100
#: Most times of a rule with a count that have to be counted one by one: some 4 microseconds each.
MOST_COUNTED = 10_000
#: Periods that always have the same length, so that a rule may begin at any of them.
PERIODS = {
    WEEKLY: timedelta(weeks=1),
    DAILY: timedelta(days=1),
    HOURLY: timedelta(hours=1),
    MINUTELY: timedelta(minutes=1),
    SECONDLY: timedelta(seconds=1),
}
#: Most days of a period; of those that are shorter than a day it is one.
_MOST_DAYS = {YEARLY: 366, MONTHLY: 31, WEEKLY: 7}
#: Fields of a rule that name times of a day, each with the shortest period that has several of them.
_OF_TIMES = (("byhour", DAILY), ("byminute", HOURLY), ("bysecond", MINUTELY))
#: Fields of a rule that name days.
_OF_DAYS = ("bymonth", "bymonthday", "byyearday", "byweekno", "byweekday", "byeaster")
#: All fields that restrict the times of a rule.
_BY = (*_OF_DAYS, "bysetpos", "byhour", "byminute", "bysecond")


def first_after(rule: rrule, wall: datetime) -> Iterator[datetime]:
    """The rule's times later than `wall`. The library searches to the end of the calendar. So the search is moved near
    that end, by whole cycles of the calendar: then it ends after a few hundred years, and a rule that never comes costs
    milliseconds.
    """
    later = _ahead(rule, wall)
    moved = rule.replace(dtstart=_begin(rule) + later) if later else rule
    with suppress(ValueError):  # there is no Easter after 4099
        for time in moved.xafter(wall + later):
            yield time - later


def can_come(rule: rrule, year: int) -> bool:
    """Whether there is a day within a hundred years from this one that the rule allows, and a position that it names
    within one of its periods, whatever else it says.
    """
    return _has_positions(rule) and _has_days(rule, year)


def _has_positions(rule: rrule) -> bool:
    """Whether a period of the rule has so many times that one of the positions it names can be among them."""
    said = vars(rule)
    freq, positions = said["_freq"], said["_bysetpos"]
    if not positions:
        return True
    days = len(said["_byweekday"] or range(7)) if freq == WEEKLY else _MOST_DAYS.get(freq, 1)
    times = prod(len(said[f"_{name}"]) for name, shortest in _OF_TIMES if freq <= shortest)
    nearest: int = min(map(abs, positions))
    return nearest <= days * times


@lru_cache(maxsize=1024)
def _has_days(rule: rrule, year: int) -> bool:
    said = vars(rule)
    month_days = (*(said["_bymonthday"] or ()), *(said["_bynmonthday"] or ()))
    weekdays = {*(said["_byweekday"] or ()), *(day for day, _ in said["_bynweekday"] or ())}
    days: dict[str, Any] = {name: said[f"_{name}"] or None for name in ("bymonth", "byyearday", "byweekno", "byeaster")}
    days |= {"bymonthday": month_days or None, "byweekday": sorted(weekdays) or None}
    if not any(days.values()):
        return True
    first = datetime(year, 1, 1) + _ahead(rule, datetime(year, 1, 1))
    try:
        found = next(iter(rrule(YEARLY, dtstart=first, **days)), None)
    except (ValueError, IndexError):  # an Easter that is in no year
        return False
    return found is not None and found.year - first.year <= _HORIZON_YEARS


def last_of(rule: rrule) -> datetime | None:
    """The last time of a rule with a count, as far as it can come. None: it never comes. Raises `ScheduleError` for one
    with too many times to be counted.
    """
    begin = _begin(rule)
    interval: int
    count: int
    interval, count, freq, said = (vars(rule)[name] for name in ("_interval", "_count", "_freq", "_original_rule"))
    if freq in PERIODS and not any(said.get(name) for name in _BY):
        period: timedelta = PERIODS[freq]
        # Beyond `_END` no caller looks, so there any time will do.
        return begin + min((count - 1) * interval, (_END - begin) // period) * period if begin < _END else begin
    if count > MOST_COUNTED:
        raise ScheduleError(
            f"a rule with a count of {count} would have to be counted through: give it `until`, or a count of at most "
            f"{MOST_COUNTED}"
        )
    if not can_come(rule, begin.year):
        return None
    times = islice(first_after(rule.replace(count=None), begin - timedelta(seconds=1)), count)
    last: datetime | None = max(takewhile(lambda time: time.year < begin.year + _CYCLE_YEARS, times), default=None)
    return last


def _begin(rule: rrule) -> datetime:
    begin: datetime = vars(rule)["_dtstart"]
    return begin


def _ahead(rule: rrule, wall: datetime) -> timedelta:
    """By how much a search may be moved: whole cycles, after which the calendar is the same, as many as leave room for
    the horizon before its end. A rule with Easter is not moved, since Easter does not repeat in a cycle.
    """
    if vars(rule)["_byeaster"]:
        return timedelta()
    return max(0, (datetime.max.year - _HORIZON_YEARS - wall.year) // _CYCLE_YEARS) * _CYCLE
