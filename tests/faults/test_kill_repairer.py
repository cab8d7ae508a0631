"""The process that mends after a death is killed too, before each line of the mending; the next one finishes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import shardq
from shardq.shm.journal import Journal
from tests.faults.kit.case import Operation
from tests.faults.kit.drawn import Blow, operations_with
from tests.faults.kit.operations import operation_named
from tests.faults.kit.outcome import Seen, recorded
from tests.faults.kit.points import (
    Action,
    Child,
    Gate,
    Line,
    Step,
    die_at,
    dying_at,
    lines_run,
    one_of_each_line,
    run_by,
    sample,
    steps_at,
    steps_in,
)
from tests.faults.kit.scene import Scene, settle
from tests.faults.kit.trial import Stage, problems_of, staged
from tests.support.lean import LeanProcess

#: First deaths of each operation in a sampled run and in a full one, and second deaths for each of them.
FIRST, FIRST_OF_ALL, SECOND, SECOND_OF_ALL = 1, 12, 1, 6
#: Where a death leaves something to mend.
CHANGING = (
    "shm/journal.py",
    "shm/unique_index.py",
    "shm/deferred/due_heap.py",
    "shm/verbs/transfer.py",
    "shm/memory/extents.py",
    "shm/memory/reserve.py",
    "shm/memory/slabs.py",
    "shm/processes/sleepers.py",
    "shm/tubes/claims.py",
    "shm/tubes/delivery.py",
    "shm/tubes/directory.py",
    "shm/tubes/entry_memory.py",
    "shm/tubes/fifo.py",
    "shm/tubes/fifo_writer.py",
    "shm/verbs/appending.py",
    "shm/verbs/burying.py",
    "shm/verbs/deferring.py",
    "shm/verbs/equal_messages.py",
    "shm/verbs/outputs.py",
)
#: Operations whose first commit has several stores.
SEVERAL_STORES = ("append a call to two tubes", "bury into an old grave", "acknowledge with outputs")


def test_the_files_whose_deaths_are_tried_are_there() -> None:
    missing = [file for file in CHANGING if not (Path(shardq.__file__).parent / file).is_file()]
    assert not missing


@pytest.mark.parametrize("operation", operations_with(Blow.DEATH_OF_THE_REPAIRER), ids=str)
@pytest.mark.timeout(1800)
def test_death_of_the_repairer_leaves_all_or_nothing(
    operation: Operation, random: Random, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    most = (FIRST_OF_ALL, SECOND_OF_ALL) if everything else (FIRST, SECOND)
    count, failed = lean.call(double_deaths, operation, random, *most)
    tried("double kills", count)
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("name", SEVERAL_STORES)
@pytest.mark.timeout(1800)
def test_death_in_the_redo_of_a_commit_loses_none_of_its_stores(
    name: str, everything: bool, tried: Callable[[str, int], None], lean: LeanProcess
) -> None:
    """A process dies in a commit that counts; the next one dies at each step of storing it again."""
    count, failed = lean.call(deaths_in_the_redo, operation_named(name), None if everything else 1)
    tried("double kills", count)
    assert not failed, "\n".join(failed)


def deaths_in_the_redo(operation: Operation, most: int | None) -> tuple[int, list[str]]:
    """How often two processes died, and what was wrong then. Of the first deaths so many are tried: in that order, so
    that the first one leaves all stores to be done.
    """
    count, failed = 0, list[str]()
    with staged(operation) as stage:
        for first in steps_at("words[place] = value", recorded(operation), Journal, "commit")[:most]:
            seconds = steps_in(recorded_mending(stage, first), Journal, "redo")
            failed += [f"{first}, {then}: {said}" for then in seconds for said in problems_after(stage, first, then)]
            count += len(seconds)
    return count, failed


def double_deaths(operation: Operation, random: Random, first_deaths: int, second: int) -> tuple[int, list[str]]:
    """How often two processes died, and what was wrong then."""
    count, failed = 0, list[str]()
    firsts = first_deaths_of(operation, random, first_deaths)
    with staged(operation, len(firsts) * (1 + second)) as stage:
        for first in firsts:
            mending = recorded_mending(stage, first)
            chosen = sample(one_of_each_line(mending, random), second, random)
            failed += [f"{first}, {then}: {said}" for then in chosen for said in problems_after(stage, first, then)]
            count += len(chosen)
    return count, failed


def first_deaths_of(operation: Operation, random: Random, count: int) -> list[Step]:
    steps = one_of_each_line(recorded(operation), random)
    return sample([step for step in steps if step.file in CHANGING], count, random)


def recorded_mending(stage: Stage, first: Step) -> list[Line]:
    """The lines of a repairer after this death."""
    there, _ = stage.scene()
    return run_by(after_death(stage.operation, there, first, lines_run))


def problems_after(stage: Stage, first: Step, then: Step) -> list[str]:
    operation = stage.operation

    def die_twice(there: Scene, before: Seen) -> None:
        after_death(operation, there, first, lambda ready, act: dying_at(then, ready, act)).end()

    return problems_of(stage, die_twice)


def after_death(operation: Operation, there: Scene, first: Step, mending: Callable[[Action, Action], Action]) -> Child:
    """A child that was attached before the death at `first` and is the first to enter after it."""
    gate = Gate()

    def ready() -> None:
        there.store.inspection.counts()
        gate.wait()

    repairer = Child(mending(ready, lambda: settle(there.store)))
    gate.reached()
    die_at(first, lambda: operation.readied(there), lambda: operation.act(there))
    gate.open()
    return repairer
