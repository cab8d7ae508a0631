"""What the core in C does in one or two sections: each way that it goes through them."""

from __future__ import annotations

from collections.abc import Iterator

from shardq.outputs import Output
from shardq.shm import words as at
from tests.faults.kit.acts import die_holding, nap
from tests.faults.kit.case import BATCH, Operation, minus, one_after_another, plus
from tests.faults.kit.operations import OPERATIONS
from tests.faults.kit.outputs import FILLING, NEARLY_A_PAGE, PIPES, each, sent
from tests.faults.kit.scene import KEY, PIPE, Scene, everything, run
from tests.faults.kit.turns import OTHER, OTHER_KEY, TERMS, turn, turn_and_leave_some, turn_to_nothing, turn_to_the_next

#: Those of all drivers and engines that are of this kind.
_SHARED = (
    "append in place",
    "append into a new extent",
    "append, refused",
    "append to a sleeper",
    "append to a thread of the dead",
    "append behind who died in the guard",
    "append behind who died with its token",
    "append a call to two tubes",
    "append a call to two tubes into new extents",
    "append a call to threads that are there, with sleepers",
    "turn to more of the thread",
    "rest and lie down",
    "rest and find the next thread",
)
#: Nearly an extent of the smallest class each.
PAGES = [b"%d" % n * 3700 for n in range(4)]


def _appends() -> Iterator[Operation]:
    yield Operation(
        "append to a tube that is empty",
        lambda s: s.append(*BATCH),
        _empty,
        effect=plus(*BATCH),
    )


def _turns() -> Iterator[Operation]:
    yield turn_to_the_next("turn to the next thread beside a sleeper", nap)
    yield turn_and_leave_some("turn to the next thread, and leave some to a sleeper", nap)
    yield turn_to_nothing("turn with the last batch", lambda s: None)
    yield Operation(
        "turn away from what spans extents",
        turn,
        lambda s: [*(s.append(page) for page in PAGES), s.append(b"other", pipe=OTHER)],
        ready=lambda s: s.hold(len(PAGES)),
        effect=minus(len(PAGES)),
        keys=(KEY, OTHER_KEY),
    )
    yield Operation(
        "append, turn and append again",
        lambda s: [s.append(b"one"), turn(s), s.append(b"two")],
        lambda s: s.append(*BATCH),
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(3), plus(b"one", b"two")),
        midways=lambda before: [{PIPE: [*BATCH, b"one"]}, {PIPE: [b"one"]}],
    )


def _meetings() -> Iterator[Operation]:
    """First turns of a process."""
    yield Operation(
        "turn to a thread for the first time, beside a sleeper",
        _turn_first,
        lambda s: [s.append(*BATCH), nap(s)],
    )


def _deaths() -> Iterator[Operation]:
    """First turns behind another process that died."""
    for count, counted in ((1, (1, 2)), (2, (0, 1))):
        yield Operation(
            f"turn to the thread of the dead, who had {count} in hand, beside a sleeper",
            _turn_first,
            lambda s, count=count: [s.append(*BATCH), nap(s), die_holding(s, count)],
            ready=_know_the_dead,
            counted=counted,
        )


def _turn_first(there: Scene) -> None:
    hand = run(there.storage.turn(None, everything, TERMS))
    assert hand
    assert hand.batch.count


def _know_the_dead(there: Scene) -> None:
    """The acting process has seen each worker end that did, as the descriptors tell it that it has of them."""
    store = there.store
    for thread in store._parts.tubes.claims.orphans():
        owner = store.segment.words[store.segment.layout.thread_word(thread) + at.THREAD_OWNER]
        store._parts.watch.on_end(owner)


def _sending() -> Iterator[Operation]:
    two = PIPES[:2]
    yield Operation(
        "turn with outputs to tubes that are there, beside a sleeper",
        lambda s: turn(s, outputs=sent(*two)),
        lambda s: [s.append(*BATCH), s.append(b"other", pipe=OTHER), _there(s, *two), nap(s)],
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(3), each(*two)),
        keys=(KEY, OTHER_KEY),
    )
    yield Operation(
        "turn with outputs into new extents, and to more of the thread",
        lambda s: turn(s, outputs=[Output(pipe, [NEARLY_A_PAGE]) for pipe in two]),
        lambda s: [s.append(*BATCH), *(s.append(FILLING, pipe=pipe) for pipe in two)],
        ready=lambda s: s.hold(2),
        effect=one_after_another(minus(2), *(plus(NEARLY_A_PAGE, pipe=pipe) for pipe in two)),
    )
    yield Operation(
        "turn with an output to another tube of the thread, while a process waits for room",
        lambda s: turn(s, outputs=sent(f"{KEY}/1")),
        lambda s: [s.append(*BATCH), s.append(b"zero", pipe=f"{KEY}/1"), s.store.waiting.await_room()],
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(3), each(f"{KEY}/1")),
    )


def _there(there: Scene, *pipes: str) -> None:
    """Have these tubes, and nothing in them."""
    for pipe in pipes:
        assert there.append(b"zero", pipe=pipe)
        run(there.storage.remove(pipe, b"zero"))


def _empty(there: Scene) -> None:
    assert there.append(*BATCH)
    there.claim()
    assert there.take(9) == len(BATCH)
    there.release()


def _all() -> Iterator[Operation]:
    named = {operation.name: operation for operation in OPERATIONS}
    yield from (named[name] for name in _SHARED)
    yield from _appends()
    yield from _turns()
    yield from _meetings()
    yield from _deaths()
    yield from _sending()


#: By their names: another process finds an operation by that.
BY_THE_CORE = {operation.name: operation for operation in _all()}
#: Those in which the core meets the threads.
MEETING = frozenset(operation.name for operation in _meetings())
