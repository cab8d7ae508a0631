"""A process is stopped before a line, for longer than others wait, and then goes on: no other process robbed it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from shardq.shm import words as at
from shardq.shm.processes.guard import PATIENCE_S
from tests.faults.kit.case import Operation
from tests.faults.kit.drawn import Blow, operations_with
from tests.faults.kit.image import state_of
from tests.faults.kit.outcome import Seen, check_done
from tests.faults.kit.points import Child, Step, stopping_at
from tests.faults.kit.scene import WEDGED_S, Scene, Wedged, settle
from tests.faults.kit.trial import Stage, check_survivor, found_by, trials
from tests.support.lean import LeanProcess

SAMPLE = 1


@pytest.mark.parametrize("operation", operations_with(Blow.STOP), ids=str)
@pytest.mark.timeout(1800)
def test_who_is_stopped_at_any_line_finds_its_place_again(
    operation: Operation, random: Random, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    count, failed = lean.call(trials, operation, None if everything else SAMPLE, random, problems_after)
    tried("stops", count)
    assert not failed, "\n".join(failed)


def problems_after(stage: Stage, step: Step) -> list[str]:
    """Here the process that looks forks the one that is stopped: it looks at it twice."""
    operation = stage.operation

    def trial(there: Scene, before: Seen) -> list[str]:
        def check() -> list[str]:
            child, states = Child(stopping_at(step, lambda: operation.readied(there), lambda: operation.act(there))), []
            if child.stopped():
                states.append(state_of(there.store.segment))
                check_not_robbed(there)
                child.resume()
            child.end()
            states.append(state_of(there.store.segment))
            if not stage.is_good(*states):
                check_survivor(operation, before, there, check_done)
            return states

        return stage.problems(check)

    return found_by(stage, trial)


def check_not_robbed(there: Scene) -> None:
    """With one process stopped the survivor either gets in, or is kept out and changes nothing."""
    owner = there.store.segment.words[at.GUARD_OWNER]
    there.naps.left_s = 3 * PATIENCE_S
    try:
        settle(there.store)
    except Wedged:
        assert there.store.segment.words[at.GUARD_OWNER] == owner, "the owner of the guard was robbed"
    else:
        assert not there.store._slots.alive(owner), "two inside the guard"
    finally:
        there.naps.left_s = WEDGED_S
