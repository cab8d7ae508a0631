"""Trials of an operation whose sections the core in C does: it is cut off after machine instructions of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from shardq.shm import words as at_word
from tests.faults.kit.case import Operation
from tests.faults.kit.outcome import Seen
from tests.faults.kit.scene import Scene
from tests.faults.kit.trial import problems_of, staged
from tests.faults.machine.operations import BY_THE_CORE, MEETING
from tests.faults.machine.sections import files_of, marks, teach
from tests.faults.machine.stepping import Stepper
from tests.support.compiled_core import use
from tests.support.engines import using

#: Moments of one operation at which a sampled run dies.
SAMPLE = 6


class Moment(NamedTuple):
    """When to die: after so many instructions of the sections."""

    instructions: int
    own: bool
    """Whether those of other libraries are left out."""

    def __str__(self) -> str:
        return f"after {self.instructions} instructions{' of the core' if self.own else ''}"


class Sections(NamedTuple):
    """What the core does of an operation."""

    instructions: int
    changes: list[Moment]
    """After these, another process would find something else than before."""


class Tried(NamedTuple):
    """What came of the trials."""

    count: int
    failed: list[str]
    last: Moment
    """Of the last trial."""


#: Chooses the moments at which the operation is cut off.
Choose = Callable[[Sections, Random], Sequence[Moment]]


def every(sections: Sections, random: Random) -> Sequence[Moment]:
    """After each instruction, and before the first."""
    return [Moment(count, own=False) for count in range(sections.instructions + 1)]


def each_change(sections: Sections, random: Random) -> Sequence[Moment]:
    """After those that change something."""
    return sections.changes


def some_changes(sections: Sections, random: Random) -> Sequence[Moment]:
    """A few of those."""
    return random.sample(sections.changes, min(SAMPLE, len(sections.changes)))


def at(moment: Moment) -> Choose:
    """At this one alone."""
    return partial(_only, moment)


def cut_off(
    name: str, choose: Choose, random: Random, directory: Path, library: Path | None = None, until: str | None = None
) -> Tried:
    """Cut this operation off where `choose` says. `library`: of another core than the installed one. `until`: no
    further than to a problem that says so.
    """
    if library:
        use(library)
    operation, stepper = BY_THE_CORE[name], Stepper.build(directory)
    failed, tried = list[str](), list[Moment]()
    with using("c"):
        sections = _sections(operation, stepper)
        assert sections.instructions, "the core does nothing of it"
        chosen = choose(sections, random)
        with staged(operation, len(chosen)) as stage:
            for moment in chosen:
                tried.append(moment)
                problems = problems_of(stage, _dying(operation, stepper, moment))
                failed += [f"{moment}: {problem}" for problem in problems]
                if until is not None and any(until in problem for problem in problems):
                    break
    return Tried(len(tried), failed, tried[-1])


def _only(moment: Moment, sections: Sections, random: Random) -> Sequence[Moment]:
    return [moment]


def _dying(operation: Operation, stepper: Stepper, moment: Moment) -> Callable[[Scene, Seen], object]:
    def die(there: Scene, before: Seen) -> None:
        here = marks().own if moment.own else marks()
        stepper.kill_after(moment.instructions, here, lambda: _readied(operation, there), lambda: operation.act(there))
        segment = there.store.segment
        # Who finds both would take the token for that of the dead, beside a process that has just taken it.
        is_held = segment.words[at_word.GUARD_OWNER] != 0
        assert not (is_held and segment.semaphore.value), "a token is free, and an owner stands"

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
        changes = stepper.changes(files_of(there), marks().own, ready, act)
    finally:
        there.end()
    return Sections(count, [Moment(instructions, own=True) for instructions in changes])


def _readied(operation: Operation, there: Scene) -> None:
    operation.readied(there)
    teach(there.store, threads=operation.name not in MEETING)
