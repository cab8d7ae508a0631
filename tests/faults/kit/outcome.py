"""The lines of an operation, and what may be there after it was cut off at one of them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from tests.faults.kit.case import Operation
from tests.faults.kit.fsck import Failures, failures_at_heads
from tests.faults.kit.points import Line, lines_of
from tests.faults.kit.scene import PIPE, Contents, Scene


class Seen(NamedTuple):
    """What a segment holds."""

    contents: Contents
    failures: dict[str, Failures]


def seen(there: Scene) -> Seen:
    contents = there.contents()
    return Seen(contents, failures_at_heads(there.store.segment))


@cache
def recorded(operation: Operation) -> list[Line]:
    """Every line of the operation, from a run of it."""
    there = operation.scene()
    try:
        return lines_of(lambda: operation.readied(there), lambda: operation.act(there))
    finally:
        there.end()


def check_outcome(operation: Operation, before: Seen, there: Scene) -> None:
    """All of the operation or none of it."""
    found, after = there.contents(), operation.effect(before.contents)
    if operation.piecemeal:
        assert _is_between(before.contents, found, after), f"neither before nor after, nor between: {_shortened(found)}"
    else:
        allowed = before.contents, after, *operation.midways(before.contents)
        assert found in allowed, f"neither before nor after: {_shortened(found)}"


def check_done(operation: Operation, before: Seen, there: Scene) -> None:
    """All of the operation, undisturbed."""
    found = there.contents()
    assert found == operation.effect(before.contents), f"not after: {_shortened(found)}"


def check_counted(operation: Operation, before: Seen, there: Scene) -> None:
    """Once no process is at work: a message that failed has as many more failures as it should."""
    for pipe, (head, failures) in seen(there).failures.items():
        former = before.failures.get(pipe)
        stayed = former is not None and former.head == head
        allowed = operation.counted if stayed and pipe == PIPE else (0, 1)
        more = failures - former.attempts if former is not None and stayed else failures
        assert more in allowed, f"{pipe}: {more} failures more, not one of {allowed}"
    operation.check(there)


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
