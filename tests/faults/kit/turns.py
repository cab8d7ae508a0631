"""Dying in a worker's turn: what it acknowledged is gone or still there, and no thread is stuck."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from shardq.model import EMPTY, Hand, Terms
from shardq.outputs import Output
from tests.faults.kit.acts import die_holding, sleep
from tests.faults.kit.case import BATCH, Operation, minus
from tests.faults.kit.scene import KEY, PIPE, Scene, everything, run

OTHER, OTHER_KEY = "app/Job/2/0", "app/Job/2"
TERMS = {"app/Job": Terms((0,), 2)}

#: What the survivor does before.
Action = Callable[[Scene], object]


def turn(there: Scene, *, stay: bool = True, outputs: Sequence[Output] = ()) -> Hand | None:
    """Acknowledge the batch in hand, and take what comes."""
    hand = Hand(KEY, there.token, there.batch)
    return run(there.storage.turn(hand, everything, TERMS, stay=stay, outputs=outputs))


def rest(there: Scene, *, asleep: bool = False) -> None:
    """As `turn`, and lie down where nothing comes."""
    hand = Hand(KEY, there.token, EMPTY if asleep else there.batch)
    there.store.delivering.rest(hand, everything, TERMS, stay=True, asleep=asleep)


def _fall_asleep(there: Scene) -> None:
    there.hold(3)
    rest(there)


def turn_to_the_next(name: str, sleeper: Action) -> Operation:
    """A turn that goes on to another thread, beside a survivor that sleeps like this."""
    return Operation(
        name,
        turn,
        lambda s: [s.append(*BATCH), s.append(b"other", pipe=OTHER), sleeper(s)],
        ready=lambda s: s.hold(3),
        effect=minus(3),
        keys=(KEY, OTHER_KEY),
    )


def turn_and_leave_some(name: str, sleeper: Action) -> Operation:
    """As `turn_to_the_next`, and the thread that is left has messages."""
    return Operation(
        name,
        lambda s: turn(s, stay=False),
        lambda s: [s.append(*BATCH), s.append(b"other", pipe=OTHER), sleeper(s)],
        ready=lambda s: s.hold(1),
        effect=minus(1),
        keys=(KEY, OTHER_KEY),
    )


def turn_to_nothing(name: str, sleeper: Action) -> Operation:
    """A turn with the last messages there are."""
    return Operation(
        name,
        turn,
        lambda s: [s.append(*BATCH), sleeper(s)],
        ready=lambda s: s.hold(3),
        effect=minus(3),
    )


def turns() -> Iterator[Operation]:
    keys = KEY, OTHER_KEY
    yield Operation(
        "take a first turn",
        lambda s: run(s.storage.turn(None, everything, TERMS)),
        lambda s: [s.append(*BATCH), sleep(s)],
        keys=keys,
    )
    yield Operation(
        "take a first turn behind the dead",
        lambda s: run(s.storage.turn(None, everything, TERMS)),
        lambda s: [sleep(s), s.append(*BATCH), die_holding(s, 2)],
    )
    yield Operation(
        "turn to more of the thread",
        turn,
        lambda s: [s.append(*BATCH), s.append(b"other", pipe=OTHER)],
        ready=lambda s: s.hold(2),
        effect=minus(2),
        keys=keys,
    )
    yield turn_to_the_next("turn to the next thread", sleep)
    yield turn_and_leave_some("turn to the next thread and leave some", sleep)
    yield turn_to_nothing("turn to nothing", sleep)
    yield Operation(
        "turn to what is due",
        turn,
        lambda s: [s.append(*BATCH), s.store.deferring.defer([(PIPE, [b"due"])], 1)],
        ready=lambda s: s.hold(3),
        effect=lambda before: {PIPE: [b"due"]},
        midways=lambda before: [
            {PIPE: [*BATCH, b"due"]},
            {f"{PIPE} at 1": [b"due"]},
        ],
    )
    yield Operation(
        "rest and lie down",
        rest,
        lambda s: [s.append(*BATCH), sleep(s)],
        ready=lambda s: s.hold(3),
        effect=minus(3),
    )
    yield Operation(
        "rest and find the next thread",
        rest,
        lambda s: [s.append(*BATCH), s.append(b"other", pipe=OTHER), sleep(s)],
        ready=lambda s: s.hold(3),
        effect=minus(3),
        keys=keys,
    )
    yield Operation(
        "turn over in its sleep",
        lambda s: rest(s, asleep=True),
        lambda s: [s.append(*BATCH), sleep(s)],
        ready=_fall_asleep,
        effect=minus(3),
    )
