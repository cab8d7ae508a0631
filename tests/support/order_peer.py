"""`python -m tests.support.order_peer shm://NAME VERB`: register or cancel requests with sets and dicts, in a process
whose sets and dicts have an order of their own. Prints how many of each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic

from shardq import Handler, Queue, connect


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Names(NamedTuple):
    names: frozenset[str]


class Nested(NamedTuple):
    groups: frozenset[frozenset[str]]


class Mixed(NamedTuple):
    members: frozenset[int | str | None]


class Keyed(NamedTuple):
    by_number: dict[int, str]
    by_name: dict[str, int]


class Pairs(NamedTuple):
    by_pair: dict[tuple[str, int], set[str]]


class Colours(msgspec.Struct):
    colours: set[Colour]


@dataclass
class Deep:
    inner: list[Nested]
    by_set: dict[frozenset[str], int]


class Model(pydantic.BaseModel):
    tags: set[str]
    inner: dict[str, set[Colour]]


class Parsed(pydantic.BaseModel):
    anything: pydantic.Json  # type: ignore[type-arg]
    tags: pydantic.Json[set[str]]


class Open(NamedTuple):
    value: Any


class Typed(TypedDict):
    first: int
    second: int


WORDS = [f"word{n}" for n in range(40)]


def turned(items: list[Any]) -> list[Any]:
    """In the order of hashes of text, which differs from process to process."""
    return sorted(items, key=lambda item: hash(str(item)))


REQUESTS: dict[Any, Callable[[], Any]] = {
    Names: lambda: Names(frozenset(WORDS)),
    Nested: lambda: Nested(frozenset(frozenset(WORDS[n : n + 3]) for n in range(30))),
    Mixed: lambda: Mixed(frozenset(turned([*range(9), *WORDS[:9], None]))),
    Keyed: lambda: Keyed({n: str(n) for n in turned([*range(20)])}, dict.fromkeys(turned(WORDS), 1)),
    Pairs: lambda: Pairs({(word, 1): {word, "a", "b"} for word in turned(WORDS)}),
    Colours: lambda: Colours(set(Colour)),
    Deep: lambda: Deep([Nested(frozenset({frozenset(WORDS)}))], {frozenset(WORDS[:n]): n for n in turned([*range(9)])}),
    Model: lambda: Model(tags=set(WORDS), inner={word: set(Colour) for word in turned(WORDS)}),
    Parsed: lambda: Parsed(
        anything=json.dumps({word: dict.fromkeys(turned(WORDS), 1) for word in turned(WORDS)}),
        tags=json.dumps(WORDS),  # type: ignore[arg-type]
    ),
    Open: lambda: Open({word: dict.fromkeys(turned([*range(9)]), word) for word in turned(WORDS)}),
    Typed: lambda: dict.fromkeys(turned(["first", "second"]), 1),
}


class OfNames(Handler[Names]):
    def perform(self, *requests: Names) -> None: ...


class OfNested(Handler[Nested]):
    def perform(self, *requests: Nested) -> None: ...


class OfMixed(Handler[Mixed]):
    def perform(self, *requests: Mixed) -> None: ...


class OfKeyed(Handler[Keyed]):
    def perform(self, *requests: Keyed) -> None: ...


class OfPairs(Handler[Pairs]):
    def perform(self, *requests: Pairs) -> None: ...


class OfColours(Handler[Colours]):
    def perform(self, *requests: Colours) -> None: ...


class OfDeep(Handler[Deep]):
    def perform(self, *requests: Deep) -> None: ...


class OfModel(Handler[Model]):
    def perform(self, *requests: Model) -> None: ...


class OfParsed(Handler[Parsed]):
    def perform(self, *requests: Parsed) -> None: ...


class OfOpen(Handler[Open]):
    def perform(self, *requests: Open) -> None: ...


class OfTyped(Handler[Typed]):
    def perform(self, *requests: Typed) -> None: ...


TAKERS: tuple[type[Handler[Any]], ...] = (
    *(OfNames, OfNested, OfMixed, OfKeyed, OfPairs),
    *(OfColours, OfDeep, OfModel, OfParsed, OfOpen, OfTyped),
)
HANDLERS: dict[type[Handler[Any]], Any] = dict(zip(TAKERS, REQUESTS, strict=True))


async def act(queue: Queue, verb: str, handler: type[Handler[Any]], request: Any) -> int:
    if verb == "cancel":
        return await queue.cancel(handler, request)
    if verb == "unschedule":
        return await queue.recurrent.cancel(handler, request)
    options: dict[str, Any] = {"plain": {}, "absent": {"if_not_exists": True}, "recurrent": {"recurrent": 3600}}[verb]
    return await queue.register(handler, request, **options)


async def main(url: str, verb: str) -> None:
    async with await connect(url) as queue:
        done = {h.__name__: await act(queue, verb, h, REQUESTS[kind]()) for h, kind in HANDLERS.items()}
    print(json.dumps(done))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
