"""One case of the matrix: what is there before, what a process does to it, and what may be there after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.kit.scene import KEY, MIB, PIPE, Contents, Scene

URGENT = "app/Job/1/9"
BATCH = [b"one", b"two", b"three"]
Effect = Callable[[Contents], Contents]


def _nothing(there: Scene) -> None:
    pass


def _same(before: Contents) -> Contents:
    return before


def _none(before: Contents) -> list[Contents]:
    return []


@dataclass(frozen=True)
class Operation:
    """One thing a process does to a segment."""

    name: str
    act: Callable[[Scene], object]
    """What it does, in the child, and may die in."""
    prepare: Callable[[Scene], object] = _nothing
    """What the survivor does before."""
    ready: Callable[[Scene], object] = _nothing
    """What the child does before, undisturbed; it is attached already."""
    effect: Effect = _same
    """What is in the tubes and graves after, given what was there before."""
    piecemeal: bool = False
    """Whether it may also be cut off in between: some of what it takes out is gone, some is not."""
    midways: Callable[[Contents], list[Contents]] = _none
    """What else it may be cut off at."""
    counted: tuple[int, ...] = (0, 1)
    """How many failures more the message at the head of `PIPE` may have in the end, if it is still there. Of other
    tubes, and of a message that came to the head, it is 0 or 1."""
    check: Callable[[Scene], object] = _nothing
    """What else holds in the end, however it ended; the segment is whole."""
    attached: bool = True
    """Whether the child has its slot before it acts; otherwise attaching is part of the act."""
    capacity_bytes: int = MIB
    threads: int | None = 16
    keys: tuple[str, ...] = field(default=(KEY,))
    """Threads that must be claimable after."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-").replace(",", "")

    def scene(self) -> Scene:
        there = Scene(self.capacity_bytes, self.threads)
        try:
            self.prepare(there)
        except BaseException:
            there.end()
            raise
        return there

    def readied(self, there: Scene) -> None:
        if self.attached:
            there.store.inspection.counts()
        self.ready(there)


def plus(*messages: bytes, pipe: str = PIPE) -> Effect:
    return lambda before: {**before, pipe: [*before.get(pipe, []), *messages]}


def without(*messages: bytes) -> Effect:
    return lambda before: _left({pipe: [m for m in held if m not in messages] for pipe, held in before.items()})


def minus(count: int, pipe: str = PIPE) -> Effect:
    return lambda before: _left({**before, pipe: before[pipe][count:]})


def one_after_another(*effects: Effect) -> Effect:
    def effect(contents: Contents) -> Contents:
        for each in effects:
            contents = each(contents)
        return contents

    return effect


def _left(contents: Contents) -> Contents:
    return {pipe: messages for pipe, messages in contents.items() if messages}
