"""Trials of an operation: it is cut off at its lines, one by one, and another process looks at what is left.

The scene of an operation is built once, and put back before each trial. The process that built it forks the one that is
cut off, and forks itself to look: the copy goes on in its place, with all that it knew of the segment. So the builder
remains as it was.

Most of what costs time is forking and looking. Where what is left is equal, byte for byte, to what was left at another
line and found good, the copy would do and find the same. So it is forked for the first of these only. In the last trial
the builder itself looks: that of a sample has hardly more than one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

from tests.faults.kit.case import Operation
from tests.faults.kit.image import Image, state_of
from tests.faults.kit.outcome import Seen, check_counted, check_outcome, recorded, seen
from tests.faults.kit.points import Child, ChildFailed, Line, Step, kill_children, one_of_each_line, sample
from tests.faults.kit.scene import Scene, check_usable, check_whole

#: For how many seconds a scene is used: the times that stand in it are those of when it was built.
_LONGEST_S = 20.0


class _Built(NamedTuple):
    """A scene, what was there, and how to have it so again."""

    there: Scene
    before: Seen
    image: Image | None
    """None: it is as it was no more, or is not needed again."""
    since_s: float


class Stage:
    """Where the trials of one operation take place: each finds the scene as it was built."""

    def __init__(self, operation: Operation, trials: int | None = None) -> None:
        """For so many trials, None: that is not known. Further ones are possible."""
        self.operation = operation
        self._left = -1 if trials is None else trials
        self._built: _Built | None = None
        self._good: set[tuple[str, ...]] = set()
        """States that trials passed that were found good."""

    def scene(self) -> tuple[Scene, Seen]:
        """The scene as it was built, and what was there. This process may only fork others that change it."""
        built = self._built
        self._left -= 1
        is_young = built and time.monotonic() < built.since_s + _LONGEST_S
        if built and is_young and built.image and built.image.put_back():
            built.there.take_over()
        else:
            self.clear()
            built = self._build()
        return built.there, built.before

    def look(self, looks: Callable[[], Any]) -> Any:
        """What `looks` returns in a copy of this process, as JSON has it. Raises `ChildFailed`. In the last trial it is
        called in this process.
        """
        assert self._built
        there = self._built.there
        if self._is_last:
            self._built = self._built._replace(image=None)
            return looks()

        def act() -> Any:
            there.take_over()
            try:
                return looks()
            finally:
                kill_children()  # where it failed, some may be at work

        there.hand_on()
        try:
            return Child(act).result()
        finally:
            there.take_over()

    def is_good(self, *states: str) -> bool:
        """Whether a trial that passed these states was found good."""
        return states in self._good

    def problems(self, check: Callable[[], Sequence[str] | None], *states: str) -> list[str]:
        """What a copy of this process finds wrong. Where that is nothing, `states` are good, or those that `check`
        passed and returns.
        """

        def look() -> tuple[str, Sequence[str]]:
            try:
                passed = check() or states
                assert self._is_last or not kill_children(), "a process was left at work"
            except Exception as problem:
                return _told(problem), ()
            return "", passed

        try:
            problem, passed = self.look(look)
        except ChildFailed as failed:
            return [_told(failed)]
        if passed:
            self._good.add(tuple(passed))
        return [problem] if problem else []

    def clear(self) -> None:
        """Remove the scene: the next trial has a new one."""
        built, self._built = self._built, None
        self._good.clear()
        if built:
            built.there.end()

    @property
    def _is_last(self) -> bool:
        return self._left == 0

    def _build(self) -> _Built:
        since_s, there = time.monotonic(), self.operation.scene()
        try:
            before = seen(there)
            image = None if self._is_last else Image(there.store.segment)
            self._built = built = _Built(there, before, image, since_s)
        except BaseException:
            there.end()
            raise
        return built


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"


@contextmanager
def staged(operation: Operation, trials: int | None = None) -> Iterator[Stage]:
    stage = Stage(operation, trials)
    try:
        yield stage
    finally:
        stage.clear()


#: Says what is wrong after an operation was cut off at a step.
ProblemsAfter = Callable[[Stage, Step], list[str]]
#: Compares what was there before an operation with what is there after it.
Check = Callable[[Operation, Seen, Scene], None]


def trials(
    operation: Operation, most: int | None, random: Random, problems_after: ProblemsAfter
) -> tuple[int, list[str]]:
    """At how many lines of an operation it was cut off, a random choice of `most` (None: all), and what was wrong."""
    return trials_at(recorded(operation), operation, most, random, problems_after)


def trials_at(
    lines: Sequence[Line], operation: Operation, most: int | None, random: Random, problems_after: ProblemsAfter
) -> tuple[int, list[str]]:
    """The same where its lines are known."""
    steps = one_of_each_line(lines, random)
    chosen = steps if most is None else sample(steps, most, random)
    return len(chosen), list(problems_at(operation, chosen, problems_after))


def problems_at(operation: Operation, steps: Sequence[Step], problems_after: ProblemsAfter) -> Iterator[str]:
    """What is wrong after the operation was cut off at each of these steps."""
    with staged(operation, len(steps)) as stage:
        for step in steps:
            yield from (f"{step}: {problem}" for problem in problems_after(stage, step))


def problems_of(stage: Stage, act: Callable[[Scene, Seen], object], check: Check = check_outcome) -> list[str]:
    """What another process finds wrong after `act`, which has the operation done, or cut off, by processes that it
    forks and that have ended then.
    """

    def trial(there: Scene, before: Seen) -> list[str]:
        act(there, before)
        state = state_of(there.store.segment)
        if stage.is_good(state):
            return []
        return stage.problems(lambda: check_survivor(stage.operation, before, there, check), state)

    return found_by(stage, trial)


def found_by(stage: Stage, trial: Callable[[Scene, Seen], list[str]]) -> list[str]:
    """What a trial finds wrong, or what it fails of."""
    try:
        problems = trial(*stage.scene())
    except Exception as problem:
        problems = [_told(problem)]
    if problems:
        stage.clear()  # another process may still be at work in the scene
    return problems


def check_survivor(operation: Operation, before: Seen, there: Scene, check: Check) -> None:
    check_whole(there.store)
    check(operation, before, there)
    check_counted(operation, before, there)
    check_usable(there, operation.keys)
