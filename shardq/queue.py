"""The asking side: requests are routed, encoded, grouped by tube, and appended.

    register -> route -> encode -> group by tube -> cut into steps -> storage.append
    cancel   -> route -> encode -> group by tube -> storage.remove

A call that can be refused by looking at it is refused before the first append. So a call that raises `HandlerError`,
`RequestError` or `ScheduleError` has stored nothing. A call is one append, or several where it is larger than the
storage takes at once. Each append is all or nothing, whatever it raises.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from shardq.deadletters import DeadLetters
from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.round_trip import check_round_trip
from shardq.errors import ConfigurationError, QueueFull, ScheduleError, shown
from shardq.handler import Handler, check_importable, drive
from shardq.handling.inside import inside_handler
from shardq.handling.newcomers import announce
from shardq.handling.routing import Addressed, HandlerFacts, addressed, check_types, facts_of, grouped
from shardq.handling.steps import steps_of
from shardq.model import Part, When, ahead_of
from shardq.protocols import Serializer, Storage
from shardq.recurrent import Recurrent
from shardq.scheduling.schedule import due_us, first_us, written
from shardq.text.wording import counted


class _Step(NamedTuple):
    """Something a registration awaits, and whether that may suspend."""

    awaitable: Awaitable[Any]
    suspends: bool


_Result = TypeVar("_Result")
#: A call in steps: yields what has to be awaited, is sent the result. One text serves `register`, which awaits, and
#: `register_sync`, which cannot.
_Steps = Generator[_Step, Any, _Result]


class Queue:
    """Registers requests for handlers. Holds no state of its own beside the handlers it met, so it may be used from
    several threads and event loops at once. Raises `ConfigurationError` for what is no storage.
    """

    def __init__(self, storage: Storage, serializer: Serializer | None = None) -> None:
        if isinstance(storage, type) or not hasattr(storage, "append_when_room"):
            raise ConfigurationError(
                f"{shown(storage)} is no storage: write Queue(RuntimeStorage()), or `await connect(url)` for a URL"
            )
        self.storage = storage
        self.serializer: Serializer = serializer or MsgspecSerializer()
        self.handlers: dict[str, type[Handler[Any]]] = {}
        """Handlers registered here, by `module/Handler`: what this process's workers serve beside imported ones."""
        self._kinds: dict[type[Handler[Any]], HandlerFacts] = {}

    async def register(
        self,
        handler: type[Handler[Any]],
        *requests: Any,
        defer: Any = None,
        if_not_exists: bool = False,
        recurrent: Any = None,
    ) -> int:
        """Store requests for `handler` and return how many were accepted.

        Without room it waits, or raises `QueueFull` where `StorageSettings.when_full` is "raise" and always inside a
        handler; what it could not store is in `QueueFull.not_accepted`. Either all requests of a call are stored or
        none of them, whichever process is killed when. A call that is larger than `Storage.step_limit` is stored in
        several such steps, in its order. Raises `HandlerError` and `RequestError` for what can never work; nothing is
        stored then.

        `defer`: when they come into their tubes: after so many seconds, after a `timedelta`, or at an aware `datetime`.

        `if_not_exists`: accept only requests that have no equal yet, neither queued nor in a worker's hands nor
        deferred. Two requests are equal where their tubes and their encoded bytes are.

        `recurrent`: they come again and again, for the first time after one period or at the first time of the
        schedule, or when `defer` says: a period in seconds or as a `timedelta`, a cron line in UTC
        (`CRON_TZ=Europe/Berlin` before it says another zone; six fields begin with the seconds), or a dateutil `rrule`.
        Times that were missed come once. Registering an equal request again changes its schedule.

        Raises `ScheduleError` for times and schedules that cannot be.
        """
        return await _awaited(self._registration(handler, requests, defer, if_not_exists, recurrent, may_wait=True))

    def register_sync(
        self,
        handler: type[Handler[Any]],
        *requests: Any,
        defer: Any = None,
        if_not_exists: bool = False,
        recurrent: Any = None,
    ) -> int:
        """`register` for code without an event loop, and for plain handlers. Inside a handler it never waits for room:
        it raises `QueueFull` instead. Where a loop runs in this thread, which no plain handler sees, it does not wait
        either, and raises `HandlerError` where `route()` itself has to.
        """
        may_wait = not _loop_runs()
        steps = self._registration(handler, requests, defer, if_not_exists, recurrent, may_wait=may_wait)
        return _driven(steps, may_wait)

    async def cancel(self, handler: type[Handler[Any]], *requests: Any) -> int:
        """Take out what equals these requests and was not handed out yet, queued or deferred. Returns how many that
        were. Schedules go on: `recurrent.cancel` ends them.
        """
        return await _awaited(self._cancellation(handler, requests))

    def cancel_sync(self, handler: type[Handler[Any]], *requests: Any) -> int:
        """`cancel` for code without an event loop, and for plain handlers."""
        return _driven(self._cancellation(handler, requests), may_wait=not _loop_runs())

    @property
    def recurrent(self) -> Recurrent:
        """The requests that come again and again: list them, end them."""
        return Recurrent(self.storage, self.serializer, self._unschedule)

    @property
    def dead_letters(self) -> DeadLetters:
        """The requests that failed for good: list them, put them back, forget them."""
        return DeadLetters(self.storage)

    async def close(self) -> None:
        """Let go of the storage. What is stored stays."""
        await self.storage.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _registration(
        self,
        handler: type[Handler[Any]],
        requests: Sequence[Any],
        defer: Any,
        if_not_exists: bool,
        recurrent: Any,
        *,
        may_wait: bool,
    ) -> _Steps[int]:
        schedule = "" if recurrent is None else written(recurrent)
        facts = self._facts(handler)
        messages, pipes = yield from self._addressed(handler, facts, requests)
        steps = steps_of(list(messages.items()), self.storage.step_limit)
        for step in steps:
            self.storage.check(step)
        options: dict[str, Any] = {"absent": True} if if_not_exists else {}
        if schedule or defer is not None:
            options["when"] = _when(defer, schedule, (yield _Step(self.storage.now_us(), suspends=False)))
        accepted, follow_up = 0, inside_handler()
        for number, step in enumerate(steps):
            try:
                taken = yield _Step(self.storage.append(step, follow_up=follow_up, **options), suspends=False)
                if taken is None:
                    if not (may_wait and self._waits_when_full()):
                        raise _full(facts, sum(len(its) for later in steps[number:] for _, its in later))
                    taken = yield _Step(self.storage.append_when_room(step, **options), suspends=True)
            except QueueFull as full:
                full.not_accepted = _left(requests, pipes, steps[:number])
                raise
            accepted += taken
        return accepted

    def _cancellation(self, handler: type[Handler[Any]], requests: Sequence[Any]) -> _Steps[int]:
        facts = self._facts(handler)
        messages, _ = yield from self._addressed(handler, facts, requests)
        removed = 0
        for pipe, group in messages.items():
            # Requests that were put back ahead of their tube are queued as well.
            for queued in (ahead_of(pipe), pipe):
                removed += yield _Step(self.storage.remove(queued, *group), suspends=False)
        return removed

    async def _unschedule(self, handler: type[Handler[Any]], *requests: Any) -> int:
        facts = self._facts(handler)
        messages, _ = await _awaited(self._addressed(handler, facts, requests))
        return sum([await self.storage.unschedule(pipe, *its) for pipe, its in messages.items()])

    def _addressed(
        self, handler: type[Handler[Any]], facts: HandlerFacts, requests: Sequence[Any]
    ) -> _Steps[Addressed]:
        """The requests as messages, by their pipes."""
        check_types(facts, requests)
        if facts.by is not None:
            places = facts.by.places(requests)
            return grouped(facts.by.pipe, places, self._messages(facts, requests))
        routes = handler.route(*requests)
        if isinstance(routes, Awaitable):
            routes = yield _Step(routes, suspends=True)
        return addressed(facts, requests, routes, self._messages(facts, requests))

    def _messages(self, facts: HandlerFacts, requests: Sequence[Any]) -> list[bytes]:
        messages = self.serializer.encode(facts.kind, requests)
        if self.storage.settings.check:
            check_round_trip(self.serializer, facts.kind, requests, messages)
        return messages

    def _waits_when_full(self) -> bool:
        return self.storage.settings.when_full == "wait" and not inside_handler()

    def _facts(self, handler: type[Handler[Any]]) -> HandlerFacts:
        facts = self._kinds.get(handler) if isinstance(handler, type) else None
        if facts is None:
            facts = facts_of(handler)
            if self.storage.importable_only:
                check_importable(handler)
            self.handlers[facts.name] = handler
            self._kinds[handler] = facts
            announce()
        self.handlers[facts.name] = handler
        return facts


