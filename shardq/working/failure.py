"""What becomes of a request that fails: when it is tried again, when it is given up, and its dead letter.

`Failures` does it for one stay; the functions decide, and write the letter. Times are those of the storage's clock,
Unix microseconds: `Batch.taken_us` says when a batch was handed out, and `Failed` when its message failed.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from shardq.deadletters import DeadLetter
from shardq.encoding.envelope import Head, split, without_caller
from shardq.encoding.replies import Failure, kept_result, refusal
from shardq.encoding.secrets import NO_SECRETS, Secrets
from shardq.errors import HandlerError, HandlerTimeout, QueueFull, TooManyOutputs
from shardq.handler import Handler
from shardq.handling.info import info_of
from shardq.lazy import Lazy
from shardq.model import (
    KEPT_PIPE,
    Batch,
    Ending,
    Failed,
    Hand,
    Reason,
    Retry,
    dead_pipe,
    inbox_key,
    inbox_pipe,
    signal_name,
)
from shardq.outputs import Output
from shardq.protocols import Storage
from shardq.text.portrait import Alarm, line, members, portrait, text
from shardq.text.printable import cut_to_bytes
from shardq.working.callers import tell_holders
from shardq.working.outcome import Done, Leave

if TYPE_CHECKING:
    import random
else:
    random = Lazy("random")

log = logging.getLogger("shardq.worker")

#: Most bytes of a traceback: the reserve has to hold many dead letters, and the smallest storage what tells a caller.
_TRACEBACK_BYTES = 8000
#: Bytes that take the place of the middle of a text.
_CUT_BYTES = 8
#: How many seconds a supervisor may take to write down how its worker died, and after how many to look again.
_NEWS_S, _NEWS_INTERVAL_S = 1.0, 0.05
#: How long a thread rests where there was no room for a dead letter.
PAUSE_WHEN_FULL_S = 0.05


class Failures:
    """The failing requests of one stay."""

    def __init__(self, storage: Storage, key: str, token: int, handler: type[Handler[Any]], alarm: Alarm) -> None:
        self._storage = storage
        self._key = key
        self._token = token
        self._handler = handler
        self._retry = handler.retry
        self._errors = handler.errors
        self._alarm = alarm

    def shown(self, error: BaseException) -> Exception:
        """A copy of the handler's exception to log and write down. Only making it runs code of the exception."""
        return portrait(error, self._alarm)

    async def of_before(self, batch: Batch, failed: Failed) -> Leave | Done | None:
        """What becomes of a request that failed in earlier attempts. None: it has its next attempt now."""
        if not spent(self._retry, failed.attempts):
            pause_s = rest_s(self._retry, batch.pipe, batch.sequence, failed, batch.taken_us)
            return Leave(pause_s) if pause_s else None
        if pause_s := news_due_s(failed, batch.taken_us):
            return Leave(pause_s)
        return await self._end(batch, died(batch, failed), batch.sequence)

    async def of_decoding(self, batch: Batch, broken: BaseException) -> Leave | Done:
        """The first message of the batch is no request: it is given up."""
        return await self._end(batch, undecodable(batch, broken), batch.sequence)

    async def of_handler(self, batch: Batch, left: int, in_hand: int, raised_: BaseException) -> Leave | Done:
        """The handler raised when so many of its requests were `left`, the last ones of the batch. `in_hand` are those
        that the storage handed out and that are not acknowledged: more, where some of them do not decode.
        """
        # Done while the batch is in hand: should the exception's own code end this process, that counts as the failure.
        error = self.shown(raised_)
        if not left:
            log.warning("handler failed after its last acknowledgement", extra={"pipe": batch.pipe}, exc_info=error)
            return Leave()
        # By its type: what an exception says of its class may raise.
        reason: Reason = "timeout" if issubclass(type(raised_), HandlerTimeout) else "raised"
        if in_hand > 1:
            await self._storage.give_back(self._hand(batch), smaller(in_hand), reason)
            log.warning("batch failed", extra={"pipe": batch.pipe, "batch": left, "error": line(error)})
            return Leave()
        # Count the failure before the burial: should there be no room for a letter, the request need not fail again.
        failed = await self._storage.fail(self._hand(batch), reason)
        sequence = batch.through_first(batch.count) - 1
        if spent(self._retry, failed.attempts):
            letter = raised(batch, batch.messages[-1], sequence, error, failed)
            return await self._end(batch, letter, sequence, _told(error, raised_, self._errors))
        pause_s = rest_s(self._retry, batch.pipe, sequence, failed, failed.last_us)
        fields = {
            "pipe": batch.pipe,
            "sequence": sequence,
            "attempts": failed.attempts,
            "next_try_s": round(pause_s, 3),
        }
        log.warning("request failed", extra=fields, exc_info=error)
        return Leave(pause_s)

    async def of_room(self, batch: Batch, in_hand: int, error: Exception) -> Leave:
        """Leave the thread with its batch: serving other threads makes room, and smaller batches register and emit
        less.
        """
        reason = str(self.shown(error))
        await self._storage.give_back(self._hand(batch), smaller(in_hand))
        for_room = not isinstance(error, TooManyOutputs)
        said = "thread paused" if for_room else "batch too large for its outputs"
        log.info(said, extra={"pipe": batch.pipe, "batch": batch.count, "reason": reason})
        return Leave(for_room=for_room)

    def _hand(self, batch: Batch) -> Hand:
        return Hand(self._key, self._token, batch)

    async def _end(
        self, batch: Batch, letter: DeadLetter, sequence: int, told: tuple[str, bytes | None] = ("", None)
    ) -> Leave | Done:
        """Tell the caller that waits for the request what became of it, or keep that for its ticket; where there is
        neither, bury it.
        """
        head, _ = split(letter.message)
        if head is None:
            return await self._bury(batch, letter, sequence)
        kind, arguments = told
        failure = Failure(kind, letter.error, letter.traceback, letter.attempts, letter.signal, arguments)
        replies = await self._replies(head, letter, failure, batch.taken_us)
        if not replies:
            return await self._bury(
                batch, msgspec.structs.replace(letter, message=without_caller(letter.message)), sequence
            )
        count = 1 if sequence == batch.sequence else batch.count
        fields = {"pipe": batch.pipe, "sequence": sequence, "attempts": letter.attempts, "error": letter.error}
        if not await self._storage.pop(self._hand(batch), count, replies):
            log.error("no room to tell a caller", extra=fields)
            return Leave(PAUSE_WHEN_FULL_S)
        await tell_holders(self._storage, replies)
        whose = "that is kept for its ticket" if head.digest else "its caller was told"
        log.warning("request failed, and %s", whose, extra=fields)
        return Done(buried=1)

    async def _replies(self, head: Head, letter: DeadLetter, failure: Failure, taken_us: int) -> list[Output]:
        """What tells of the failure. Empty: the caller is gone."""
        if not head.digest:
            waits = await self._storage.claimed(inbox_key(head.inbox))
            if not waits:
                return []
            reply = self._fitting(failure, lambda told: refusal(head.number, told, taken_us))
            return [Output(inbox_pipe(head.inbox), [reply])]
        name, ready_us = letter.handler, letter.last_failed_us
        kept = self._fitting(failure, lambda told: kept_result(head.digest, name, ready_us, refusal(0, told, taken_us)))
        return [Output(KEPT_PIPE, [kept])]

    def _fitting(self, failure: Failure, encoded: Callable[[Failure], bytes]) -> bytes:
        """The message that tells of the failure, without what the storage never takes: the arguments of the exception
        first, then the middle of its traceback.
        """
        message, most = encoded(failure), self._storage.limits.message_bytes
        if len(message) > most and failure.arguments is not None:
            left_out = f"[arguments of {len(failure.arguments):,} bytes left out: the storage takes {most:,}]"
            failure = msgspec.structs.replace(failure, message=f"{failure.message}\n{left_out}", arguments=None)
            message = encoded(failure)
        if len(message) <= most:
            return message
        room = max(0, len(failure.traceback.encode()) - (len(message) - most) - _CUT_BYTES)
        return encoded(msgspec.structs.replace(failure, traceback=cut_to_bytes(failure.traceback, room)))

    def _secrets(self) -> Secrets:
        try:
            return info_of(self._handler).secrets
        except HandlerError:  # of a class that was changed meanwhile
            return NO_SECRETS

    async def _bury(self, batch: Batch, letter: DeadLetter, sequence: int) -> Leave | Done:
        """Put the letter in the place of its request. For lack of room the request stays, and the thread rests."""
        pipe, grave = batch.pipe, dead_pipe(letter.handler)
        letter = msgspec.structs.replace(letter, secrets=self._secrets())
        fields = {"pipe": pipe, "sequence": sequence, "attempts": letter.attempts, "error": letter.error}
        try:
            reason: Reason | None = "undecodable" if letter.reason == "undecodable" else None
            buried = await self._storage.bury(self._hand(batch), sequence, grave, letter.encoded(), reason)
        except QueueFull:  # there may be memory for the letter, but no entry for its tube
            buried = False
        if not buried:
            log.error("no room for a dead letter", extra=fields)
            return Leave(PAUSE_WHEN_FULL_S)
        log.error("request became a dead letter", extra=fields)
        return Done(buried=1)


