"""Storages on a server behind a proxy, for what the way there and the server do to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connections.address import Address
from shardq.drivers.redis.storage import RedisStorage
from shardq.model import Hand, Terms
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_proxy import Proxy, proxied
from tests.support.redis_server import Server, program, running_server

HANDLER = "app.jobs/Resize"
KEYS = [f"{HANDLER}/{thread}" for thread in range(4)]
PIPES = [f"{key}/0" for key in KEYS]
SERVED = frozenset((HANDLER,))
TERMS = {HANDLER: Terms((0,), 64)}


def storage_at(socket: Path) -> RedisStorage:
    """One of its own, with a name that no other test uses."""
    return RedisStorage(Address(path=str(socket)), StorageSettings(prefix=f"{segment_name()}_"))


@asynccontextmanager
async def through_a_proxy(folder: Path) -> AsyncIterator[tuple[RedisStorage, Proxy]]:
    """A storage that is right in the end, and then gone."""
    async with proxied(folder, running_server().socket) as proxy:
        storage = storage_at(proxy.socket)
        try:
            yield storage, proxy
            proxy.delays_s = None
            assert await wrongs(storage.server) == []
            await storage.server.destroy()
        finally:
            await storage.close()


@asynccontextmanager
async def started(*options: str) -> AsyncIterator[Server]:
    """A server of its own."""
    server = Server(program(), *options)
    server.start()
    try:
        yield server
    finally:
        server.end()


async def handed_out(storage: RedisStorage, handler: str = HANDLER) -> dict[str, list[bytes]]:
    """What there is, handed out and acknowledged until there is nothing more: by thread, in its order."""
    found: dict[str, list[bytes]] = {}
    hand: Hand | None = None
    while (hand := await storage.turn(hand, frozenset((handler,)), {handler: Terms((0,), 64)})) and hand.batch.count:
        found.setdefault(hand.key, []).extend(hand.batch.messages)
    if hand:
        await storage.unclaim(hand.key, hand.token)
    return found
