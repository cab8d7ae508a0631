"""What becomes of a request that fails: when it is tried again, when it is given up, and its dead letter.

Times are those of the storage's clock: `now_us`, Unix microseconds, is what its `now_us()` said; None, the default, is
the time of this host.
"""

from __future__ import annotations

import errno
import time
from random import Random
from typing import Literal

from shardq.deadletters import DeadLetter
from shardq.model import Batch, Ending, Failed, Retry, plain, signal_name
from shardq.text.portrait import line, text

#: Most characters of a traceback in a dead letter: the reserve has to hold many.
_TRACEBACK_CHARACTERS = 8000
#: How many seconds a supervisor may take to write down how its worker died, and after how many to look again.
_NEWS_S, _NEWS_INTERVAL_S = 1.0, 0.05


class Unready(Exception):
    """This process cannot decode requests now. None of the requests is to blame for that."""


def unready(error: OSError) -> Unready | None:
    """The `Unready` for an error that came out of decoding because no descriptor was left, to import a module or to
    read a table: the next try may find one. None for another error.
    """
    return Unready(str(error)) if error.errno in (errno.EMFILE, errno.ENFILE) else None


def spent(retry: Retry, attempts: int) -> bool:
    """Whether a request that failed so often is given up."""
    return attempts >= (1 if retry.on_failure == "skip" else retry.max_attempts)


def rest_s(retry: Retry, pipe: str, sequence: int, failed: Failed, now_us: int | None = None) -> float:
    """How many seconds the request of this number that failed has still to wait for its next attempt."""
    waits = failed.attempts - (1 if failed.ending is None else 2)
    if waits < 0:
        return 0.0
    whole_s: float = min(retry.backoff_s * 2 ** min(waits, 60), retry.backoff_max_s)
    if retry.jitter:
        # Drawn from facts that all processes know, so that each comes to the same time.
        whole_s *= 1 - Random(f"{pipe}#{sequence}#{failed.attempts}").random() / 2
    # Not more than the whole, also where the clock was set back since the failure.
    return min(whole_s, max(0.0, whole_s - _seconds_since(failed.last_us, now_us)))


def raised_now(attempts: int, now_us: int | None = None) -> Failed:
    """A failure of this moment, by an exception."""
    now_us = _or_of_this_host(now_us)
    return Failed(attempts, now_us, now_us, None)


def news_due_s(failed: Failed, now_us: int | None = None) -> float:
    """How many seconds to wait until the supervisor of a worker that died has written down how it ended."""
    if failed.ending != Ending():
        return 0.0
    return max(0.0, min(_NEWS_INTERVAL_S, _NEWS_S - _seconds_since(failed.last_us, now_us)))


def raised(
    batch: Batch, message: bytes, sequence: int, error: BaseException, attempts: int, now_us: int | None = None
) -> DeadLetter:
    """The letter of a request whose handler raised."""
    now_us = _or_of_this_host(now_us)
    return DeadLetter(
        plain(batch.pipe),
        sequence,
        message,
        "raised",
        line(error),
        attempts,
        batch.failed.first_us if batch.failed else now_us,
        now_us,
        text(error, _TRACEBACK_CHARACTERS),
    )


def died(batch: Batch, failed: Failed) -> DeadLetter:
    """The letter of a request that was in hand when its attempts were spent, by the death of its worker as a rule."""
    ending = failed.ending
    name = None if ending is None or ending.signal is None else signal_name(ending.signal)
    return DeadLetter(
        plain(batch.pipe),
        batch.sequence,
        batch.messages[0],
        "raised" if ending is None else "died",
        _end_in_words(ending, name),
        failed.attempts,
        failed.first_us,
        failed.last_us,
        signal=name,
    )


def undecodable(batch: Batch, error: BaseException, now_us: int | None = None) -> DeadLetter:
    """The letter of a message that is no request of its handler."""
    return _untried(batch, "undecodable", line(error), now_us)


def parked(batch: Batch, now_us: int | None = None) -> DeadLetter:
    """The letter of a request that a user put aside by a command."""
    return _untried(batch, "parked", "parked by command", now_us)


def _untried(batch: Batch, reason: Literal["undecodable", "parked"], error: str, now_us: int | None) -> DeadLetter:
    now_us = _or_of_this_host(now_us)
    return DeadLetter(plain(batch.pipe), batch.sequence, batch.messages[0], reason, error, 0, now_us, now_us)


def _or_of_this_host(now_us: int | None) -> int:
    return time.time_ns() // 1000 if now_us is None else now_us


def _seconds_since(past_us: int, now_us: int | None) -> float:
    return (_or_of_this_host(now_us) - past_us) / 1e6


def _end_in_words(ending: Ending | None, killer: str | None) -> str:
    if ending is None:
        return "its worker was gone before it could tell what it raised"
    if ending.timed_out:
        return "its handler ran longer than timeout_s and could not be interrupted: its worker was killed"
    if killer:
        return f"its worker was killed by {killer}"
    if ending.exit_code is not None:
        return f"its worker ended with exit code {ending.exit_code}"
    return "its worker died, and no supervisor saw how"
