"""A process is killed before each line of each operation; the others find everything whole."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.faults.kit.case import Operation
from tests.faults.kit.operations import OPERATIONS
from tests.faults.kit.outcome import Seen, check_done, seen
from tests.faults.kit.points import Child, Step, die_at
from tests.faults.kit.scene import Scene
from tests.faults.kit.trial import Stage, check_survivor, problems_of, trials
from tests.support.lean import LeanProcess

#: Lines of one operation that a sampled run dies at.
SAMPLE = 2


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.timeout(1800)
def test_death_at_any_line_leaves_all_or_nothing(
    operation: Operation, random: Random, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    count, failed = lean.call(trials, operation, None if everything else SAMPLE, random, problems_after)
    tried("kill points", count)
    assert not failed, f"{len(failed)} of {count} deaths\n" + "\n".join(failed)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_undisturbed_operation_has_its_effect(operation: Operation, lean: LeanProcess) -> None:
    lean.call(do_undisturbed, operation)


def do_undisturbed(operation: Operation) -> None:
    there = operation.scene()
    try:
        before = seen(there)
        Child(lambda: act(operation, there)).end()
        check_survivor(operation, before, there, check_done)
    finally:
        there.end()


def act(operation: Operation, there: Scene) -> None:
    operation.readied(there)
    operation.act(there)


def problems_after(stage: Stage, step: Step) -> list[str]:
    """What the survivor finds wrong after a death at this step."""
    operation = stage.operation

    def die(there: Scene, before: Seen) -> None:
        die_at(step, lambda: operation.readied(there), lambda: operation.act(there))

    return problems_of(stage, die)
