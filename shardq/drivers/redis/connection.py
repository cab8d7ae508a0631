"""A connection of an event loop, made anew where it broke."""

from __future__ import annotations

import asyncio
from typing import Any

from shardq.drivers.redis.address import Address
from shardq.drivers.redis.copies import Copies
from shardq.drivers.redis.wire import Wire
from shardq.errors import StorageClosed


class Connection:
    """One wire at a time, of the running event loop."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._wire: Wire | None = None
        self._copies: Copies | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    @property
    def open_wire(self) -> Wire | None:
        """The wire, where there is one that is not lost."""
        return None if self._wire is None or self._wire.lost else self._wire

    @property
    def busy(self) -> bool:
        """Whether an answer is due."""
        return self._connecting.locked() or (self._wire is not None and self._wire.busy)

    async def wire(self) -> Wire:
        """Raises `StorageClosed`, `OSError` and `hiredis.ReplyError`."""
        async with self._connecting:
            self._check_open()
            if self._wire is None or self._wire.lost:
                wire = await Wire.to(self._address)
                if self._closed:
                    wire.close()
                self._check_open()
                self._wire, self._copies = wire, None
            return self._wire

    def confirmed(self) -> asyncio.Future[Any]:
        """See `Copies.of_what_was_sent`, of the wire that there is."""
        assert self._wire
        self._copies = self._copies or Copies(self._wire, self._address)
        return self._copies.of_what_was_sent()

    def close(self) -> None:
        self._closed = True
        if self._wire is not None:
            self._wire.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageClosed("this storage was closed: what it stored stays, connect to it anew")
