"""The operations whose every line is died at: what was there before, what they do, and what may be there after."""

from __future__ import annotations

import copyreg
from collections.abc import Iterator

from tests.faults.kit.absents import absents
from tests.faults.kit.actions import actions
from tests.faults.kit.acts import die_holding, die_inside, die_with_token, fill, sleep, take_up, wait_in_vain
from tests.faults.kit.adoptions import adoptions
from tests.faults.kit.calls import calls
from tests.faults.kit.case import BATCH, URGENT, Operation, minus, plus, without
from tests.faults.kit.deferrals import deferrals
from tests.faults.kit.failures import failures
from tests.faults.kit.letters import letters
from tests.faults.kit.moves import moves
from tests.faults.kit.outputs import outputs
from tests.faults.kit.pauses import pauses
from tests.faults.kit.reserve import reserve_operations
from tests.faults.kit.scene import KEY, MIB, PIPE, Scene, run, run_waiting
from tests.faults.kit.timings import timings
from tests.faults.kit.turns import turns
from tests.support import hands

#: A little less than an extent of the smallest class, so that the next record needs another.
NEARLY_A_PAGE = b"x" * 3700
LARGE = b"l" * (3 * MIB)
#: Bytes of a message that has an extent of the largest growing class to itself. Only the first few keep their memory.
SPACIOUS = 640 << 10


def _numbered(count: int, size: int = 8) -> list[bytes]:
    return [b"%0*d" % (size, n) for n in range(count)]


def _append_each(there: Scene, messages: list[bytes]) -> None:
    for message in messages:
        assert there.append(message)


def _drain_many(there: Scene, count: int, priorities: tuple[int, ...] = (0,)) -> None:
    """Fill the directory with threads that had work and have none now."""
    for number in range(count):
        token = there.store.delivering.claim(f"app/Old/{number}")
        for priority in priorities:
            pipe = f"app/Old/{number}/{priority}"
            assert there.append(b"old", pipe=pipe)
            hands.pop(there.store.delivering, pipe, hands.take(there.store.delivering, [pipe], 9, token).through, token)
        assert there.store.delivering.unclaim(f"app/Old/{number}", token)


def _appends() -> Iterator[Operation]:
    many, more = _numbered(700, 1024), [b"m" * 2000]
    yield Operation("append to a new thread", lambda s: s.append(*BATCH), effect=plus(*BATCH))
    yield Operation("append in place", lambda s: s.append(*BATCH), lambda s: s.append(b"zero"), effect=plus(*BATCH))
    yield Operation(
        "append to another priority",
        lambda s: s.append(*BATCH, pipe=URGENT),
        lambda s: s.append(b"zero"),
        effect=plus(*BATCH, pipe=URGENT),
    )
    yield Operation(
        "append into a new extent", lambda s: s.append(*more), lambda s: s.append(NEARLY_A_PAGE), effect=plus(*more)
    )
    yield Operation(
        "append many records",
        lambda s: s.append(*many),
        lambda s: s.append(b"zero"),
        effect=plus(*many),
        capacity_bytes=4 * MIB,
    )
    yield Operation("append a large message", lambda s: s.append(LARGE), effect=plus(LARGE), capacity_bytes=8 * MIB)
    yield Operation("append, refused", lambda s: s.append(b"f" * 4096), fill)
    yield Operation(
        "append many records, refused half-way",
        lambda s: s.append(*_numbered(1800, 1024)),
        lambda s: [s.append(b"y" * MIB), s.append(b"y" * MIB)],
        capacity_bytes=4 * MIB,
    )
    yield Operation(
        "append to a sleeper",
        lambda s: s.append(*BATCH),
        lambda s: [s.append(b"zero"), sleep(s)],
        effect=plus(*BATCH),
    )
    yield Operation("append to a new thread with a sleeper", lambda s: s.append(*BATCH), sleep, effect=plus(*BATCH))
    yield Operation(
        "wait for room in vain",
        lambda s: run_waiting(lambda: s.storage.append_when_room([(PIPE, [b"f" * 4096])], 0.001)),
        fill,
    )
    yield Operation(
        "append to a thread of the dead",
        lambda s: s.append(*BATCH),
        lambda s: [sleep(s), s.append(b"zero"), die_holding(s, 1, asleep=True)],
        effect=plus(*BATCH),
        counted=(1,),
    )
    for name, ready in (("in the guard", die_inside), ("with its token", die_with_token)):
        yield Operation(
            f"append behind who died {name}",
            lambda s: s.append(*BATCH),
            lambda s: s.append(b"zero"),
            ready,
            effect=plus(*BATCH),
        )


