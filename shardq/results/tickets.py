"""Tickets, and the results that a storage keeps for them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple, Self

from shardq.encoding.replies import Kept, decode_kept
from shardq.errors import ConfigurationError, TicketUnknown
from shardq.lazy import Lazy
from shardq.model import KEPT_PIPE
from shardq.protocols import Readable, Storage

if TYPE_CHECKING:
    import hashlib
    import secrets
else:
    hashlib, secrets = Lazy("hashlib"), Lazy("secrets")

#: How many results are read at once.
_AT_ONCE = 32
#: For so many results it is remembered where they are before it is looked whether these are still there.
_REMEMBERED = 1024
_FORM = re.compile("[0-9a-f]{32}")


class Ticket(str):
    """What the result of a request is asked for with: a text of 128 random bits, 32 hexadecimal digits. Whoever has it
    can have the result, also over HTTP and in another process. `Ticket(text)` makes one of its text, and raises
    `TicketUnknown` for what cannot be one.
    """

    __slots__ = ()

    def __new__(cls, text: object) -> Self:
        if not isinstance(text, str) or not _FORM.fullmatch(text):
            raise TicketUnknown("this is no ticket: one has 32 hexadecimal digits, as `queue.submit` returned them")
        return super().__new__(cls, text)

    @classmethod
    def new(cls) -> Self:
        """One that no other process can guess."""
        return cls(secrets.token_hex(16))

    @property
    def digest(self) -> bytes:
        """What storages have of it, 16 bytes: it does not lead back to the ticket."""
        return hashlib.blake2b(bytes.fromhex(self), digest_size=16).digest()


class Found(NamedTuple):
    """A result that is kept."""

    number: int
    """Its number among them: later ones have larger ones."""
    kept: Kept


def check_keeps(storage: Readable) -> None:
    """Raise `ConfigurationError` for a storage that keeps no results."""
    if not storage.keeps_results:
        raise ConfigurationError(
            "this storage keeps no results for tickets: use shared memory, or let the handler write its results "
            "down itself"
        )


async def kept_in(storage: Readable, after: int | None = None) -> AsyncIterator[Found]:
    """The results that a storage keeps, or those with numbers above `after`, the oldest first. Some may be too old to
    be had any more.
    """
    while (batch := await storage.range(KEPT_PIPE, _AT_ONCE, after)).count:
        for number, message in zip(batch.numbers, batch.messages, strict=True):
            yield Found(number, decode_kept(message))
        after = batch.through - 1


class KeptResults:
    """The results that a storage keeps. Each is read once in search of a ticket; then it is known where it is."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._numbers: dict[bytes, int] = {}
        """By the digest of the ticket."""
        self._through: int | None = None
        """The number of the last one that was read."""
        self._most = _REMEMBERED

    def check(self) -> None:
        """Raise `ConfigurationError` for a storage that keeps none."""
        check_keeps(self._storage)

    async def find(self, digest: bytes) -> Kept | None:
        """The result that is kept for the ticket of this digest. Raises `DecodeError`."""
        await self._read_on()
        number = self._numbers.get(digest)
        if number is None:
            return None
        batch = await self._storage.range(KEPT_PIPE, 1, number - 1)
        kept = decode_kept(batch.payload) if batch.count and batch.sequence == number else None
        if kept is None or not secrets.compare_digest(kept.digest, digest):
            self._numbers.pop(digest, None)
            return None
        return kept

    async def forget(self, digest: bytes) -> bool:
        """Drop the result. False: there is none."""
        await self._read_on()
        number = self._numbers.pop(digest, None)
        return number is not None and await self.drop(number) > 0

    async def drop(self, *numbers: int) -> int:
        """Drop results. Returns how many there were."""
        return await self._storage.drop(KEPT_PIPE, *numbers)

    async def each(self, after: int | None = None) -> AsyncIterator[Found]:
        """All results, or those with numbers above `after`, the oldest first."""
        await self._storage.drop(KEPT_PIPE)
        async for found in kept_in(self._storage, after):
            yield found

    async def _read_on(self) -> None:
        async for number, kept in self.each(self._through):
            self._numbers[kept.digest], self._through = number, number
        if len(self._numbers) > self._most:
            oldest = (await self._storage.range(KEPT_PIPE, 1)).sequence
            for digest, number in list(self._numbers.items()):  # other threads may add some meanwhile
                if number < oldest:
                    self._numbers.pop(digest, None)
            self._most = max(_REMEMBERED, 2 * len(self._numbers))
