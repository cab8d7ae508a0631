"""Taking messages in hand, acknowledging some of them, and failing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from shardq.model import Hand
from tests.faults.kit.acts import fail_alone, sleep
from tests.faults.kit.case import BATCH, URGENT, Operation, minus
from tests.faults.kit.scene import KEY, PIPE, Scene, run
from tests.support import hands

FIVE = [b"one", b"two", b"three", b"four", b"five"]


def failures() -> Iterator[Operation]:
    yield from _taken()
    yield from _failed()


def _taken() -> Iterator[Operation]:
    yield Operation("take one", partial(_take, count=1), _add, ready=Scene.claim)
    yield Operation("take several", partial(_take, count=3), _add, ready=Scene.claim, counted=(0,))
    yield Operation("take one with a deadline", partial(_take, count=1, timeout_s=9.0), _watched, ready=Scene.claim)
    yield Operation(
        "take the second of two tubes",
        lambda s: run(hands.take(s.storage, [URGENT, PIPE], 1, s.token)),
        lambda s: [s.append(b"hurry", pipe=URGENT), s.store.removing.remove(URGENT, [b"hurry"]), _add(s)],
        ready=Scene.claim,
    )
    yield Operation(
        "pop a prefix and keep one",
        lambda s: _pop(s, 2),
        _add,
        ready=lambda s: s.hold(3),
        effect=minus(2),
    )
    yield Operation(
        "pop a prefix and keep several",
        lambda s: _pop(s, 1),
        lambda s: [_add(s), sleep(s)],
        ready=lambda s: s.hold(4),
        effect=minus(1),
        counted=(0,),
    )
    yield Operation(
        "pop what failed before",
        lambda s: _pop(s, 1),
        lambda s: [_add(s), fail_alone(s, 2)],
        ready=lambda s: s.hold(1),
        effect=minus(1),
        counted=(1,),
    )


def _failed() -> Iterator[Operation]:
    once: tuple[int, ...] = (1,)
    yield Operation("fail of one", _fail, _add, ready=lambda s: s.hold(1), counted=once)
    yield Operation(
        "fail of one again",
        _fail,
        lambda s: [_add(s), fail_alone(s, 2)],
        ready=lambda s: s.hold(1),
        counted=once,
    )
    yield Operation(
        "fail of one that came after one that failed",
        _fail,
        lambda s: [_add(s), fail_alone(s, 2), s.claim(), s.take(1), s.release()],
        ready=lambda s: s.hold(1),
        counted=once,
    )
    yield Operation(
        "fail of several",
        _fail,
        _add,
        ready=lambda s: s.hold(4),
        counted=(0,),
        check=partial(check_limited, most=1),
    )
    yield Operation(
        "fail of several with removed ones between",
        _fail,
        lambda s: [s.append(*FIVE), s.store.removing.remove(PIPE, FIVE[1:4])],
        ready=lambda s: s.hold(2),
        counted=(0,),
        check=partial(check_limited, most=1),
    )
    yield Operation(
        "give several back",
        partial(_give_back, at_most=2),
        _add,
        ready=lambda s: s.hold(5),
        counted=(0,),
        check=partial(check_limited, most=2),
    )
    # Killed before it took the message back, it died with one in hand.
    yield Operation("give one back", partial(_give_back, at_most=1), _add, ready=lambda s: s.hold(1))
    yield Operation(
        "release what is in hand",
        Scene.release,
        lambda s: [_add(s), fail_alone(s, 1), sleep(s)],
        ready=lambda s: s.hold(1),
    )


def check_limited(there: Scene, most: int) -> None:
    """The next batch has at most so many, and nothing is lost by asking."""
    there.hold(len(FIVE))
    assert there.batch.count <= most, f"{there.batch.count} of those that failed together were handed out together"
    there.release()


def _add(there: Scene) -> None:
    assert there.append(*FIVE)


def _watched(there: Scene) -> None:
    """The survivor supervises, and has been told of no deadline."""
    there.store.doorbell.open()
    assert there.store.supervision.become_supervisor()
    assert there.append(*BATCH)


def _take(there: Scene, count: int, timeout_s: float | None = None) -> None:
    assert run(hands.take(there.storage, [PIPE], count, there.token, timeout_s)).count == count


def _pop(there: Scene, count: int) -> None:
    run(hands.pop(there.storage, PIPE, there.batch.through_first(count), there.token))


def _fail(there: Scene) -> None:
    run(there.storage.fail(Hand(KEY, there.token, there.batch)))


def _give_back(there: Scene, at_most: int) -> None:
    run(there.storage.give_back(Hand(KEY, there.token, there.batch), at_most))
