"""Dying while an action of an operator is recorded: it is there whole, or not at all, and so are those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shardq.model import Action
from tests.faults.kit.case import Operation
from tests.faults.kit.scene import Scene, run
from tests.support.segments import observing

WHAT = "pause"


def actions() -> Iterator[Operation]:
    yield Operation("record an action", lambda s: _record(s, 1), check=_left_with([], [1]))
    yield Operation("record another action", lambda s: _record(s, 3), _recorded(2), check=_left_with([2, 1], [3, 2, 1]))
    yield Operation(
        "record an action in the place of the first",
        lambda s: _record(s, _most(s) + 3),
        lambda s: _recorded(_most(s) + 2)(s),
        check=lambda s: _left_with(_after(s, _most(s) + 2), _after(s, _most(s) + 3))(s),
    )


def _record(there: Scene, number: int) -> None:
    run(there.storage.record(Action(WHAT, f"{number} " * number, number)))


def _recorded(count: int) -> Callable[[Scene], None]:
    def record(there: Scene) -> None:
        for number in range(1, count + 1):
            _record(there, number)

    return record


def _most(there: Scene) -> int:
    return there.store.segment.layout.actions


def _after(there: Scene, last: int) -> list[int]:
    """Those that are remembered when so many were recorded."""
    return [*range(last, last - _most(there), -1)]


def _left_with(*choices: list[int]) -> Callable[[Scene], None]:
    """Which actions there may be in the end. Then the next one is recorded."""

    def check(there: Scene) -> None:
        with observing(there.name) as outside:
            assert outside.actions(_most(there)) == there.store.recording.actions(_most(there))
        found = run(there.storage.actions())
        assert [its.count for its in found] in choices, f"there are {[its.count for its in found]}"
        for its in found:
            assert (its.what, its.number) == (WHAT, its.count)
            assert its.target.startswith(f"{its.count} ")
        _record(there, 1)
        assert len(run(there.storage.actions())) == min(_most(there), len(found) + 1)

    return check
