"""Requests that failed for good: what a dead letter holds, and what can be done with it.

A handler's dead letters are a tube of their own, `module/Handler/dead/0`, which no worker serves.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from shardq.encoding.secrets import NO_SECRETS, Secrets
from shardq.errors import ConfigurationError, QueueFull, StorageDamaged, shown
from shardq.handler import Handler, check_is_handler
from shardq.model import dead_pipe, handler_name, key_of, split_key
from shardq.pages import each, first
from shardq.protocols import Readable, Storage

#: How many letters are read at once: each may have a long traceback.
_AT_ONCE = 16
#: Most letters that are dropped in one step of the storage.
_DROPPED_AT_ONCE = 256


class DeadLetter(msgspec.Struct, frozen=True):
    """A request that failed for good, and why."""

    pipe: str
    """The tube it was in."""
    sequence: int
    """Its number there."""
    message: bytes
    """The request as it was stored: the MessagePack of it."""
    reason: Literal["raised", "died", "undecodable", "parked"]
    """Its handler raised or ran too long; its worker died; it does not decode; the command `park` made it one."""
    error: str
    """The exception, or how the worker died, in a line."""
    attempts: int
    """How often it failed while it was alone in its batch."""
    first_failed_us: int
    """When it failed for the first time, Unix microseconds."""
    last_failed_us: int
    traceback: str = ""
    """Traceback of the exception; a long one is cut in the middle."""
    signal: str | None = None
    """The signal that killed the worker, as `SIGSEGV`."""
    secrets: Secrets = NO_SECRETS
    """Where the request has secrets, as far as its worker knew: views that do not know its type hide them."""

    @property
    def handler(self) -> str:
        """`module/Handler`."""
        return split_key(key_of(self.pipe))[0]

    def encoded(self) -> bytes:
        return _encode(self)


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter, with its tube and its number there."""

    grave: str
    number: int
    letter: DeadLetter

    @property
    def id(self) -> str:
        """`module/Handler#number`."""
        return f"{self.letter.handler}#{self.number}"


#: Says of a letter whether it is wanted.
Wanted = Callable[[Buried], bool]


class Letters:
    """The dead letters of a storage, to be looked at."""

    def __init__(self, storage: Readable) -> None:
        self._readable = storage

    async def list(
        self,
        handler: type[Handler[Any]] | str | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        match: Wanted | None = None,
    ) -> Sequence[Buried]:
        """The dead letters of a handler, given as a class or as `module/Handler`; without one, those of each handler in
        turn. The oldest come first. `after`: only those behind the one of this id; `limit`: at most so many; `match`:
        those that it is true for, as a `shardq.letters.match.Match` is. Raises `HandlerError` for what is no handler,
        and `ConfigurationError` for what is no id.
        """
        return await first(self.each(handler, after=after, match=match), limit)

    async def each(
        self,
        handler: type[Handler[Any]] | str | None = None,
        *,
        after: str | None = None,
        match: Wanted | None = None,
    ) -> AsyncGenerator[Buried, None]:
        """The same one by one, read page by page: for more than memory should hold."""
        behind = parts_of(after) if after else None
        if handler is None:
            graves = sorted({grave async for grave in each(self._readable.graves)})
        elif isinstance(handler, str):
            graves = [dead_pipe(handler)]
        else:
            check_is_handler(handler)
            graves = [dead_pipe(handler_name(handler))]
        for grave in graves:
            if behind and grave < behind[0]:
                continue
            number = behind[1] if behind and grave == behind[0] else None
            async for buried in self._in(grave, number):
                if match is None or match(buried):
                    yield buried

    async def get(self, letter: str) -> Buried | None:
        """The letter of this id, `module/Handler#number`. None: it is not there. Raises `ConfigurationError` for what
        is no id.
        """
        grave, number = parts_of(letter)
        batch = await self._readable.range(grave, 1, number - 1 if number else None)
        if list(batch.numbers) != [number]:
            return None
        return _read(grave, number, batch.messages[0])

    async def _in(self, grave: str, after: int | None) -> AsyncIterator[Buried]:
        while (batch := await self._readable.range(grave, _AT_ONCE, after)).count:
            for number, message in zip(batch.numbers, batch.messages, strict=True):
                yield _read(grave, number, message)
            after = batch.through - 1


class DeadLetters(Letters):
    """The dead letters of a storage."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._storage = storage

    async def requeue(
        self, buried: Buried, *, ahead: bool = False, message: bytes | None = None, pipe: str | None = None
    ) -> bool:
        """Put the request back at the end of its tube, or `ahead` of all that wait there. Its attempts start anew. With
        a `message`, that is put there in the place of the request, and with a `pipe` it goes to that tube. Either the
        letter is there or the request, whichever process dies when. False: the letter is gone. Raises `QueueFull`, and
        `ConfigurationError` for what `list` does not return.
        """
        _check_buried(buried)
        letter = buried.letter
        pipe, message = pipe or letter.pipe, letter.message if message is None else message
        done = await self._storage.requeue(buried.grave, buried.number, pipe, message, front=ahead)
        if done is False:
            raise QueueFull(f"the storage has no room to put {buried.id} back: it stays a dead letter, try again later")
        return bool(done)

    async def drop(self, *buried: Buried) -> int:
        """Forget letters, with their requests. Returns how many there were. Raises `ConfigurationError` for what `list`
        does not return; then none is forgotten.
        """
        numbers: dict[str, list[int]] = {}
        for letter in buried:
            _check_buried(letter)
            numbers.setdefault(letter.grave, []).append(letter.number)
        dropped = 0
        for grave, its in numbers.items():
            for start in range(0, len(its), _DROPPED_AT_ONCE):
                dropped += await self._storage.drop(grave, *its[start : start + _DROPPED_AT_ONCE])
        return dropped


def _read(grave: str, number: int, message: bytes) -> Buried:
    try:
        return Buried(grave, number, _decode(message))
    except msgspec.MsgspecError as error:
        raise StorageDamaged(
            f"what is at {number} of {grave} is no dead letter: {error}: `shardq check` says what else is wrong"
        ) from error


def parts_of(letter: str) -> tuple[str, int]:
    """The grave and the number of the letter of this id. Raises `ConfigurationError` for what is no id."""
    handler, _, number = letter.rpartition("#") if isinstance(letter, str) else ("", "", "")
    if not handler or not number.isdecimal() or len(number) > 18:
        raise ConfigurationError(f"{shown(letter)} is no id of one dead letter: `dead list` shows the ids")
    return dead_pipe(handler), int(number)


def _check_buried(buried: Any) -> None:
    if not isinstance(buried, Buried):
        raise ConfigurationError(f"{shown(buried)} is no dead letter: give those that dead_letters.list() returned")


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DeadLetter).decode