def _told(error: Exception, raised_: BaseException, errors: tuple[type[Exception], ...]) -> tuple[str, bytes | None]:
    """The class of an exception, and its arguments where callers may have it as it is, and messages can hold them.
    `error` is its portrait.
    """
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if type(raised_) not in errors:
        return name, None
    try:
        return name, msgspec.msgpack.encode(raised_.args)
    except Exception:  # all that the code of an argument may raise
        return name, None


class Unready(Exception):
    """This process cannot decode requests now. None of the requests is to blame for that."""


def unready(error: OSError) -> Unready | None:
    """The `Unready` for an error that came out of decoding because no descriptor was left, to import a module or to
    read a table: the next try may find one. None for another error.
    """
    return Unready(str(error)) if error.errno in (errno.EMFILE, errno.ENFILE) else None


def lack_in(error: BaseException) -> QueueFull | None:
    """The lack of room that all is about which came out of a group of tasks. None: something else went wrong."""
    found, left, seen = None, [error], set[int]()
    while left:
        each = left.pop()
        if issubclass(type(each), BaseExceptionGroup):
            # One may be in several groups: to go into it each time may have no end.
            left += () if id(each) in seen else members(each)
            seen.add(id(each))
        elif issubclass(type(each), QueueFull):  # `isinstance` would run code of the exception
            found = cast(QueueFull, each)
        else:
            return None
    return found


