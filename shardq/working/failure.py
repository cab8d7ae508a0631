"""What becomes of a request that fails: when it is tried again, when it is given up, and its dead letter.

`Failures` does it for one stay; the functions decide, and write the letter. Times are those of the storage's clock:
`now_us`, Unix microseconds, is what its `now_us()` said; None, the default, is the time of this host.
"""

from __future__ import annotations

import errno
import logging
import time
from random import Random
from typing import Literal

from shardq.deadletters import DeadLetter
from shardq.errors import QueueFull
from shardq.model import Batch, Ending, Failed, Retry, dead_pipe, plain, signal_name
from shardq.protocols import Storage
from shardq.text.portrait import Alarm, line, portrait, text
from shardq.working.outcome import Done, Leave

log = logging.getLogger("shardq.worker")

#: Most characters of a traceback in a dead letter: the reserve has to hold many.
_TRACEBACK_CHARACTERS = 8000
#: How many seconds a supervisor may take to write down how its worker died, and after how many to look again.
_NEWS_S, _NEWS_INTERVAL_S = 1.0, 0.05
#: How long a thread rests where there was no room for a dead letter.
PAUSE_WHEN_FULL_S = 0.05


class Failures:
    """The failing requests of one stay."""

    def __init__(self, storage: Storage, token: int, retry: Retry, alarm: Alarm) -> None:
        self._storage = storage
        self._token = token
        self._retry = retry
        self._alarm = alarm

    def shown(self, error: BaseException) -> Exception:
        """A copy of the handler's exception to log and write down. Only making it runs code of the exception."""
        return portrait(error, self._alarm)

    async def of_before(self, batch: Batch, failed: Failed) -> Leave | Done | None:
        """What becomes of a request that failed in earlier attempts. None: it has its next attempt now."""
        now_us = await self._storage.now_us()
        if not spent(self._retry, failed.attempts):
            pause_s = rest_s(self._retry, batch.pipe, batch.sequence, failed, now_us)
            return Leave(pause_s) if pause_s else None
        if pause_s := news_due_s(failed, now_us):
            return Leave(pause_s)
        return await self._bury(batch, died(batch, failed), batch.sequence)

    async def of_decoding(self, batch: Batch, broken: BaseException) -> Leave | Done:
        """Bury the first message of the batch, which is no request."""
        letter = undecodable(batch, broken, await self._storage.now_us())
        return await self._bury(batch, letter, batch.sequence)

    async def of_handler(self, batch: Batch, acknowledged: int, raised_: BaseException) -> Leave | Done:
        """The handler raised, after it acknowledged the first requests of the batch."""
        # Done while the batch is in hand: should the exception's own code end this process, that counts as the failure.
        error = self.shown(raised_)
        left = batch.count - acknowledged
        if not left:
            log.warning("handler failed behind its last request", extra={"pipe": batch.pipe}, exc_info=error)
            return Leave()
        # Count the failure before the burial: should there be no room for a letter, the request need not fail again.
        attempts = await self._storage.fail(batch.pipe, self._token)
        if not attempts:
            log.warning("batch failed", extra={"pipe": batch.pipe, "batch": left, "error": line(error)})
            return Leave()
        sequence = batch.through_first(batch.count) - 1
        now_us = await self._storage.now_us()
        if spent(self._retry, attempts):
            letter = raised(batch, batch.messages[-1], sequence, error, attempts, now_us)
            return await self._bury(batch, letter, sequence)
        pause_s = rest_s(self._retry, batch.pipe, sequence, raised_now(attempts, now_us), now_us)
        fields = {"pipe": batch.pipe, "sequence": sequence, "attempts": attempts, "next_try_s": round(pause_s, 3)}
        log.warning("request failed", extra=fields, exc_info=error)
        return Leave(pause_s)

    async def of_room(self, batch: Batch, error: Exception) -> Leave:
        """Leave the thread with its batch: serving other threads makes room, and smaller batches register less."""
        reason = str(self.shown(error))
        await self._storage.fail(batch.pipe, self._token, counts=False)
        log.info("thread paused", extra={"pipe": batch.pipe, "batch": batch.count, "reason": reason})
        return Leave(for_room=True)

    async def _bury(self, batch: Batch, letter: DeadLetter, sequence: int) -> Leave | Done:
        """Put the letter in the place of its request. For lack of room the request stays, and the thread rests."""
        pipe, grave = batch.pipe, dead_pipe(letter.handler)
        fields = {"pipe": pipe, "sequence": sequence, "attempts": letter.attempts, "error": letter.error}
        try:
            buried = await self._storage.bury(pipe, sequence, self._token, grave, letter.encoded())
        except QueueFull:  # there may be memory for the letter, but no entry for its tube
            buried = False
        if not buried:
            log.error("no room for a dead letter", extra=fields)
            return Leave(PAUSE_WHEN_FULL_S)
        log.error("request became a dead letter", extra=fields)
        return Done(buried=1)


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
    return "its worker died, and nobody saw how"
