"""When messages of a segment are due, and their way to their tubes then. Schedules are read here."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from shardq.errors import ScheduleError, SegmentBusy, StorageMoved
from shardq.model import When
from shardq.outputs import Output, check_outputs
from shardq.scheduling.schedule import next_us, resolved_us
from shardq.shm.store import Store
from shardq.shm.verbs.deferring import Deferring

log = logging.getLogger("shardq.storage")

#: How long a schedule rests that this version cannot read, in microseconds.
_PUT_OFF_US = 3600 * 1_000_000
#: In how many sections `promote_some` promotes at most: about 8 ms, since its caller has other things to do.
_ROUNDS = 8


def resolved(when: When) -> When:
    """With the instant that it means now."""
    return When(resolved_us(when, time.time_ns() // 1000), when.schedule)


def timed(outputs: Sequence[Output], most: int) -> Sequence[Output]:
    """The outputs with the instants that their times mean now. Raises `HandlerError` where there are more than `most`,
    and for a schedule.
    """
    if check_outputs(outputs, most):
        return outputs
    return [output._replace(when=resolved(output.when)) if output.when else output for output in outputs]


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


def promote_what_is_due(store: Store) -> None:
    """As `promote_some`, where something is due. Where another process keeps the guard, or keeps this one from
    attaching, others promote it, or the next call does. Where the content moves, nothing is promoted any more: the
    verb in which this is called says so itself, if it is refused.
    """
    if store.may_be_due:
        with suppress(SegmentBusy, StorageMoved):
            promote_some(store.deferring)


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
