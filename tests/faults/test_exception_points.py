"""A process that lives is thrown out of an operation before a line; it leaves things as whole as if it had died."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.faults.kit.case import Operation
from tests.faults.kit.operations import OPERATIONS
from tests.faults.kit.outcome import check_counted, check_outcome, recorded, seen
from tests.faults.kit.points import Child, Gate, Step, one_of_each_line, sample, striking_at
from tests.faults.kit.scene import Scene, check_usable, check_whole

SAMPLE = 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.timeout(1800)
def test_exception_at_any_line_leaves_all_or_nothing(
    operation: Operation, random: Random, everything: bool, tried: Callable[[str, int], None]
) -> None:
    steps = one_of_each_line(recorded(operation), random)
    chosen = steps if everything else sample(steps, SAMPLE, random)
    failed = [f"{step}: {problem}" for step in chosen for problem in problems_after(operation, step)]
    tried("exceptions", len(chosen))
    assert not failed, "\n".join(failed)


def problems_after(operation: Operation, step: Step) -> Iterator[str]:
    there = operation.scene()
    gate = Gate()
    try:
        before = seen(there)
        child = Child(lambda: thrown_out(operation, there, step, gate))
        gate.reached()
        # The child lives, holds its slot and its claims, and has entered once since.
        check_outcome(operation, before, there)
        gate.open()
        child.end()
        check_whole(there.store)
        check_outcome(operation, before, there)
        check_counted(operation, before, there)
        check_usable(there, operation.keys)
    except Exception as problem:
        yield f"{type(problem).__name__}: {problem}"
    finally:
        there.end()


def thrown_out(operation: Operation, there: Scene, step: Step, gate: Gate) -> None:
    try:
        striking_at(step, lambda: operation.readied(there), lambda: operation.act(there), interrupt)()
    except KeyboardInterrupt:
        there.store.inspection.counts()
    gate.wait()


def interrupt() -> None:
    raise KeyboardInterrupt
