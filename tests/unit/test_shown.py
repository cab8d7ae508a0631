"""Messages of errors show every value, cut and harmless; a refusal never fails itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pytest

from shardq import Handler, Queue, Route, Supervisor, Worker
from shardq.drivers import RuntimeLock, RuntimeStorage, SharedStorage
from shardq.errors import ShardqError, shown
from shardq.settings import StorageSettings, WorkerSettings
from shardq.text.printable import printable


class Plain(NamedTuple):
    value: Any


@dataclass
class Data:
    value: Any


class Struct(msgspec.Struct):
    value: Any


class Takes(Handler[Plain]):
    def perform(self, *requests: Plain) -> None: ...


class TakesData(Handler[Data]):
    def perform(self, *requests: Data) -> None: ...


class TakesStructs(Handler[Struct]):
    def perform(self, *requests: Struct) -> None: ...


class Raising:
    def __repr__(self) -> str:
        raise ValueError("no words")


class Leaving:
    def __repr__(self) -> str:
        raise SystemExit(0)


class NoText:
    def __repr__(self) -> Any:
        return 5


class Endless:
    def __repr__(self) -> str:
        return "y" * 5_000_000


class _Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise KeyError(name)


class Nameless(metaclass=_Meta):
    def __repr__(self) -> str:
        raise KeyError("nameless")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def around_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


#: Made where they are used: each process that tests fork would have a map of them.
HARD: dict[str, Callable[[], Any]] = {
    "a huge integer": lambda: 10**5000,
    "a huge negative integer": lambda: -(10**5000),
    "a repr that raises": Raising,
    "a repr that ends the program": Leaving,
    "a repr that is no text": NoText,
    "a class without a name": Nameless,
    "100,000 levels": lambda: nested(100_000),
    "5 MB of text": lambda: "x" * 5_000_000,
    "5 MB of bytes": lambda: bytes(5_000_000),
    "a repr of 5 MB": Endless,
    "many members": lambda: list(range(100_000)),
    "itself": around_itself,
    "a dict of those": lambda: {"key": [10**5000, Raising()]},
    "control characters": lambda: "\x1b[31m\u202e\n\x9b",
}


@pytest.mark.parametrize("kind", HARD)
def test_every_value_is_shown_in_a_short_line(kind: str) -> None:
    hard = HARD[kind]()
    for value in (hard, [hard], {1: hard}, Plain(hard), Data(hard), Struct(hard)):
        text = shown(value)
        assert 0 < len(text) <= 500
        assert text.isprintable()


SMALL: list[Any] = [1, -5, True, None, 1.5, "text", b"\x00", bytearray(b"a"), "", "é\xa0", range(3), Plain, Route(1, 2)]
SMALL += [[], [1, "a"], (), (1,), (1, 2), {}, {1: {2: [3]}}, set(), {1}, frozenset(), frozenset({1})]
SMALL += [Plain(1), Plain((Plain("a"),)), Data([1]), Struct({"a": 1})]


@pytest.mark.parametrize("value", SMALL, ids=repr)
def test_a_small_value_is_shown_as_python_writes_it(value: object) -> None:
    assert shown(value) == repr(value)


def test_what_is_left_out_of_a_value_is_marked() -> None:
    assert shown(Plain(10**5000)) == "Plain(value=<an integer of 16,610 bits>)"
    assert shown([Raising(), 1]) == "[a value of type Raising that cannot be written out, 1]"
    assert shown(range(3)) == "range(0, 3)"
    assert shown(list(range(1000))).endswith("22, 23, ...]")
    assert shown(nested(9)) == "[[[[[[[...]]]]]]]"
    assert shown("x" * 1000).endswith("xxx...")


REFUSALS: dict[str, Callable[[Queue, Any], Any]] = {
    "register": lambda queue, value: queue.register_sync(Takes, Plain([value, Raising()])),
    "register data": lambda queue, value: queue.register_sync(TakesData, Data([value, Raising()])),
    "register a struct": lambda queue, value: queue.register_sync(TakesStructs, Struct([value, Raising()])),
    "cancel": lambda queue, value: queue.cancel_sync(Takes, Plain([value, Raising()])),
    "a request of another type": lambda queue, value: queue.register_sync(Takes, value),
    "a handler": lambda queue, value: queue.register_sync(value, Plain(1)),
    "a storage": lambda queue, value: Queue(value),
    "recurrent": lambda queue, value: queue.register_sync(Takes, Plain(1), recurrent=[value]),
    "defer": lambda queue, value: queue.register_sync(Takes, Plain(1), defer=[value]),
    "a setting": lambda queue, value: WorkerSettings(batch_size=[value]),  # type: ignore[arg-type]
    "a choice": lambda queue, value: StorageSettings(when_full=value),
    "a capacity": lambda queue, value: SharedStorage.create("x", capacity_bytes=[value]),  # type: ignore[arg-type]
    "a segment": lambda queue, value: SharedStorage.attach(f"{shown(value)} no name"),
    "a target": lambda queue, value: Supervisor([value]),  # type: ignore[arg-type]
    "if running": lambda queue, value: Supervisor("x", if_running=value),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_of_any_value_is_an_error_of_ours_with_a_short_message(refusal: str) -> None:
    queue = Queue(RuntimeStorage())

    for kind, hard in HARD.items():
        with pytest.raises(ShardqError) as caught:
            REFUSALS[refusal](queue, hard())

        message = str(caught.value)
        assert len(message) < 5000, kind
        assert message.isprintable(), kind


@pytest.mark.parametrize("kind", HARD)
async def test_so_is_what_a_worker_is_given(kind: str) -> None:
    worker = Worker(RuntimeLock(), Queue(RuntimeStorage()))
    with pytest.raises(ShardqError):
        await worker.loop(limit=[HARD[kind]()])  # type: ignore[arg-type]
    with pytest.raises(ShardqError):
        await worker.loop(handler=[HARD[kind]()])


@pytest.mark.parametrize("kind", HARD)
async def test_so_is_what_a_route_says(kind: str) -> None:
    class Routed(Takes):
        routes: Any = None

        @classmethod
        def route(cls, *requests: Plain) -> Any:
            return cls.routes

    queue, value = Queue(RuntimeStorage()), [HARD[kind]()]
    for routes in (value, [Route(value)], [Route(0, value)], Raising()):  # type: ignore[arg-type]
        Routed.routes = routes
        with pytest.raises(ShardqError) as caught:
            await queue.register(Routed, Plain(1))
        assert len(str(caught.value)) < 1000


# printable


def test_what_can_be_seen_stays() -> None:
    for text in ("", "plain", "Größe \u4e2d \U0001f600", "a\xa0b\u3000c", "back\\slash \\x1b"):
        assert printable(text) == text


@pytest.mark.parametrize(
    "code", [*range(32), *range(127, 160), 0xAD, 0x200B, 0x200D, 0x202E, 0x2028, 0x2066, 0xFEFF, 0xDCFF]
)
def test_what_would_do_more_than_be_seen_is_escaped(code: int) -> None:
    assert printable(f"a{chr(code)}b").startswith("a\\")
    assert printable(f"a{chr(code)}b").isprintable()
    assert printable(chr(code), keep=chr(code)) == chr(code)
