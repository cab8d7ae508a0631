"""What `sharded-queue` has on a server, as the source of a move: its texts become messages of the same requests, in the
same tubes and order.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from shardq.drivers.redis.ancestor import AncestorServer
from shardq.encoding.codec import MsgspecSerializer
from shardq.encoding.secrets import masked
from shardq.errors import HandlerError, RequestError, ScheduleError, shown
from shardq.handler import Handler
from shardq.handling.info import info_of
from shardq.lazy import Lazy
from shardq.model import (
    EMPTY,
    Batch,
    Counts,
    Figures,
    Pause,
    Place,
    Standing,
    TubeLeft,
    TubeState,
    Waiting,
    handler_name,
)
from shardq.pages import Page
from shardq.scheduling.schedule import LAST_US, first_us, written
from shardq.text.secret_names import without_secrets
from shardq.text.wording import counted

if TYPE_CHECKING:
    from dateutil import rrule as rules
else:
    rules = Lazy("dateutil.rrule")

#: Its own tubes: what waits for its time, and what comes again and again.
_DEFERRED, _RECURRENT = "sharded_queue/DeferredHandler/0/0", "sharded_queue/RecurrentHandler/0/0"
#: How many of them a pipe has at least.
_SLASHES = 3
#: How many texts are read at once.
_AT_ONCE = 1000

Handlers = Mapping[str, type[Handler[Any]]]


class Translator:
    """Turns what it stored into what shardq stores. `zone`: the time zone that its hosts were set to."""

    def __init__(self, handlers: Handlers, zone: str) -> None:
        self._handlers = {f"{its.__module__}/{its.__name__}": its for its in handlers.values()}
        self._zone = zone
        self._serializer = MsgspecSerializer()

    def pipe(self, pipe: str) -> str:
        """The tube that takes the place of one. Raises `HandlerError` where no handler serves it."""
        name, thread, priority = pipe.rsplit("/", 2)
        handler = self._handlers.get(name)
        if handler is None:
            raise HandlerError(f"there is no handler {name} for {pipe}: name the module that has it")
        if not priority.isdecimal() or int(priority) not in (handler.priorities or [0]):
            raise HandlerError(f"{name} has no priority {priority} for {pipe}: add it to its `priorities`")
        return f"{handler_name(handler)}/{thread}/{priority}"

    def message(self, pipe: str, values: Any) -> bytes:
        """The message of a request, given its values. Raises `RequestError`."""
        facts = info_of(self._handlers[pipe.rsplit("/", 2)[0]])
        kind = facts.kind
        try:
            [message] = self._serializer.encode(kind, [_request(kind, values)])
        except (RequestError, msgspec.MsgspecError, ValueError, TypeError) as error:  # pydantic's is a ValueError
            hidden, why = shown(masked(_as_stored(kind, values), facts.secrets)), without_secrets(str(error))
            raise RequestError(f"a request in {pipe}, {hidden}, is none of {shown(kind)}: {why}") from error
        return message

    def schedule(self, interval: Any) -> str:
        """The schedule that takes the place of an interval. Raises `ScheduleError`."""
        if not isinstance(interval, str):
            return written(interval)
        try:
            rule: Any = rules.rrulestr(interval)
            start, until = vars(rule)["_dtstart"], vars(rule)["_until"]
            return written(rule.replace(dtstart=self._zoned(start), until=until and self._zoned(until)))
        except (ValueError, TypeError, KeyError) as error:
            raise ScheduleError(f"the rule {shown(interval)} cannot be read: {error}") from error

    def _zoned(self, time: datetime) -> datetime:
        return time if time.tzinfo else time.replace(tzinfo=ZoneInfo(self._zone))


class Ancestor:
    """The source half of `Movable`, over the lists of `sharded-queue`. Nothing tells its programs that it moves: they
    have to be ended before. `ignores_locks`: do not wait for the locks of its workers to go.
    """

    def __init__(self, server: AncestorServer, translator: Translator, now_us: int, *, ignores_locks: bool) -> None:
        self._server = server
        self._translator = translator
        self._now_us = now_us
        self._ignores_locks = ignores_locks
        self._former: dict[str, str] = {}
        """By tube, the one of `sharded-queue` that it takes the place of."""
        self.storage = self
        self.stand, self.leave, self.stay = server.stand, server.leave, server.stay
        self.hand_over, self.take_back, self.forget = server.hand_over, server.take_back, server.forget

    async def pauses(self) -> list[Pause]:
        """None: `sharded-queue` knows no pauses."""
        return []

    async def in_hand(self) -> list[str]:
        """Its lists are counted as soon as its workers have none of them."""
        locked = [] if self._ignores_locks else await self._server.locked()
        if not locked:
            await self._server.count()
        return locked

    async def tubes(self, after: Any = None) -> Page[TubeLeft]:
        page = Page[TubeLeft]()
        for former, count in (await self._server.counts()).items():
            if former not in (_DEFERRED, _RECURRENT):
                pipe = self._translator.pipe(former)
                self._former[pipe] = former
                page.append(TubeLeft(pipe, Place.TUBE, count, TubeState()))
        return page

    async def read(self, tube: TubeLeft, limit: int, after: int | None = None) -> Batch:
        former, start = self._former[tube.pipe], 0 if after is None else after + 1
        count = min(limit, tube.length - start)
        texts = await self._server.texts(former, start, count) if count > 0 else []
        messages = [self._translator.message(former, _parsed(former, text)) for text in texts]
        return Batch.of(messages, start)

    async def waiting(self, after: Any = None) -> Page[Waiting]:
        """What comes again and again, then what waits once, which has the next times of the former among it."""
        once, again = await self._texts(_DEFERRED), await self._texts(_RECURRENT)
        found = Page[Waiting]()
        for interval, pipe, values in again:
            next_time = next((its for its in once if its[1:] == [pipe, values]), None)
            schedule = self._translator.schedule(interval)
            if next_time:
                once.remove(next_time)
            due_us = _us(next_time[0]) if next_time else first_us(schedule, self._now_us)
            if due_us is not None:  # else its last time has come
                found.append(self._waiting(pipe, values, due_us or self._now_us, schedule))
        found += [
            self._waiting(pipe, values, _us(timestamp), "") for timestamp, pipe, values in sorted(once, key=_first)
        ]
        return found

    async def is_as_it_was(self, move: int) -> bool:
        return True

    async def nothing_to_do(self) -> bool:
        """Whether there is nothing to take over, nor a move of it to finish."""
        return (await self.stand()).standing is Standing.OPEN and await self._server.is_empty()

    async def graves(self, after: Any = None) -> Page[str]:
        return Page()

    async def range(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        """It keeps no results."""
        return EMPTY

    async def figures(self) -> Figures:
        return Figures(0, 0, 0)

    async def message_bytes(self) -> int:
        """Turns each text into a message, so that what cannot be turned is found before anything moves."""
        total = 0
        for tube in await self.tubes():
            after = None
            while (batch := await self.read(tube, _AT_ONCE, after)).count:
                total, after = total + len(batch.payload), batch.through - 1
        return total + sum(len(message) for its in await self.waiting() for message in its.messages)

    async def backlog(self) -> Counts:
        return Counts(sum((await self._server.counts()).values()), 0)

    async def _texts(self, pipe: str) -> list[Any]:
        count = (await self._server.counts()).get(pipe, 0)
        texts = list[bytes]()
        while some := await self._server.texts(pipe, len(texts), min(_AT_ONCE, count - len(texts))) if count else []:
            texts += some
            if len(texts) == count:
                break
        return [_entry(pipe, text) for text in texts]

    def _waiting(self, pipe: str, values: Any, due_us: int, schedule: str) -> Waiting:
        return Waiting(self._translator.pipe(pipe), [self._translator.message(pipe, values)], due_us, schedule)


def _parsed(pipe: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{shown(text)} in {pipe} is no request of sharded-queue: {error}") from error


def _entry(pipe: str, text: bytes) -> list[Any]:
    """A time or an interval, the tube, and the values of the request. Raises `RequestError`."""
    match _parsed(pipe, text):
        case [when, str(its), values] if its.count("/") >= _SLASHES and (pipe == _RECURRENT or _is_time(when)):
            return [when, its, values]
    raise RequestError(f"{shown(text)} in {pipe} has no time, tube and values of a request of sharded-queue")


def _is_time(timestamp: Any) -> bool:
    return isinstance(timestamp, int | float) and abs(timestamp) <= LAST_US / 1e6


def _first(entry: Sequence[Any]) -> Any:
    return entry[0]


def _us(timestamp: float) -> int:
    return round(timestamp * 1e6)


def _request(kind: Any, values: Any) -> Any:
    """A request of the type that has these values, in the order of its fields."""
    if not isinstance(values, list):
        raise TypeError("it is no list of values")
    if issubclass(kind, tuple):
        return msgspec.convert(values, kind)
    names = _names(kind)
    if len(values) > len(names):
        raise TypeError(f"it has {len(values)} values for {counted(len(names), 'field')}")
    named = dict(zip(names, values, strict=False))  # the fields that are left have defaults, or are asked for
    return kind(**named) if hasattr(kind, "model_fields") else msgspec.convert(named, kind)


def _as_stored(kind: Any, values: Any) -> Any:
    """The same values as a message of this type has them, with names where it has some."""
    if not isinstance(values, list) or issubclass(kind, tuple):
        return values
    return dict(zip(_names(kind), values, strict=False))


def _names(kind: Any) -> Sequence[str]:
    """Of its fields, in their order."""
    if hasattr(kind, "model_fields"):
        return [*kind.model_fields]
    fields: Callable[[Any], Sequence[Any]] = (
        msgspec.structs.fields if issubclass(kind, msgspec.Struct) else dataclasses.fields
    )
    return [field.name for field in fields(kind)]
