"""Trials of an operation whose sections the core in C does: it is cut off after machine instructions of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.faults.kit.case import Operation
from tests.faults.kit.outcome import Seen
from tests.faults.kit.scene import Scene
from tests.faults.kit.trial import problems_of, staged
from tests.faults.machine.operations import BY_THE_CORE
from tests.faults.machine.sections import files_of, marks, teach, use
from tests.faults.machine.stepping import Stepper
from tests.support.engines import using


class Sections(NamedTuple):
    """What the core does of an operation."""

    instructions: int
    changes: list[int]
    """After which of them another process would find something else than after the one before."""


class Tried(NamedTuple):
    """What came of the trials."""

    count: int
    failed: list[str]


#: Chooses the instructions after which the operation is cut off.
Choose = Callable[[Sections, Random], Sequence[int]]


def every(sections: Sections, random: Random) -> Sequence[int]:
    """After each of them, and before the first."""
    return range(sections.instructions + 1)


def each_change(sections: Sections, random: Random) -> Sequence[int]:
    """After those that change something."""
    return sections.changes


def some_changes(sections: Sections, random: Random) -> Sequence[int]:
    """A few of those."""
    return random.sample(sections.changes, min(8, len(sections.changes)))


def cut_off(name: str, choose: Choose, random: Random, directory: Path, library: Path | None = None) -> Tried:
    """Cut this operation off where `choose` says. `library`: of another core than the installed one."""
    if library:
        use(library)
    operation, stepper = BY_THE_CORE[name], Stepper.build(directory)
    with using("c"):
        sections = _sections(operation, stepper)
        assert sections.instructions, "the core does nothing of it"
        chosen = choose(sections, random)
        with staged(operation, len(chosen)) as stage:
            failed = list[str]()
            for count in chosen:
                problems = problems_of(stage, _dying(operation, stepper, count))
                failed += [f"after {count} of {sections.instructions} instructions: {each}" for each in problems]
    return Tried(len(chosen), failed)


def _dying(operation: Operation, stepper: Stepper, count: int) -> Callable[[Scene, Seen], object]:
    def die(there: Scene, before: Seen) -> None:
        stepper.kill_after(count, marks(), lambda: _readied(operation, there), lambda: operation.act(there))

    return die


def _sections(operation: Operation, stepper: Stepper) -> Sections:
    def ready() -> None:
        _readied(operation, there)

    def act() -> None:
        operation.act(there)

    there = operation.scene()
    try:
        count = stepper.count(marks(), ready, act)
    finally:
        there.end()
    there = operation.scene()
    try:
        return Sections(count, stepper.changes(files_of(there), marks(), ready, act))
    finally:
        there.end()


def _readied(operation: Operation, there: Scene) -> None:
    operation.readied(there)
    teach(there)
