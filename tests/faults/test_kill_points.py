"""A process is killed before each line of each operation; the others find everything whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.faults.kit.case import Operation
from tests.faults.kit.operations import OPERATIONS
from tests.faults.kit.outcome import check_counted, check_done, check_outcome, recorded, seen
from tests.faults.kit.points import Child, Step, die_at, one_of_each_line, sample
from tests.faults.kit.scene import Scene, check_usable, check_whole

#: Lines of one operation that a sampled run dies at.
SAMPLE = 2


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.timeout(1800)
def test_death_at_any_line_leaves_all_or_nothing(
    operation: Operation, random: Random, everything: bool, tried: Callable[[str, int], None]
) -> None:
    steps = one_of_each_line(recorded(operation), random)
    chosen = steps if everything else sample(steps, SAMPLE, random)
    failed = [f"{step}: {problem}" for step in chosen for problem in problems_after(operation, step)]
    tried("kill points", len(chosen))
    assert not failed, f"{len(failed)} of {len(chosen)} deaths\n" + "\n".join(failed)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_undisturbed_operation_has_its_effect(operation: Operation) -> None:
    there = operation.scene()
    try:
        before = seen(there)
        Child(lambda: act(operation, there)).end()
        check_whole(there.store)
        check_done(operation, before, there)
        check_counted(operation, before, there)
        check_usable(there, operation.keys)
    finally:
        there.end()


def act(operation: Operation, there: Scene) -> None:
    operation.readied(there)
    operation.act(there)


def problems_after(operation: Operation, step: Step) -> Iterator[str]:
    """What the survivor finds wrong after a death at this step."""
    there = operation.scene()
    try:
        before = seen(there)
        die_at(step, lambda: operation.readied(there), lambda: operation.act(there))
        check_whole(there.store)
        check_outcome(operation, before, there)
        check_counted(operation, before, there)
        check_usable(there, operation.keys)
    except Exception as problem:
        yield f"{type(problem).__name__}: {problem}"
    finally:
        there.end()
