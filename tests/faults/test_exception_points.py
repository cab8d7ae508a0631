"""A process that lives is thrown out of an operation before a line; it leaves things as whole as if it had died."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.faults.kit.case import Operation
from tests.faults.kit.image import state_of
from tests.faults.kit.operations import OPERATIONS
from tests.faults.kit.outcome import Seen, check_outcome
from tests.faults.kit.points import Child, Gate, Step, striking_at
from tests.faults.kit.scene import Scene
from tests.faults.kit.trial import Stage, check_survivor, found_by, trials
from tests.support.lean import LeanProcess

SAMPLE = 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.timeout(1800)
def test_exception_at_any_line_leaves_all_or_nothing(
    operation: Operation, random: Random, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    count, failed = lean.call(trials, operation, None if everything else SAMPLE, random, problems_after)
    tried("exceptions", count)
    assert not failed, "\n".join(failed)


def problems_after(stage: Stage, step: Step) -> list[str]:
    operation = stage.operation

    def trial(there: Scene, before: Seen) -> list[str]:
        gate = Gate()
        child = Child(lambda: thrown_out(operation, there, step, gate))
        gate.reached()
        state = state_of(there.store.segment)
        known, problems = stage.is_good(state), list[str]()
        if not known:
            # The child lives, holds its slot and its claims, and has entered once since.
            problems += stage.problems(lambda: check_outcome(operation, before, there))
        gate.open()
        child.end()
        if not known and not problems:
            problems += stage.problems(lambda: check_survivor(operation, before, there, check_outcome), state)
        return problems

    return found_by(stage, trial)


def thrown_out(operation: Operation, there: Scene, step: Step, gate: Gate) -> None:
    try:
        striking_at(step, lambda: operation.readied(there), lambda: operation.act(there), interrupt)()
    except KeyboardInterrupt:
        there.store.inspection.counts()
    gate.wait()


def interrupt() -> None:
    raise KeyboardInterrupt