def _reads_and_pops() -> Iterator[Operation]:
    pages = [NEARLY_A_PAGE[:-1] + b"%d" % n for n in range(6)]
    yield Operation(
        "read with a token",
        lambda s: run(hands.take(s.storage, [PIPE], 2, s.token)),
        lambda s: s.append(*BATCH),
        ready=Scene.claim,
    )
    yield Operation(
        "pop a part of a record", lambda s: s.take(2), lambda s: s.append(*BATCH), ready=Scene.claim, effect=minus(2)
    )
    yield Operation(
        "pop across extents",
        lambda s: s.take(4),
        lambda s: _append_each(s, pages),
        ready=Scene.claim,
        effect=minus(4),
    )
    yield Operation(
        "pop all",
        lambda s: s.take(9),
        lambda s: [_append_each(s, pages), sleep(s)],
        ready=Scene.claim,
        effect=minus(6),
    )
    yield Operation(
        "pop a large message",
        lambda s: s.take(1),
        lambda s: _append_each(s, [LARGE, b"small"]),
        ready=Scene.claim,
        effect=minus(1),
        capacity_bytes=8 * MIB,
    )
    yield Operation(
        "pop across extents that return their memory",
        lambda s: s.take(6),
        lambda s: _append_each(s, [b"%d" % n * SPACIOUS for n in range(7)]),
        ready=Scene.claim,
        effect=minus(6),
        capacity_bytes=8 * MIB,
    )
    yield Operation(
        "pop past cancelled messages",
        lambda s: s.take(1),
        lambda s: [_append_each(s, [*BATCH, *pages]), s.store.removing.remove(PIPE, [b"two", pages[0], pages[1]])],
        ready=Scene.claim,
        effect=minus(1),
    )
    yield Operation("pop from full", lambda s: s.take(1), fill, ready=Scene.claim, effect=minus(1))


def _removals() -> Iterator[Operation]:
    messages = _numbered(150)
    third = messages[::3]
    yield Operation(
        "remove from the middle",
        lambda s: run(s.storage.remove(PIPE, b"two")),
        lambda s: s.append(*BATCH),
        effect=without(b"two"),
    )
    yield Operation(
        "remove the head",
        lambda s: run(s.storage.remove(PIPE, b"one")),
        lambda s: _append_each(s, BATCH),
        effect=without(b"one"),
    )
    yield Operation(
        "remove all",
        lambda s: run(s.storage.remove(PIPE, *BATCH)),
        lambda s: [_append_each(s, BATCH), sleep(s)],
        effect=without(*BATCH),
        piecemeal=True,
    )
    yield Operation(
        "remove every third",
        lambda s: run(s.storage.remove(PIPE, *third)),
        lambda s: [s.append(*messages), s.append(*messages)],
        effect=without(*third),
        piecemeal=True,
    )
    yield Operation(
        "remove behind a popped part",
        lambda s: run(s.storage.remove(PIPE, b"one")),
        lambda s: [s.append(b"one", *BATCH), s.claim(), s.take(1), s.store.delivering.unclaim(KEY, s.token)],
        effect=without(b"one"),
    )


def _claims() -> Iterator[Operation]:
    def add(there: Scene) -> None:
        assert there.append(*BATCH)

    def release(there: Scene) -> None:
        assert run(there.lock.release(KEY))

    yield Operation("claim a new thread", Scene.claim)
    yield Operation("claim", Scene.claim, add)
    yield Operation("claim of the dead", Scene.claim, lambda s: [add(s), die_holding(s, 2)], counted=(0,))
    yield Operation("release with work left", release, lambda s: [add(s), sleep(s)], ready=Scene.claim)
    yield Operation(
        "release with a pause",
        lambda s: run(s.storage.unclaim(KEY, s.token, 60.0)),
        lambda s: [add(s), sleep(s)],
        ready=Scene.claim,
    )
    yield Operation("release without work", release, ready=Scene.claim)
    yield Operation("lie down and rise", wait_in_vain)
    yield Operation("take up work", take_up, add)
    yield Operation(
        "take up the work of the dead", take_up, lambda s: [sleep(s), add(s), die_holding(s, 2)], counted=(0,)
    )
    yield Operation("ring the sleepers", lambda s: s.store.supervision.ring_sleepers(), sleep)
    yield Operation("close if unused", lambda s: s.store.supervision.close_if_unused(), add)
    yield Operation("become the supervisor", lambda s: s.store.supervision.become_supervisor(), add)
    yield Operation("wait for quiet in vain", lambda s: run_waiting(lambda: s.storage.wait_for_quiet(0.001)), add)


def _others() -> Iterator[Operation]:
    yield Operation("attach after a fork, and append", lambda s: s.append(*BATCH), effect=plus(*BATCH), attached=False)
    yield Operation("look around", _look_around, lambda s: s.append(*BATCH))
    yield Operation(
        "reclaim threads", lambda s: s.append(*BATCH), lambda s: _drain_many(s, 8), effect=plus(*BATCH), threads=8
    )
    yield Operation(
        "reclaim tubes",
        lambda s: s.append(*BATCH),
        lambda s: _drain_many(s, 4, (0, 1)),
        effect=plus(*BATCH),
        threads=8,
    )
    yield Operation("reclaim for a claim", Scene.claim, lambda s: _drain_many(s, 8), threads=8)


def _look_around(there: Scene) -> None:
    assert run(there.storage.contains(PIPE, b"two"))
    assert run(there.storage.length(PIPE)) == len(BATCH)
    assert run(there.storage.pipes()) == [PIPE]
    assert run(there.storage.backlog()).queued == len(BATCH)
    assert not run(there.lock.exists(KEY))
    there.store.membership.join(3)


OPERATIONS = [
    *_appends(),
    *_reads_and_pops(),
    *_removals(),
    *_claims(),
    *_others(),
    *failures(),
    *letters(),
    *adoptions(),
    *timings(),
    *deferrals(),
    *calls(),
    *turns(),
    *outputs(),
    *moves(),
    *pauses(),
    *actions(),
    *absents(),
    *reserve_operations(),
]


def operation_named(name: str) -> Operation:
    return next(operation for operation in OPERATIONS if operation.name == name)


# What an operation does cannot be sent to another process, but each process has these.
copyreg.pickle(Operation, lambda operation: (operation_named, (operation.name,)))
