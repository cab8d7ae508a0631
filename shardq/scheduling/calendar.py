"""Schedules of the wall clock: cron lines and recurrence rules, in a time zone.

    text -> parsed -> times on the wall -> the instants at which clocks there show them

A time that a clock change skips comes at the end of the change. A time in an hour that is repeated comes once, when
the clock shows it first. A cron line whose minute or hour begins with `*` follows the clock itself: its skipped times
do not come, and its repeated ones come twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil.rrule import MONTHLY, YEARLY, rrule, rrulestr
from dateutil.tz import tzfile, tzutc

from shardq.errors import ScheduleError, shown
from shardq.scheduling.rule_bounds import PERIODS, can_come, first_after, last_of
from shardq.text.portrait import portrait

#: Takes an instant and returns the first time of the schedule after it. None: no time comes after it.
After = Callable[[datetime], datetime | None]

#: Largest interval of a rule, in its periods. Counting in longer ones would leave the calendar.
_LONGEST_INTERVAL = 100_000_000
#: The first word of a rule that is written as text.
RULE = "DTSTART"
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S*)")
#: Periods of different lengths, in months.
_MONTHS = {YEARLY: 12, MONTHLY: 1}


def cron_text(line: str) -> str:
    """A cron line in its one spelling. Raises `ScheduleError`."""
    zone, expression = _cron_parts(line)
    parsed_cron(line)
    name = zone_name(zone)
    return expression if name == "UTC" else f"CRON_TZ={name} {expression}"


def parsed_cron(line: str) -> After:
    """A cron line's times: five fields, or six with the seconds first. Raises `ScheduleError`."""
    zone, expression = _cron_parts(line)
    try:
        # CronSim counts the fields and checks each of them.
        CronSim(expression, datetime(2000, 1, 1))
    except (CronSimError, ValueError) as error:
        raise ScheduleError(
            f"{shown(line)} is no cron line ({portrait(error)}): write `minute hour day-of-month month day-of-week`, "
            f"with the seconds before them if you like, and `CRON_TZ=Europe/Berlin` in front for another zone than UTC"
        ) from None
    minute, hour = expression.split()[-5:-3]
    follows_clock = minute.startswith("*") or hour.startswith("*")
    return partial(_next_on_clock if follows_clock else _next_on_wall, expression, zone)


def rule_text(rule: rrule) -> str:
    """A recurrence rule as an iCalendar text that says its zone. Raises `ScheduleError`."""
    # dateutil has no public attribute for any of these.
    start, until, count = (vars(rule)[name] for name in ("_dtstart", "_until", "_count"))
    if start.tzinfo is None:
        raise ScheduleError(
            f"the dtstart of {shown(str(rule))} has no time zone: give it one, as in tzinfo=ZoneInfo('UTC')"
        )
    if until is not None and count is not None:
        raise ScheduleError(f"{shown(str(rule))} has both `count` and `until`: give it one of them")
    name = zone_name(start.tzinfo)
    wall = f"{start:%Y%m%dT%H%M%S}"
    head = f"{RULE}:{wall}Z" if name == "UTC" else f"{RULE};TZID={name}:{wall}"
    body = str(rule).rpartition("RRULE:")[2]
    if until is not None:
        body = re.sub(r"UNTIL=\w+", f"UNTIL={until.astimezone(UTC):%Y%m%dT%H%M%SZ}", body)
    text = f"{head} RRULE:{body}"
    parsed_rule(text)
    return text


def parsed_rule(text: str) -> After:
    """The times of a rule that `rule_text` wrote. Raises `ScheduleError`."""
    try:
        rule = rrulestr(text, tzids=zone_named)
        if not isinstance(rule, rrule):
            raise ValueError("several rules")
        start, until, zone, interval = (vars(rule)[name] for name in ("_dtstart", "_until", "_tzinfo", "_interval"))
        if zone is None:
            raise ValueError("no time zone")
        if not 1 <= interval <= _LONGEST_INTERVAL:
            raise ValueError(f"the interval must be from 1 to {_LONGEST_INTERVAL}")
        # From here on the rule has the times on the wall: dateutil knows nothing of clock changes.
        on_wall = rule.replace(dtstart=start.replace(tzinfo=None), until=None)
        if vars(rule)["_count"] is not None:
            # The last time is found once by counting, so that no later call has to count.
            last = last_of(on_wall)
            until = start.min.replace(tzinfo=UTC) if last is None else _once(last, zone)
            on_wall = on_wall.replace(count=None)
        return partial(_next_by_rule, on_wall, until, zone)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise ScheduleError(
            f"{shown(text)} is no recurrence rule that can be stored and read again: {portrait(error)}"
        ) from None


