"""Handlers whose requests become dead letters, and the letters of them in a storage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

import msgspec
from pydantic import BaseModel, SecretBytes, SecretStr

from shardq import Handler, Retry, Worker, connect
from shardq.deadletters import Buried
from shardq.drivers import RedisLock, RedisStorage, SharedLock

ONCE = Retry(max_attempts=1)


class User(msgspec.Struct):
    id: int
    name: str = ""


class Order(msgspec.Struct):
    number: int
    user: User
    how: str = ""
    data: bytes = b"\xff\x00"
    due: datetime | None = None
    price: float = 1.0


class Fulfil(Handler[Order]):
    """Fails as the order says."""

    retry = ONCE
    batch_size = 1
    route_by = "number"
    threads = 4

    def perform(self, *orders: Order) -> list[str]:
        for order in orders:
            if order.how == "key":
                raise KeyError(order.number)
            if order.how:
                raise ValueError(order.how)
            print(f"fulfils {order.number}")
            self.emit_sync(Notify, order.user)
        return [f"done {order.number}" for order in orders]


class Notify(Handler[User]):
    def perform(self, *users: User) -> None: ...


class Login(NamedTuple):
    """An array in its message, which has no names."""

    user: str
    password: str
    pin: int
    device: dict[str, Any] = {}  # noqa: RUF012 - only read


class SignIn(Handler[Login]):
    retry = ONCE
    secret_fields: ClassVar[tuple[str, ...]] = ("pin", "serial-number")

    def perform(self, *logins: Login) -> None:
        raise ValueError("no user signs in")


class Card(BaseModel):
    holder: str
    digits: SecretStr
    codes: list[SecretBytes] = []
    next: Card | None = None


class Charge(Handler[Card]):
    retry = ONCE

    def perform(self, *cards: Card) -> None:
        assert all(card.digits.get_secret_value() for card in cards)
        raise ValueError("no card is charged")


def name_of(handler: type[Handler[Any]]) -> str:
    return f"{__name__}/{handler.__name__}"


def let_fail(url: str, handler: type[Handler[Any]], *requests: Any) -> None:
    """Register the requests, and serve them until all are handled or dead letters."""
    asyncio.run(_let_fail(url, handler, requests))


def letters_at(url: str) -> Sequence[Buried]:
    """All dead letters of the storage."""

    async def look() -> Sequence[Buried]:
        async with await connect(url) as queue:
            return await queue.dead_letters.list()

    return asyncio.run(look())


async def _let_fail(url: str, handler: type[Handler[Any]], requests: Sequence[Any]) -> None:
    async with await connect(url) as queue:
        storage: Any = queue.storage
        lock = RedisLock(storage) if isinstance(storage, RedisStorage) else SharedLock(storage)
        await queue.register(handler, *requests)
        await Worker(lock, queue).loop(limit=len(requests), handler=handler)
