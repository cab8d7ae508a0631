"""How the server wakes who sleeps: one subscription for each event loop, to a channel of its own.

A sleeper is named `CHANNEL#NUMBER`. A script that finds nothing for it writes the name down; another script that has
something for it publishes the number on the channel. The subscription is there before a name is written down, and after
it broke all sleepers look again.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import Any

import hiredis

from shardq.drivers.redis.address import Address
from shardq.drivers.redis.replies import meaning
from shardq.drivers.redis.wire import Disconnected, Wire, packed
from shardq.errors import StorageRefused


class Nap:
    """One sleeper."""

    def __init__(self, bell: Bell, number: int) -> None:
        self._bell, self._number = bell, number
        self.name = f"{bell.channel}#{number}"
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def rung(self, timeout_s: float | None) -> None:
        """Sleep until it is woken, so long at most."""
        if timeout_s is not None and timeout_s <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        self._rung.clear()

    def end(self) -> None:
        self._bell.forget(self._number)


class Bell:
    """Where the sleepers of one event loop are woken."""

    def __init__(self, address: Address, prefix: str) -> None:
        self._address = address
        self.channel = f"{prefix}bell:{secrets.token_hex(8)}"
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._subscribed: asyncio.Future[None] | None = None
        self._naps: dict[int, Nap] = {}
        self._last = 0

    def nap(self) -> Nap:
        """A new sleeper; see `listen`."""
        self._last += 1
        nap = self._naps[self._last] = Nap(self, self._last)
        return nap

    async def listen(self) -> bool:
        """Whether the server can wake sleepers of this loop. It is tried once. Raises `StorageRefused`."""
        if self._wire is not None and not self._wire.lost:
            return True
        async with self._connecting:
            if self._wire is not None and not self._wire.lost:
                return True
            try:
                await self._connect()
            except (OSError, Disconnected, hiredis.ReplyError) as error:
                if isinstance(reason := meaning(error), StorageRefused):
                    raise reason from error
                return False
        return True

    @property
    def busy(self) -> bool:
        """Whether it connects."""
        return self._connecting.locked()

    def forget(self, number: int) -> None:
        self._naps.pop(number, None)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.on_lost = None
            self._wire.close()
        self._ring_all()

    async def _connect(self) -> None:
        self._subscribed = asyncio.get_running_loop().create_future()
        wire = await Wire.to(self._address, self._heard)
        try:
            wire.on_lost = self._lost
            wire.say(packed(b"SUBSCRIBE", self.channel.encode()))
            async with asyncio.timeout(5):
                await self._subscribed
        except BaseException:
            wire.on_lost = None
            wire.close()
            raise
        self._wire = wire

    def _heard(self, said: Any) -> None:
        if isinstance(said, hiredis.ReplyError) and self._subscribed and not self._subscribed.done():
            self._subscribed.set_exception(said)
        if not isinstance(said, list) or len(said) < 3:
            return
        if said[0] == b"subscribe" and self._subscribed and not self._subscribed.done():
            self._subscribed.set_result(None)
        elif said[0] == b"message" and (nap := self._naps.get(int(said[2]))):
            nap.ring()

    def _lost(self) -> None:
        if self._subscribed and not self._subscribed.done():
            self._subscribed.set_exception(Disconnected())
        self._ring_all()

    def _ring_all(self) -> None:
        for nap in self._naps.values():
            nap.ring()
