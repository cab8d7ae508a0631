"""Moves due messages of a segment to their tubes. Schedules are read here."""

from __future__ import annotations

import logging
import time

from shardq.errors import ScheduleError
from shardq.scheduling.schedule import next_us
from shardq.shm.verbs.deferring import Deferring

log = logging.getLogger("shardq.storage")

#: How long a schedule rests that this version cannot read, in microseconds.
_PUT_OFF_US = 3600 * 1_000_000
#: In how many sections `promote_some` promotes at most: about 8 ms, since its caller has other things to do.
_ROUNDS = 8


def promote_some(deferring: Deferring) -> int | None:
    """Move due messages to their tubes, for a moment only. Returns when the next is due, Unix microseconds, None:
    nothing waits.
    """
    for _ in range(_ROUNDS):
        now_us = time.time_ns() // 1000
        next_due_us = _promote_once(deferring, now_us)
        if next_due_us is None or next_due_us > now_us:
            break
    return next_due_us


def _promote_once(deferring: Deferring, now_us: int) -> int | None:
    """Move some due messages to their tubes. Returns when the next is due, Unix microseconds, None: nothing waits."""
    promoted = deferring.promote(now_us)
    found = promoted.recurrent
    if found is None:
        return promoted.next_due_us or None
    try:
        next_due_us = next_us(found.schedule, found.scheduled_us, now_us)
    except (ScheduleError, ArithmeticError, ValueError):
        log.exception("schedule cannot be read", extra={"pipe": found.pipe, "schedule": found.schedule})
        deferring.put_off(found, now_us + _PUT_OFF_US)
        return now_us
    deferring.recur(found, next_due_us)
    return now_us
