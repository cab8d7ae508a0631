"""A process that lives is thrown out of an operation before a line; it leaves things as whole as if it had died."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from shardq.shm.processes.guard import PATIENCE_S, Guard
from tests.faults.kit.case import Operation
from tests.faults.kit.drawn import Blow, operations_with
from tests.faults.kit.image import state_of
from tests.faults.kit.operations import operation_named
from tests.faults.kit.outcome import Seen, check_outcome, recorded
from tests.faults.kit.points import Child, ChildFailed, Gate, Step, lines_in, one_of_each_line, striking_at
from tests.faults.kit.scene import WEDGED_S, Scene
from tests.faults.kit.trial import Stage, check_survivor, found_by, problems_at, trials
from tests.support.lean import LeanProcess

SAMPLE = 1
#: They enter the guard where it is free, and where a process that died has it.
ENTRIES = ("append in place", "append behind who died in the guard", "append behind who died with its token")
#: What runs on the way in.
WAY_IN = (
    *("acquire", "_try", "_wait", "_rescue", "_owner_is_dead", "_token_is_lost", "_attempts"),
    "_tried_by_the_living",
)
#: Seconds of napping after which the others count as kept out.
SOON_S = 50 * PATIENCE_S


@pytest.mark.parametrize("operation", operations_with(Blow.EXCEPTION), ids=str)
@pytest.mark.timeout(1800)
def test_exception_at_any_line_leaves_all_or_nothing(
    operation: Operation, random: Random, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    count, failed = lean.call(trials, operation, None if everything else SAMPLE, random, problems_after)
    tried("exceptions", count)
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("name", ENTRIES)
def test_who_is_thrown_out_on_its_way_into_the_guard_keeps_no_other_out(
    name: str, random: Random, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    """Though it lives, and does nothing more."""
    count, failed = lean.call(trials_on_the_way_in, operation_named(name), random)
    tried("exceptions", count)
    assert not failed, "\n".join(failed)


def trials_on_the_way_in(operation: Operation, random: Random) -> tuple[int, list[str]]:
    steps = one_of_each_line(lines_in(recorded(operation), Guard, *WAY_IN), random)
    return len(steps), list(problems_at(operation, steps, problems_of_others))


def problems_after(stage: Stage, step: Step) -> list[str]:
    """What is wrong after the process was thrown out at this step, and has entered once since."""
    return _problems(stage, step, lambda there: there.store.inspection.counts())


def problems_of_others(stage: Stage, step: Step) -> list[str]:
    """What is wrong for other processes after this one was thrown out, and did nothing more."""
    return _problems(stage, step, lambda there: None)


def _problems(stage: Stage, step: Step, then: Callable[[Scene], object]) -> list[str]:
    operation = stage.operation

    def trial(there: Scene, before: Seen) -> list[str]:
        gate = Gate()
        child = Child(lambda: thrown_out(operation, there, step, gate, then))
        try:
            gate.reached()
        except ChildFailed:
            child.kill()
            raise
        state = state_of(there.store.segment)
        known, problems = stage.is_good(state), list[str]()
        if not known:
            # The child lives, and holds its slot and its claims.
            problems += stage.problems(lambda: check_soon(operation, before, there))
        gate.open()
        child.end()
        if not known and not problems:
            problems += stage.problems(lambda: check_survivor(operation, before, there, check_outcome), state)
        return problems

    return found_by(stage, trial)


def check_soon(operation: Operation, before: Seen, there: Scene) -> None:
    there.naps.left_s = SOON_S
    check_outcome(operation, before, there)
    there.naps.left_s = WEDGED_S


def thrown_out(operation: Operation, there: Scene, step: Step, gate: Gate, then: Callable[[Scene], object]) -> None:
    try:
        striking_at(step, lambda: operation.readied(there), lambda: operation.act(there), interrupt)()
    except KeyboardInterrupt:
        then(there)
    gate.wait()


def interrupt() -> None:
    raise KeyboardInterrupt
