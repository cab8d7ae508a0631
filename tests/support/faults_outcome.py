"""The lines of an operation, and what may be in the tubes after it was cut off at one of them."""

from __future__ import annotations

from tests.support.faults import Step, steps_of
from tests.support.faults_operations import Operation
from tests.support.faults_scene import Contents


def recorded(operation: Operation) -> list[Step]:
    """Every step of the operation, from a run of it."""
    there = operation.scene()
    try:
        return steps_of(lambda: operation.readied(there), lambda: operation.act(there))
    finally:
        there.end()


def check_outcome(operation: Operation, before: Contents, found: Contents) -> None:
    """All of the operation or none of it."""
    after = operation.effect(before)
    if operation.piecemeal:
        assert _is_between(before, found, after), f"neither before nor after, nor between: {_shortened(found)}"
    else:
        assert found in (before, after), f"neither before nor after: {_shortened(found)}"


def _is_between(before: Contents, found: Contents, after: Contents) -> bool:
    """Whether the tubes hold what must stay and some of what was to go, in the old order."""
    return all(
        _is_subsequence(after.get(pipe, []), found.get(pipe, [])) and _is_subsequence(found.get(pipe, []), held)
        for pipe, held in before.items()
    )


def _is_subsequence(part: list[bytes], whole: list[bytes]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


def _shortened(contents: Contents) -> dict[str, list[bytes]]:
    return {pipe: [message[:20] for message in messages[:20]] for pipe, messages in contents.items()}
