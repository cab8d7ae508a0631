"""A process is killed before each line of each operation; the others find everything whole."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.faults.kit.case import Operation
from tests.faults.kit.operations import OPERATIONS
from tests.faults.kit.outcome import Seen, check_done, seen
from tests.faults.kit.points import Line, Step, die_at, lines_of
from tests.faults.kit.scene import Scene
from tests.faults.kit.trial import Stage, check_survivor, problems_of, trials_at
from tests.support.engines import needs_c, using
from tests.support.lean import LeanProcess

#: Lines of one operation that a sampled run dies at.
SAMPLE = 1
#: Where there is the core in C, Python makes the tubes that are new, and the core fills them in another section.
MADE_FIRST = (
    "append to a new thread",
    "append to a new thread with a sleeper",
    "append to another priority",
    "append a call",
    "append a call behind others to sleepers",
    "append a call, refused half-way",
    "append a call for which threads are given up",
)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.timeout(1800)
def test_an_operation_has_its_effect_and_death_at_any_line_of_it_leaves_all_or_nothing(
    operation: Operation, random: Random, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    count, failed = lean.call(deaths, operation, None if everything else SAMPLE, random)
    tried("kill points", count)
    assert not failed, f"{len(failed)} of {count} deaths\n" + "\n".join(failed)


@needs_c
@pytest.mark.parametrize("name", MADE_FIRST)
@pytest.mark.timeout(1800)
def test_death_between_making_tubes_and_filling_them_leaves_all_or_nothing(
    name: str, random: Random, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    count, failed = lean.call(deaths_beside_the_core, name, None if everything else 2 * SAMPLE, random)
    tried("kill points", count)
    assert not failed, f"{len(failed)} of {count} deaths\n" + "\n".join(failed)


def deaths_beside_the_core(name: str, most: int | None, random: Random) -> tuple[int, list[str]]:
    """As `deaths`, at the lines of Python that are left where the core does the frequent case."""
    with using("c"):
        return deaths(next(its for its in OPERATIONS if its.name == name), most, random)


def deaths(operation: Operation, most: int | None, random: Random) -> tuple[int, list[str]]:
    """At how many lines a process died, and what was wrong then. Raises `AssertionError` where something is wrong even
    without a death.
    """
    return trials_at(lines_when_undisturbed(operation), operation, most, random, problems_after)


def lines_when_undisturbed(operation: Operation) -> list[Line]:
    """Every line of the operation, from a run of it that nothing cut off and that had its effect."""
    there = operation.scene()
    try:
        before = seen(there)
        lines = lines_of(lambda: operation.readied(there), lambda: operation.act(there))
        check_survivor(operation, before, there, check_done)
    finally:
        there.end()
    return lines


def problems_after(stage: Stage, step: Step) -> list[str]:
    """What the survivor finds wrong after a death at this step."""
    operation = stage.operation

    def die(there: Scene, before: Seen) -> None:
        die_at(step, lambda: operation.readied(there), lambda: operation.act(there))

    return problems_of(stage, die)