def _left(requests: Sequence[Any], pipes: Iterable[str], stored: Sequence[Sequence[Part]]) -> list[Any]:
    """The requests, each with its pipe, that are in none of these steps."""
    counts = Counter[str]()
    for step in stored:
        for pipe, messages in step:
            counts[pipe] += len(messages)
    left = list[Any]()
    for request, pipe in zip(requests, pipes, strict=True):
        if counts[pipe]:
            counts[pipe] -= 1
        else:
            left.append(request)
    return left


def _full(facts: HandlerFacts, left: int) -> QueueFull:
    reason = "inside a handler no call waits" if inside_handler() else "this call does not wait"
    return QueueFull(
        f"the storage has no room for {counted(left, 'request')} of {facts.name}, and {reason}: what was not accepted "
        f"is in not_accepted, register it again later"
    )


def _when(defer: Any, schedule: str, now_us: int) -> When:
    """When requests come into their tubes. Raises `ScheduleError`."""
    first = first_us(schedule, now_us) if schedule else None
    if schedule and first is None:
        raise ScheduleError(f"the schedule {shown(schedule)} is over, or never comes: use one that does")
    return When(due_us(defer, now_us) if first is None or defer is not None else first, schedule)


async def _awaited(steps: _Steps[_Result]) -> _Result:
    try:
        step = next(steps)
        while True:
            try:
                result = await step.awaitable
            except QueueFull as full:
                step = steps.throw(full)
            else:
                step = steps.send(result)
    except StopIteration as end:
        returned: _Result = end.value
        return returned


def _driven(steps: _Steps[_Result], may_wait: bool) -> _Result:
    """The same without `await`. Where a loop runs in this thread, `may_wait` is False and nothing may suspend."""
    try:
        step = next(steps)
        while True:
            try:
                result = _wait_for(step.awaitable) if step.suspends and may_wait else drive(step.awaitable)
            except QueueFull as full:
                step = steps.throw(full)
            else:
                step = steps.send(result)
    except StopIteration as end:
        returned: _Result = end.value
        return returned


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _wait_for(awaitable: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())
