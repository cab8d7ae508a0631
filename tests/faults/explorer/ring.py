"""The ring of actions with its real code: processes that record, and one that looks without the guard, in any order.

Each word that is read or stored is a step, and a copy of bytes is two: its halves may come before and after what others
do. The process that records is alone, as the guard sees to it, until it has recorded or is dead.
"""

from __future__ import annotations

from typing import Any

from shardq.shm import words as at
from shardq.shm.actions import Actions, Told
from shardq.shm.layout import Layout
from tests.faults.explorer.worlds import Plan, Process, Violation, World

#: A layout in which two actions are remembered.
LAYOUT = Layout.sized(64 << 10, threads=4, slots=2)


class _Memory:
    """What all processes share."""

    def __init__(self) -> None:
        self.bytes = bytearray(LAYOUT.fixed_bytes)
        self.words = memoryview(self.bytes).cast("Q")
        self.inside: Process | None = None
        """The process that has the guard."""


class _Words:
    def __init__(self, memory: _Memory, process: Process) -> None:
        self._memory = memory
        self._process = process

    def __getitem__(self, word: int) -> int:
        self._process.step(f"reads word {word}")
        return self._memory.words[word]

    def __setitem__(self, word: int, value: int) -> None:
        self._process.step(f"stores word {word}")
        self._memory.words[word] = value


class _Bytes:
    """Copied in two halves."""

    def __init__(self, memory: _Memory, process: Process) -> None:
        self._memory = memory
        self._process = process

    def __getitem__(self, place: slice) -> bytes:
        return b"".join(bytes(self._memory.bytes[half]) for half in self._halves(place))

    def __setitem__(self, place: slice, data: bytes) -> None:
        for half in self._halves(place):
            self._memory.bytes[half] = data[half.start - place.start : half.stop - place.start]

    def _halves(self, place: slice) -> Any:
        middle = (place.start + place.stop) // 2
        for half in (slice(place.start, middle), slice(middle, place.stop)):
            self._process.step(f"copies bytes {half.start} to {half.stop}")
            yield half


class _Segment:
    name, layout = "world", LAYOUT

    def __init__(self, memory: _Memory, process: Process) -> None:
        self.words, self.bytes = _Words(memory, process), _Bytes(memory, process)


class _Free:
    """In place of a process before the world begins: its steps are no events."""

    def step(self, what: str) -> None: ...


def ring(recorders: int, before: int, plan: Plan) -> World:
    """A process looks until others are done, so many, which record an action each, after those that were there before.
    Raises `Violation` where it sees what was never recorded, or less than there is.
    """
    world, memory = World(plan), _Memory()
    for _ in range(before):
        _add(memory, _Free())  # type: ignore[arg-type]
    world.add(lambda process: _look(memory, process, before))
    for _ in range(recorders):
        world.add(lambda process: _record(memory, process))
    world.run()
    world.visit(lambda process: _check(_actions(memory, process).last(LAYOUT.actions), before))
    return world


def told(number: int) -> bytes:
    """What is recorded as the action of that number. Each has a length of its own."""
    return bytes([number]) * (number * 4)


def _actions(memory: _Memory, process: Process) -> Actions:
    return Actions(_Segment(memory, process))  # type: ignore[arg-type]


def _add(memory: _Memory, process: Process) -> None:
    number = memory.words[at.ACTIONS] + 1
    _actions(memory, process).add(number, told(number))


def _record(memory: _Memory, process: Process) -> None:
    while memory.inside and memory.inside.alive:
        process.nap()
    memory.inside = process
    _add(memory, process)
    memory.inside = None
    process.world.progress()


def _look(memory: _Memory, process: Process, least: int) -> None:
    while True:
        over = not any(its.running and its.alive for its in process.world.processes if its is not process)
        found = _actions(memory, process).seen(LAYOUT.actions)
        if found is not None:
            least = _check(found, least)
        if over:
            return
        process.nap()


def _check(found: list[Told], least: int) -> int:
    """Returns the number of the last one."""
    last = found[0].number if found else 0
    if [its.number for its in found] != [*range(last, max(0, last - LAYOUT.actions), -1)] or last < least:
        raise Violation(f"there are {[its.number for its in found]}, and {least} were recorded")
    for its in found:
        if (its.at_us, its.told) != (its.number, told(its.number)):
            raise Violation(f"action {its.number} is {its.at_us}, {its.told!r}")
    return last