def spent(retry: Retry, attempts: int) -> bool:
    """Whether a request that failed so often is given up."""
    return attempts >= (1 if retry.on_failure == "skip" else retry.max_attempts)


def smaller(count: int) -> int:
    """How large the next batches of so many requests are, after one of them failed or there was no room for what they
    register: a half, until the culprit stands alone.
    """
    return max(1, count // 2)


def rest_s(retry: Retry, pipe: str, sequence: int, failed: Failed, now_us: int) -> float:
    """How many seconds the request of this number that failed has still to wait for its next attempt."""
    waits = failed.attempts - (1 if failed.ending is None else 2)
    if waits < 0:
        return 0.0
    whole_s: float = min(retry.backoff_s * 2 ** min(waits, 60), retry.backoff_max_s)
    waited_s = max(0.0, (now_us - failed.last_us) / 1e6)  # the clock may have been set back since the failure
    if waited_s >= whole_s:
        return 0.0
    if retry.jitter:
        # Drawn from facts that all processes know, so that each comes to the same time.
        whole_s *= 1 - random.Random(f"{pipe}#{sequence}#{failed.attempts}").random() / 2
    return max(0.0, whole_s - waited_s)


def news_due_s(failed: Failed, now_us: int) -> float:
    """How many seconds to wait until the supervisor of a worker that died has written down how it ended."""
    if failed.ending != Ending():
        return 0.0
    return max(0.0, min(_NEWS_INTERVAL_S, _NEWS_S - (now_us - failed.last_us) / 1e6))


def raised(batch: Batch, message: bytes, sequence: int, error: BaseException, failed: Failed) -> DeadLetter:
    """The letter of a request whose handler raised."""
    return DeadLetter(
        batch.pipe,
        sequence,
        message,
        "raised",
        line(error),
        failed.attempts,
        failed.first_us,
        failed.last_us,
        cut_to_bytes(text(error, _TRACEBACK_BYTES), _TRACEBACK_BYTES),
    )


def died(batch: Batch, failed: Failed) -> DeadLetter:
    """The letter of a request that was in hand when its attempts were spent, by the death of its worker as a rule."""
    ending = failed.ending
    name = None if ending is None or ending.signal is None else signal_name(ending.signal)
    return DeadLetter(
        batch.pipe,
        batch.sequence,
        batch.messages[0],
        "raised" if ending is None else "died",
        _end_in_words(ending, name),
        failed.attempts,
        failed.first_us,
        failed.last_us,
        signal=name,
    )


def undecodable(batch: Batch, error: BaseException) -> DeadLetter:
    """The letter of a message that is no request of its handler."""
    return _untried(batch, "undecodable", line(error))


def parked(batch: Batch) -> DeadLetter:
    """The letter of a request that a user put aside by a command. It may have failed before."""
    letter = _untried(batch, "parked", "parked by command")
    if batch.failed is None:
        return letter
    return msgspec.structs.replace(letter, attempts=batch.failed.attempts, first_failed_us=batch.failed.first_us)


def _untried(batch: Batch, reason: Literal["undecodable", "parked"], error: str) -> DeadLetter:
    taken_us = batch.taken_us
    return DeadLetter(batch.pipe, batch.sequence, batch.messages[0], reason, error, 0, taken_us, taken_us)


def _end_in_words(ending: Ending | None, killer: str | None) -> str:
    if ending is None:
        return "what it raised is not known any more: it was given up later, as where there was no room, or no worker"
    if ending.timed_out:
        return "its handler ran longer than timeout_s and could not be interrupted: its worker was killed"
    if killer:
        return f"its worker was killed by {killer}"
    if ending.exit_code is not None:
        return f"its worker ended with exit code {ending.exit_code}"
    return "its worker died, and no supervisor saw how"