def zone_named(name: str) -> tzinfo:
    """The time zone of that name. Raises `ScheduleError`."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ScheduleError(
            f"there is no time zone {shown(name)} here: use a name like 'Europe/Berlin' or 'UTC'"
        ) from None


def zone_name(zone: tzinfo) -> str:
    """The name by which every process finds this time zone. Raises `ScheduleError` where it has none."""
    name: Any = None
    if zone is UTC or isinstance(zone, tzutc):
        name = "UTC"
    elif isinstance(zone, ZoneInfo):
        name = zone.key
    elif isinstance(zone, tzfile):
        # The path of the zone's file ends with the zone's name.
        name = str(vars(zone)["_filename"]).rpartition("/zoneinfo/")[2]
    if not name:
        raise ScheduleError(f"the time zone {shown(zone)} has no name to store: use zoneinfo.ZoneInfo('Europe/Berlin')")
    zone_named(name)
    return str(name)


def _cron_parts(line: str) -> tuple[tzinfo, str]:
    fields = line.split()
    zone = _ZONE.fullmatch(fields[0]) if fields else None
    return (zone_named(zone[1]), " ".join(fields[1:]).upper()) if zone else (UTC, " ".join(fields).upper())


def _next_on_wall(expression: str, zone: tzinfo, after: datetime) -> datetime | None:
    return _first(CronSim(expression, _wall(after, zone)), zone, after)


def _next_on_clock(expression: str, zone: tzinfo, after: datetime) -> datetime | None:
    wall = _wall(after, zone)
    ahead = _first_shown(CronSim(expression, wall), zone, after)
    local = after.astimezone(zone)
    turned_back = (local.utcoffset() or timedelta()) - (local.replace(fold=1).utcoffset() or timedelta())
    if turned_back <= timedelta():
        return ahead
    # When the clock is turned back, it shows once more the times that it showed a moment ago.
    passed: list[datetime] = []
    for time in CronSim(expression, wall - turned_back):
        if time > wall:
            break
        passed.append(time)
    again = _first_shown(passed, zone, after)
    return min(ahead, again) if ahead and again else ahead or again


def _next_by_rule(rule: rrule, until: datetime | None, zone: tzinfo, after: datetime) -> datetime | None:
    wall = _wall(after, zone)
    if not can_come(rule, wall.year):
        return None
    found = _first(first_after(_begun_near(rule, wall), wall), zone, after)
    return None if found and until and found > until else found


def _begun_near(rule: rrule, wall: datetime) -> rrule:
    """The same rule, begun some whole periods later and before `wall`, since dateutil counts up from the beginning."""
    freq, start, interval = (vars(rule)[name] for name in ("_freq", "_dtstart", "_interval"))
    if start >= wall:
        return rule
    if freq in PERIODS:
        step = PERIODS[freq] * interval
        return rule.replace(dtstart=start + max(0, (wall - start) // step - 1) * step)
    months = interval * _MONTHS[freq]
    passed = 12 * (wall.year - start.year) + wall.month - start.month
    for periods in range(passed // months - 1, 0, -1):
        year, month = divmod(12 * start.year + start.month - 1 + periods * months, 12)
        # Not every month has a 31st.
        with suppress(ValueError):
            return rule.replace(dtstart=start.replace(year=year, month=month + 1))
    return rule


def _wall(instant: datetime, zone: tzinfo) -> datetime:
    """The time that clocks in the zone show at that instant."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _first(walls: Iterable[datetime], zone: tzinfo, after: datetime) -> datetime | None:
    """The first instant after `after`. Each time on the wall comes once."""
    return next((instant for wall in walls if (instant := _once(wall, zone)) > after), None)


def _first_shown(walls: Iterable[datetime], zone: tzinfo, after: datetime) -> datetime | None:
    """The first instant after `after` at which the clock shows one of `walls`."""
    return next((instant for wall in walls for instant in _instants(wall, zone) if instant > after), None)


def _instants(wall: datetime, zone: tzinfo) -> list[datetime]:
    """The instants at which the clock shows that time: two in an hour that is repeated, none in one that is skipped."""
    instants = {wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(instant for instant in instants if _wall(instant, zone) == wall)


def _once(wall: datetime, zone: tzinfo) -> datetime:
    """The first instant at which the clock shows that time. Of a time that is skipped: the end of the change."""
    instants = _instants(wall, zone)
    while not instants:
        wall = wall.replace(second=0) + timedelta(minutes=1)
        instants = _instants(wall, zone)
    return instants[0]
