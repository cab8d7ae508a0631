"""The asking side: requests are routed, encoded, grouped by tube, and appended.

    register -> route -> encode -> group by tube -> cut into steps -> storage.append
    cancel   -> route -> encode -> group by tube -> storage.remove

A call that can be refused by looking at it is refused before the first append. So a call that raises `HandlerError`,
`RequestError` or `ScheduleError` has stored nothing. A call is one append, or several where it is larger than the
storage takes at once. Each append is all or nothing, whatever it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from shardq.deadletters import DeadLetters
from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.envelope import begins_as_head, sealed
from shardq.encoding.round_trip import check_round_trip
from shardq.errors import (
    ConfigurationError,
    HandlerError,
    QueueFull,
    RequestError,
    StorageMoved,
    StorageUnconfirmed,
    shown,
)
from shardq.handler import Handler, check_importable, drive
from shardq.handling.awaiting import is_awaitable, loop_runs, result_of
from shardq.handling.info import HandlerInfo
from shardq.handling.inside import inside_handler
from shardq.handling.isolation import as_for_caller
from shardq.handling.newcomers import announce
from shardq.handling.pipes import Pipes
from shardq.handling.prepared import Prepared, messages_of, prepare
from shardq.handling.routing import usable, wrong_type
from shardq.later.requests import Later
from shardq.model import Limits, Part, When
from shardq.protocols import Serializer, Storage
from shardq.recurrent import Recurrent
from shardq.results.calling import Calling
from shardq.results.serving import Serving
from shardq.results.ticketing import Ticketing
from shardq.scheduling.schedule import when, written
from shardq.tracing.api import current_context
from shardq.tracing.sending import Sending, sending

#: Puts heads in front of messages.
_Heads = Callable[[Sequence[bytes]], list[bytes]]


class Queue(Calling, Ticketing):
    """Registers requests for handlers. Holds no state of its own beside the handlers it met, so it may be used from
    several threads and event loops at once. Raises `ConfigurationError` for what is no storage.
    """

    def __init__(self, storage: Storage, serializer: Serializer | None = None) -> None:
        if isinstance(storage, type) or not hasattr(storage, "append_when_room"):
            raise ConfigurationError(
                f"{shown(storage)} is no storage: write Queue(RuntimeStorage()), or `await connect(url)` for a URL"
            )
        if serializer is not None and not hasattr(serializer, "encode"):
            raise ConfigurationError(f"{shown(serializer)} is no serializer: leave it out, or see shardq.Serializer")
        self.storage = storage
        self.serializer: Serializer = serializer or MsgspecSerializer()
        self.handlers: dict[str, type[Handler[Any]]] = {}
        """Handlers registered here, by `module/Handler`: what this process's workers serve beside imported ones."""
        self._kinds: dict[type[Handler[Any]], HandlerInfo] = {}
        self._limits: Limits | None = None
        """Those of the storage when a plain call came first. To ask for them takes a tenth of a call, and they change
        little: what is too much for the storage today, it leaves to the general way.
        """
        self.serving = Serving(storage)
        super().__init__()

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
        none of them, whichever process is killed when. A call that is larger than `Storage.limits` allows in one step
        is stored in several, in its order. Raises `HandlerError` and `RequestError` for what can never work; nothing is
        stored then.

        `defer`: when they come into their tubes: after so many seconds, after a `timedelta`, or at an aware `datetime`.

        `if_not_exists`: accept only requests that have no equal yet, neither queued nor in a worker's hands nor
        deferred. Two requests are equal where their tubes and their encoded bytes are, whatever traces they are sent
        in.

        `recurrent`: they come again and again, for the first time after one period or at the first time of the
        schedule, or when `defer` says: a period in seconds or as a `timedelta`, a cron line in UTC
        (`CRON_TZ=Europe/Berlin` before it says another zone; six fields begin with the seconds), or a dateutil `rrule`.
        Times that were missed come once. Registering an equal request again changes its schedule.

        Raises `ScheduleError` for times and schedules that cannot be.
        """
        schedule = "" if recurrent is None else written(recurrent)
        facts, places = self.routed(handler, requests)
        if type(places) is not list and is_awaitable(places):
            places = await places
        time, messages = None, None
        if schedule or defer is not None:
            time = when(defer, schedule)
        elif not if_not_exists and current_context() is None:
            messages = self._messages(facts, requests)
            step = self._plain_step(facts.pipes(), places, messages)
            if step and (stored := self.storage.append_at_once(step, follow_up=inside_handler())):
                return stored
        limits = self.storage.limits.of_step(examined=if_not_exists or time is not None)
        with sending(facts.name, len(requests), again=bool(schedule)) as sent:
            messages = self._encoded(facts, requests, sent) if messages is None else messages
            call = prepare(facts, requests, places, messages, limits)
            return await self._stored_in_steps(call, time, absent=if_not_exists)

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
        schedule = "" if recurrent is None else written(recurrent)
        facts, places = self.routed(handler, requests)
        if type(places) is not list and is_awaitable(places):
            places = result_of(places, may_wait=not loop_runs())
        time, messages = None, None
        if schedule or defer is not None:
            time = when(defer, schedule)
        elif not if_not_exists and current_context() is None:
            messages = self._messages(facts, requests)
            step = self._plain_step(facts.pipes(), places, messages)
            if step and (stored := self.storage.append_at_once(step, follow_up=inside_handler())):
                return stored
        limits = self.storage.limits.of_step(examined=if_not_exists or time is not None)
        with sending(facts.name, len(requests), again=bool(schedule)) as sent:
            messages = self._encoded(facts, requests, sent) if messages is None else messages
            call = prepare(facts, requests, places, messages, limits)
            return self._stored_in_steps_sync(call, time, absent=if_not_exists)

    def routed(self, handler: type[Handler[Any]], requests: Sequence[Any]) -> tuple[HandlerInfo, Any]:
        """Where the requests go: what `route()` returned, which may be awaitable, or the places that are declared.
        Raises `HandlerError` for what is no handler, and `RequestError` for requests of another type.
        """
        facts = self._kinds.get(handler) if isinstance(handler, type) else None
        if facts is None:
            facts = self._met(handler)
        else:
            self.handlers[facts.name] = handler  # as there: a call less for each `register`
        if facts.types is not None and not facts.types.issuperset(map(type, requests)):
            raise wrong_type(facts, requests)
        return facts, handler.route(*requests) if facts.by is None else facts.by.places(requests)

    def prepared(
        self, facts: HandlerInfo, requests: Sequence[Any], places: Any, heads: _Heads | None = None
    ) -> Prepared:
        """What `register` would store for requests that are `routed`, found out and checked without the storage. For
        handlers' outputs, and for messages that get heads. Raises as `register` does for what can never be stored.
        """
        if current_context() is None:
            messages = self._messages(facts, requests)
            messages = messages if heads is None else heads(messages)
            pipes = facts.pipes()
            step = self._plain_step(pipes, places, messages)
            if step is not None:
                return Prepared(facts, requests, pipes, places, [step])
            return prepare(facts, requests, places, messages, self.storage.limits)
        with sending(facts.name, len(requests)) as sent:
            messages = self._encoded(facts, requests, sent, heads)
            return prepare(facts, requests, places, messages, self.storage.limits)

    def callable(self, handler: type[Handler[Any]]) -> HandlerInfo:
        """What is known of a handler whose results are to be waited for here. Raises `HandlerError`."""
        info = self._met(handler)
        if inside_handler():
            raise HandlerError(
                f"a handler cannot wait for results of {info.name}: it keeps the worker that others may wait for. Send "
                f"the request on with emit, and go on in the handler that gets it"
            )
        return info

    async def sealed(
        self, handler: type[Handler[Any]], requests: Sequence[Any], inbox: int, first: int, *, abandon: bool
    ) -> Prepared:
        """`prepared` for requests whose results go to this inbox, under numbers from `first` on."""
        return await self.with_heads(
            handler, requests, lambda messages: sealed(messages, inbox, first, abandon=abandon)
        )

    async def with_heads(
        self,
        handler: type[Handler[Any]],
        requests: Sequence[Any],
        heads: _Heads,
    ) -> Prepared:
        """`prepared` for requests whose messages get heads."""
        facts, places = as_for_caller(self.routed, handler, requests)
        if is_awaitable(places):
            places = await places
        return self.prepared(facts, requests, places, heads)

    async def stored(self, call: Prepared) -> None:
        """Store what was prepared, and wait for room as `register` does."""
        number, follow_up = 0, inside_handler()
        try:
            for step in call.steps:
                at_once = self.storage.append_at_once(step, follow_up=follow_up)
                if not at_once and await self.storage.append(step, follow_up=follow_up) is None:
                    await self.wait_for_room(step, call.facts.name, None)
                number += 1
        except (QueueFull, StorageMoved, StorageUnconfirmed) as error:
            error.not_accepted = call.not_stored(number, error)
            raise

    async def before_waiting(self, timeout_s: float | None) -> None:
        """Called before a caller waits for results, for at most so many seconds. None: without a limit of its own."""

    async def wait_for_room(self, step: Sequence[Part], name: str, timeout_s: float | None) -> None:
        """Store a step as soon as there is room. Raises `QueueFull` where the storage says not to wait, and after so
        many seconds.
        """
        waits = self._waits_when_full()
        if not waits or await self.storage.append_when_room(step, timeout_s) is None:
            raise QueueFull(f"the storage has no room for requests of {name}, and this call does not wait any longer")

    async def cancel(self, handler: type[Handler[Any]], *requests: Any) -> int:
        """Take out what equals these requests and was not handed out yet, queued or deferred. Returns how many that
        were. Schedules go on: `recurrent.cancel` ends them.
        """
        messages = await self._addressed(handler, requests)
        return sum([await self.storage.remove(pipe, *its) for pipe, its in messages.items()])

    def cancel_sync(self, handler: type[Handler[Any]], *requests: Any) -> int:
        """`cancel` for code without an event loop, and for plain handlers."""
        facts, places = self.routed(handler, requests)
        if is_awaitable(places):
            places = result_of(places, may_wait=not loop_runs())
        messages = messages_of(facts, requests, places, self._messages(facts, requests))
        return sum(drive(self.storage.remove(pipe, *its)) for pipe, its in messages.items())

    @property
    def recurrent(self) -> Recurrent:
        """The requests that come again and again: list them, end them."""
        return Recurrent(self.storage, self.serializer, self._unschedule)

    @property
    def dead_letters(self) -> DeadLetters:
        """The requests that failed for good: list them, put them back, forget them."""
        return DeadLetters(self.storage)

    @property
    def later(self) -> Later:
        """The requests that wait for their time: list, cancel, have come now; and `skip` for recurrent ones."""
        return Later(self.storage)

    async def close(self) -> None:
        """Let go of the storage. What is stored stays."""
        await self.end_calls()
        await self.storage.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _unschedule(self, handler: type[Handler[Any]], *requests: Any) -> int:
        messages = await self._addressed(handler, requests)
        return sum([await self.storage.unschedule(pipe, *its) for pipe, its in messages.items()])

    async def _addressed(self, handler: type[Handler[Any]], requests: Sequence[Any]) -> dict[str, list[bytes]]:
        """The messages of these requests, by tube."""
        facts, places = self.routed(handler, requests)
        if is_awaitable(places):
            places = await places
        return messages_of(facts, requests, places, self._messages(facts, requests))

    def _messages(self, facts: HandlerInfo, requests: Sequence[Any]) -> list[bytes]:
        messages = self.serializer.encode(facts.kind, requests)
        if type(self.serializer) is not MsgspecSerializer and any(map(begins_as_head, messages)):
            raise RequestError(
                f"a message of {facts.name} begins with 0xC150 to 0xC155, by which requests of callers and in traces "
                f"are known: let the serializer begin with other bytes"
            )
        if self.storage.settings.check:
            check_round_trip(self.serializer, facts.kind, requests, messages)
        return messages

    def _plain_step(self, pipes: Pipes, places: Any, messages: Sequence[bytes]) -> Sequence[Part] | None:
        """The step that stores these messages. None: to find it, or what is wrong with them, takes the general way."""
        limits = self._limits
        if limits is None:
            limits = self._limits = self.storage.limits
        return pipes.one_step(pipes.kind, places, messages, pipes, limits)

    async def _stored_in_steps(self, call: Prepared, time: When | None, *, absent: bool) -> int:
        """How many requests the storage accepted, step by step."""
        accepted, number, follow_up = 0, 0, inside_handler()
        try:
            for number, step in enumerate(call.steps):
                taken = await self.storage.append(step, when=time, absent=absent, follow_up=follow_up)
                if taken is None:
                    if not self._waits_when_full():
                        raise call.full(number)
                    taken = await self.storage.append_when_room(step, when=time, absent=absent)
                accepted += taken or 0
        except (QueueFull, StorageMoved, StorageUnconfirmed) as error:
            error.not_accepted = call.not_stored(number, error)
            raise
        return accepted

    def _stored_in_steps_sync(self, call: Prepared, time: When | None, *, absent: bool) -> int:
        """As `_stored_in_steps`, for code without an event loop."""
        accepted, number, follow_up, may_wait = 0, 0, inside_handler(), not loop_runs()
        try:
            for number, step in enumerate(call.steps):
                taken = drive(self.storage.append(step, when=time, absent=absent, follow_up=follow_up))
                if taken is None:
                    if not (may_wait and self._waits_when_full()):
                        raise call.full(number)
                    taken = result_of(self.storage.append_when_room(step, when=time, absent=absent), may_wait=may_wait)
                accepted += taken or 0
        except (QueueFull, StorageMoved, StorageUnconfirmed) as error:
            error.not_accepted = call.not_stored(number, error)
            raise
        return accepted

    def _waits_when_full(self) -> bool:
        return self.storage.settings.when_full == "wait" and not inside_handler()

    def _encoded(
        self, facts: HandlerInfo, requests: Sequence[Any], sent: Sending | None, heads: _Heads | None = None
    ) -> list[bytes]:
        """The messages of a call, which is in a trace if it is `sent` in one."""
        messages = self._messages(facts, requests)
        messages = messages if heads is None else heads(messages)
        return messages if sent is None else sent.traced(messages)

    def _met(self, handler: type[Handler[Any]]) -> HandlerInfo:
        """What is known of a handler, from now on without a look at it. Raises `HandlerError`."""
        facts = self._kinds.get(handler) if isinstance(handler, type) else None
        if facts is None:
            facts = usable(handler)
            if self.storage.importable_only:
                check_importable(handler)
            self.handlers[facts.name] = handler
            self._kinds[handler] = facts
            announce()
        self.handlers[facts.name] = handler
        return facts
