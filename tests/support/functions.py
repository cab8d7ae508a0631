"""Functions that tests map over items in the workers of a family."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.tasks import LIMIT_S


class Rectangle(NamedTuple):
    width: int
    height: int


@dataclass
class Shape:
    area: float
    corners: tuple[Rectangle, ...]
    names: set[str]


def double(number: int) -> int:
    return 2 * number


def touch(path: Path) -> bool:
    path.touch()
    return True


def half(number: float) -> float:
    return number / 2


def shape(rectangle: Rectangle) -> Shape:
    assert type(rectangle) is Rectangle
    return Shape(rectangle.width * rectangle.height, (rectangle,), {"a", "b"})


def stem(path: Path) -> Path:
    return Path(path.stem)


def plain(value):  # type: ignore[no-untyped-def]
    return value


def nothing(number: int) -> None:
    """Returns nothing."""


def large(size: int) -> bytes:
    return bytes(size)


def odd_result(number: int) -> int:
    return "text" if number == 3 else number  # type: ignore[return-value]


def pair(number: int) -> Any:
    return number, number


async def later(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


_meetings: dict[int, asyncio.Barrier] = {}


async def meet(parties: int) -> int:
    """Returns once so many calls are under way in this process."""
    barrier = _meetings.setdefault(parties, asyncio.Barrier(parties))
    async with asyncio.timeout(LIMIT_S):
        await barrier.wait()
    return os.getpid()


def meet_others(folder: Path) -> int:
    """Returns once two processes are in it at the same time."""
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + LIMIT_S
    while len(os.listdir(folder)) < 2:
        assert time.monotonic() < deadline, "no other worker had an item"
        time.sleep(0.001)
    return os.getpid()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.001)


class Case(NamedTuple):
    number: int
    folder: Path


def noted(case: Case) -> int:
    """Notes each call."""
    with (case.folder / str(case.number)).open("a") as file:
        file.write("x")
    return case.number


def picky(case: Case) -> int:
    """Notes each call, and raises for 5."""
    noted(case)
    if case.number == 5:
        raise ValueError("no fives")
    return case.number


async def picky_later(case: Case) -> int:
    return picky(case)


def deadly(case: Case) -> int:
    """Kills its worker with item 5, so often as the folder says."""
    if case.number == 5 and len(os.listdir(case.folder)) < int((case.folder / "times").read_text()):
        (case.folder / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return case.number


def forks(case: Case) -> int:
    """Notes each call, and in two of them forks a process, which ends."""
    if case.number in (1003, 1009):
        pid = os.fork()
        if not pid:
            sys.exit()
        os.waitpid(pid, 0)
    return noted(case)


async def forks_later(case: Case) -> int:
    return forks(case)


def numbers(number: int) -> Iterator[int]:
    yield number


def two(one: int, other: int) -> int:
    return one + other


def none() -> int:
    return 0


def opaque(value: Iterator[int]) -> int:
    return next(value)


def unresolved(value: Missing) -> int:  # type: ignore[name-defined]  # noqa: F821
    return 1


class Machine:
    def run(self, number: int) -> int:
        return number

    @staticmethod
    def turn(number: int) -> int:
        return -number

    @classmethod
    def name(cls, number: int) -> str:
        return f"{cls.__name__} {number}"


machine = Machine()
add_one = partial(two, 1)
unnamed = lambda number: number  # noqa: E731


def nested() -> Any:
    def inner(number: int) -> int:
        return number

    return inner
