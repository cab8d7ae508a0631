"""Dying while a handler is paused or resumed: the pause stands whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shardq.model import Pause, When
from tests.faults.kit.acts import sleep
from tests.faults.kit.case import BATCH, Operation
from tests.faults.kit.scene import Scene, run
from tests.support.moving import now_us

HANDLER = "app/Paused"
KEY = f"{HANDLER}/1"


def pauses() -> Iterator[Operation]:
    yield Operation("pause a handler", lambda s: _pause(s, "new"), _queued, check=_left_with(None, "new"))
    yield Operation(
        "pause a handler for a time",
        lambda s: _pause(s, "new", When(after_us=60_000_000)),
        _queued,
        check=_left_with(None, "new"),
    )
    yield Operation(
        "pause a handler that is paused",
        lambda s: _pause(s, "new"),
        lambda s: [_pause(s, "old, and longer"), _queued(s)],
        check=_left_with("old, and longer", "new"),
    )
    yield Operation(
        "resume a handler",
        lambda s: run(s.storage.resume(HANDLER)),
        lambda s: [_pause(s, "old"), _queued(s)],
        check=_left_with("old", None),
    )
    yield Operation(
        "end a pause that is over",
        lambda s: run(s.storage.pauses()),
        lambda s: [_pause_until_now(s), _queued(s)],
        check=_left_with(None),
    )


def _queued(there: Scene) -> None:
    assert there.append(*BATCH)
    assert there.append(*BATCH, pipe=f"{KEY}/0")
    sleep(there)


def _pause(there: Scene, reason: str, until: When | None = None) -> None:
    run(there.storage.pause(HANDLER, until, reason))


def _pause_until_now(there: Scene) -> None:
    """No other process has noticed that it is over."""
    there.store.pausing.pause(Pause(HANDLER, 1, now_us(), "over"))


def _left_with(*reasons: str | None) -> Callable[[Scene], None]:
    """What the reasons of pauses may be in the end, None: there is no pause."""

    def check(there: Scene) -> None:
        found = run(there.storage.pauses())
        assert [its.handler for its in found] in ([], [HANDLER])
        reason = found[0].reason if found else None
        assert reason in reasons, f"the reason is {reason!r}"
        offered = run(there.storage.wait(frozenset({HANDLER}), 0))
        assert offered == (None if found else KEY), f"paused: {bool(found)}, but {offered!r} was offered"
        run(there.storage.resume(HANDLER))  # what is left is taken next
        assert run(there.storage.wait(frozenset({HANDLER}), 0)) == KEY

    return check
