"""Exceptions whose own code does harm to the process that shows them, and handlers that raise them."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from shardq import Handler, Retry, Route

#: The folder of `Malign`, for a supervisor that was started with this in its environment.
FOLDER = "TESTS_MALIGN_FOLDER"


class NoAttributes(Exception):
    """The common slip: `__getattr__` that looks into a dict."""

    def __getattr__(self, name: str) -> Any:
        return {}[name]


class NothingAtAll(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise KeyError(name)


def _raising(error: type[BaseException]) -> property:
    def get(self: Any) -> NoReturn:
        raise error("out of order")

    return property(get)


class BadNotes(Exception):
    __notes__ = _raising(ValueError)  # type: ignore[assignment]


class BadCause(Exception):
    __cause__ = _raising(ValueError)  # type: ignore[assignment]


class BadContext(Exception):
    __context__ = _raising(ValueError)  # type: ignore[assignment]


class BadTraceback(Exception):
    __traceback__ = _raising(ValueError)  # type: ignore[assignment]


class BadClass(Exception):
    __class__ = _raising(KeyError)  # type: ignore[assignment]


class BadDict(Exception):
    __dict__ = _raising(KeyError)  # type: ignore[assignment]


class BadSetting(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise KeyError(name)


class _Meta(type):
    """Says nothing of its classes."""

    def __getattribute__(cls, name: str) -> Any:
        raise KeyError(name)

    def __str__(cls) -> str:
        raise KeyError("no name")

    __repr__ = __str__


class BadMeta(Exception, metaclass=_Meta):
    """Its class does not tell its name."""


class NotText(Exception):
    def __str__(self) -> Any:
        return 5


class _Text(str):
    __slots__ = ()

    def _refuse(self, *arguments: Any, **options: Any) -> NoReturn:
        raise KeyError("no text")

    __getitem__ = __len__ = __str__ = __format__ = encode = strip = isprintable = __iter__ = _refuse  # type: ignore


class BadText(Exception):
    def __str__(self) -> str:
        return _Text("bad text")


def speaking(raised: Callable[[], BaseException]) -> Callable[[], BaseException]:
    """An exception that raises this when it is asked for its text."""

    class Raising(Exception):
        def __str__(self) -> str:
            raise raised()

        __repr__ = __str__

    return Raising


class Recursive(Exception):
    def __str__(self) -> str:
        return str(self)


class Greedy(Exception):
    def __str__(self) -> str:
        return "x" * (1 << 62)


def _syntax_of_bytes() -> BaseException:
    error = SyntaxError("bad")
    error.text = b"\xff = ="  # type: ignore[assignment]
    error.lineno, error.offset, error.filename = 1, "far", 7  # type: ignore[assignment]
    return error


def _chain(count: int) -> BaseException:
    last = ValueError(0)
    for number in range(1, count):
        last, former = ValueError(number), last
        last.__cause__ = former
    return last


def _ring() -> BaseException:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__context__ = other, one
    return one


def _deep_group() -> BaseException:
    group = ExceptionGroup("the deepest", [ValueError()])
    for _ in range(5000):
        group = ExceptionGroup("deep", [group, ValueError()])
    return group


def _with_notes(notes: Any) -> BaseException:
    error = ValueError("noted")
    error.__notes__ = notes
    return error


def _deep_traceback() -> BaseException:
    code = compile("def dig(n):\n    if n: dig(n - 1)\n    else: 1 / 0\n", "/dev/zero", "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    try:
        space["dig"](300)
    except ZeroDivisionError as error:
        return error
    raise AssertionError("zero divides")


def _hostile_names() -> BaseException:
    return type("\x1b[31mRed\n", (ValueError,), {"__module__": 5})("\x1b]0;title\x07 \u202e\u2028\x9b31m\udcff")


#: Each by its name.
MALIGN: dict[str, Callable[[], BaseException]] = {
    "no attributes": NoAttributes,
    "nothing at all": NothingAtAll,
    "notes": BadNotes,
    "cause": BadCause,
    "context": BadContext,
    "traceback": BadTraceback,
    "class": BadClass,
    "dict": BadDict,
    "setting": BadSetting,
    "metaclass": BadMeta,
    "not text": NotText,
    "a text of its own": BadText,
    "raises": speaking(lambda: ValueError("no words")),
    "interrupts": speaking(KeyboardInterrupt),
    "exits": speaking(lambda: SystemExit(0)),
    "ends a generator": speaking(GeneratorExit),
    "stops an iteration": speaking(StopIteration),
    "cancels": speaking(asyncio.CancelledError),
    "has no memory": speaking(MemoryError),
    "raises itself": speaking(lambda: MALIGN["raises itself"]()),
    "recursive": Recursive,
    "greedy": Greedy,
    "syntax of bytes": _syntax_of_bytes,
    "30 MB": lambda: ValueError("x" * 30_000_000),
    "many arguments": lambda: ValueError(*range(500_000)),
    "a key of 30 MB": lambda: KeyError("x" * 30_000_000),
    "a chain of 20,000": lambda: _chain(20_000),
    "a ring": _ring,
    "a group of 100,000": lambda: ExceptionGroup("many", [ValueError(n) for n in range(100_000)]),
    "a deep group": _deep_group,
    "a group of malign ones": lambda: ExceptionGroup("bad", [NoAttributes(), BadText(), BadNotes()]),
    "notes of no text": lambda: _with_notes([5, NotText(), "fine"]),
    "notes that are none": lambda: _with_notes(NotText()),
    "100,000 notes": lambda: _with_notes(["note"] * 100_000),
    "source that never ends": _deep_traceback,
    "hostile names": _hostile_names,
}


def _sleeps() -> str:
    time.sleep(3600)
    return "awake"


def _spins() -> str:
    for _ in itertools.count():
        pass
    return "done"


class Slow(Exception):
    """Takes for ever to say what it is."""

    def __init__(self, say: Callable[[], str]) -> None:
        super().__init__(say)
        self.say = say

    def __str__(self) -> str:
        return self.say()


def _slow_chain() -> BaseException:
    last: BaseException = Slow(_sleeps)
    for _ in range(20):
        last, former = Slow(_sleeps), last
        last.__cause__ = former
    return last


#: These can only be ended where a worker can interrupt code.
SLOW: dict[str, Callable[[], BaseException]] = {
    "sleeps": lambda: Slow(_sleeps),
    "spins": lambda: Slow(_spins),
    "a chain of those": _slow_chain,
}


class Ask(NamedTuple):
    number: int
    how: str = ""


class Malign(Handler[Ask]):
    """Each request in a thread of its own. What it did stands in the file `done` of the folder."""

    retry = Retry(max_attempts=2, backoff_s=0.01)
    batch_size = 1

    @classmethod
    def route(cls, *asks: Ask) -> list[Route]:
        return [Route(ask.number) for ask in asks]

    def perform(self, ask: Ask) -> None:
        if ask.how:
            raise (MALIGN | SLOW)[ask.how]()
        with Path(os.environ[FOLDER], "done").open("a") as done:
            done.write(f"{ask.number}\n")
