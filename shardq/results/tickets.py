"""Tickets, and the results that a storage keeps for them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple, Self

from shardq.encoding.replies import Kept, decode_kept, name_of_kept
from shardq.errors import TicketUnknown
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
_FORM = re.compile("[0-9a-f]{32}")


class Ticket(str):
    """What the result of a request is asked for with: a text of 128 random bits, 32 hexadecimal digits. A program that
    has it can have the result, also over HTTP and in another process. `Ticket(text)` makes one of its text, and raises
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


async def kept_in(storage: Readable, after: int | None = None) -> AsyncIterator[Found]:
    """The results that a storage keeps, or those with numbers above `after`, the oldest first. Some may be too old to
    be had any more.
    """
    while (batch := await storage.range(KEPT_PIPE, _AT_ONCE, after)).count:
        for number, message in zip(batch.numbers, batch.messages, strict=True):
            yield Found(number, decode_kept(message))
        after = batch.through - 1


class KeptResults:
    """The results that a storage keeps."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def find(self, digest: bytes) -> Found | None:
        """The result that is kept for the ticket of this digest. Raises `DecodeError`."""
        batch = await self._storage.kept(name_of_kept(digest))
        return Found(batch.sequence, decode_kept(batch.payload)) if batch.count else None

    async def forget(self, digest: bytes) -> bool:
        """Drop the result. False: there is none."""
        found = await self.find(digest)
        return found is not None and await self.drop(found.number) > 0

    async def drop(self, *numbers: int) -> int:
        """Drop results. Returns how many there were."""
        return await self._storage.drop(KEPT_PIPE, *numbers)

    async def each(self) -> AsyncIterator[Found]:
        """All results, the oldest first."""
        await self._storage.drop(KEPT_PIPE)
        async for found in kept_in(self._storage):
            yield found
