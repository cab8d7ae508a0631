"""Trials of an operation: it is cut off at its lines, one by one, and another process looks at what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from tests.faults.kit.case import Operation
from tests.faults.kit.outcome import Seen, check_counted, check_outcome, recorded, seen
from tests.faults.kit.points import Step, one_of_each_line, sample
from tests.faults.kit.scene import Scene, check_usable, check_whole

#: Says what is wrong after an operation was cut off at a step.
ProblemsAfter = Callable[[Operation, Step], Iterator[str]]
#: Compares what was there before an operation with what is there after it.
Check = Callable[[Operation, Seen, Scene], None]


def trials(
    operation: Operation, most: int | None, random: Random, problems_after: ProblemsAfter
) -> tuple[int, list[str]]:
    """At how many lines of an operation it was cut off, a random choice of `most` (None: all), and what was wrong."""
    steps = one_of_each_line(recorded(operation), random)
    chosen = steps if most is None else sample(steps, most, random)
    return len(chosen), [f"{step}: {problem}" for step in chosen for problem in problems_after(operation, step)]


def problems_of(
    operation: Operation, act: Callable[[Scene, Seen], None], check: Check = check_outcome
) -> Iterator[str]:
    """What another process finds wrong after `act`, which has the operation done, or cut off, in a scene of its own."""
    there = operation.scene()
    try:
        before = seen(there)
        act(there, before)
        check_survivor(operation, before, there, check)
    except Exception as problem:
        yield f"{type(problem).__name__}: {problem}"
    finally:
        there.end()


def check_survivor(operation: Operation, before: Seen, there: Scene, check: Check) -> None:
    check_whole(there.store)
    check(operation, before, there)
    check_counted(operation, before, there)
    check_usable(there, operation.keys)
