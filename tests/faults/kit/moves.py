"""Content that leaves a segment, or arrives in one: each step is done, together with the note of it, or is not. The
same step done again finishes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shardq.model import Chunk, Ending, Failed, Figures, Place, TubeState
from shardq.shm import words as at
from tests.faults.kit.acts import bury_each, sleep
from tests.faults.kit.case import BATCH, Effect, Operation, plus
from tests.faults.kit.scene import GRAVE, LATEST_US, MIB, PIPE, Contents, Scene

MOVE = 77
STATE = TubeState(Failed(1, 1, 2, Ending(signal=9)), 2, 3, LATEST_US // 1_000_000)
DUE_US = LATEST_US - 1
LETTERS = [b"letter", b"another"]
PIECE = b"p" * (MIB // 16)


def moves() -> Iterator[Operation]:
    yield from _arrivals()
    yield from _departures()


def _arrivals() -> Iterator[Operation]:
    yield Operation("arrive", lambda s: s.store.arriving.arrive(MOVE, "shm://a"), sleep, check=_open)
    yield _store("store the first of a tube", Chunk(0, Place.TUBE, PIPE, BATCH, state=STATE), plus(*BATCH))
    yield _store(
        "store more of a tube",
        Chunk(1, Place.TUBE, PIPE, BATCH),
        plus(*BATCH),
        lambda s: s.store.arriving.store(MOVE, Chunk(0, Place.TUBE, PIPE, [b"zero"])),
    )
    yield _store("store in front", Chunk(0, Place.FRONT, PIPE, BATCH, state=STATE), plus(*BATCH))
    yield _store(
        "store what waits",
        Chunk(0, Place.WAITING, PIPE, BATCH, due_us=DUE_US),
        plus(*BATCH, pipe=f"{PIPE} at {DUE_US}"),
    )
    yield _store(
        "store what comes again",
        Chunk(0, Place.WAITING, PIPE, [b"again"], due_us=DUE_US, schedule="every 60"),
        plus(b"again", pipe=f"{PIPE} at {DUE_US}, every 60"),
    )
    yield _store("store letters", Chunk(0, Place.GRAVE, PIPE, LETTERS, grave=GRAVE), plus(*LETTERS, pipe=GRAVE))
    yield Operation(
        "store, refused",
        lambda s: s.store.arriving.store(MOVE, Chunk(99, Place.TUBE, PIPE, [PIECE])),
        lambda s: [s.store.arriving.arrive(MOVE, "shm://a"), _fill(s)],
        check=_open,
    )
    yield Operation(
        "settle",
        lambda s: s.store.arriving.settle(MOVE, 0, Figures(99, 5, 3)),
        lambda s: s.store.arriving.arrive(MOVE, "shm://a"),
        check=_check_settled,
    )
    yield Operation(
        "open",
        lambda s: s.store.arriving.open(MOVE),
        lambda s: [sleep(s), s.store.arriving.arrive(MOVE, "shm://a"), _append(s)],
        check=_open,
    )
    yield Operation(
        "clear",
        lambda s: s.store.leaving.clear(MOVE),
        lambda s: [s.store.arriving.arrive(MOVE, "shm://a"), _append(s)],
        effect=_nothing,
        piecemeal=True,
        check=lambda s: _check_gone(s, s.store.leaving.clear),
    )


def _departures() -> Iterator[Operation]:
    yield Operation(
        "leave", lambda s: s.store.leaving.leave(MOVE, "shm://b"), lambda s: [s.append(*BATCH), sleep(s)], check=_stay
    )
    yield Operation(
        "stay",
        lambda s: s.store.leaving.stay(MOVE),
        lambda s: [s.append(*BATCH), s.store.leaving.leave(MOVE, "shm://b")],
        check=_stay,
    )
    yield Operation(
        "take back",
        lambda s: s.store.leaving.take_back(MOVE),
        lambda s: [s.append(*BATCH), s.store.leaving.leave(MOVE, "shm://b"), s.store.leaving.hand_over(MOVE)],
        check=lambda s: [s.store.leaving.take_back(MOVE), _stay(s)],
    )
    yield Operation(
        "forget what left",
        lambda s: s.store.leaving.forget(MOVE),
        _left,
        effect=_nothing,
        piecemeal=True,
        check=lambda s: _check_gone(s, s.store.leaving.forget),
    )


def _store(
    name: str, chunk: Chunk, effect: Effect, before: Callable[[Scene], object] = lambda there: None
) -> Operation:
    def check(there: Scene) -> None:
        here = there.contents()
        stored = there.store.arriving.stored() == chunk.through
        assert stored == (here == effect(_without(here, chunk))), "the note says something else"
        there.store.arriving.store(MOVE, chunk)
        assert there.contents() == effect(_without(there.contents(), chunk)), "done again, it is not done"
        _open(there)

    return Operation(
        name,
        lambda s: s.store.arriving.store(MOVE, chunk),
        lambda s: [s.store.arriving.arrive(MOVE, "shm://a"), before(s)],
        effect=effect,
        check=check,
    )


def _fill(there: Scene) -> None:
    number = 0
    while there.store.arriving.store(MOVE, Chunk(number, Place.TUBE, PIPE, [PIECE])):
        number += 1


def _without(contents: Contents, chunk: Chunk) -> Contents:
    """What was there before the chunk came."""
    left = {pipe: [m for m in messages if m not in chunk.messages] for pipe, messages in contents.items()}
    return {pipe: messages for pipe, messages in left.items() if messages}


def _nothing(before: Contents) -> Contents:
    return {}


def _append(there: Scene) -> None:
    """Something of everything arrives."""
    chunks = (
        Chunk(0, Place.TUBE, PIPE, BATCH),
        Chunk(3, Place.FRONT, PIPE, [b"front"]),
        Chunk(4, Place.WAITING, PIPE, [b"later", b"too"], due_us=DUE_US),
        Chunk(6, Place.WAITING, PIPE, [b"again"], due_us=DUE_US, schedule="every 60"),
        Chunk(7, Place.GRAVE, PIPE, LETTERS, grave=GRAVE),
    )
    for chunk in chunks:
        assert there.store.arriving.store(MOVE, chunk)


def _left(there: Scene) -> None:
    """All that was there is handed over."""
    there.store.arriving.arrive(MOVE - 1, "shm://a")
    there.store.segment.words[at.ARRIVING_BY] = MOVE
    _append(there)
    there.store.arriving.open(MOVE)
    bury_each(there, b"more")
    there.store.leaving.leave(MOVE, "shm://b")
    assert there.store.leaving.hand_over(MOVE)


def _check_settled(there: Scene) -> None:
    there.store.arriving.settle(MOVE, 0, Figures(99, 5, 3))
    counts = there.store.inspection.counts()
    assert (counts.buried, counts.dead, counts.evicted) == (5, 0, 3)
    assert there.store.segment.words[at.TOKEN] >= 99
    _open(there)


def _check_gone(there: Scene, again: Callable[[int], object]) -> None:
    again(MOVE)
    assert there.contents() == {}
    there.store.segment.words[at.CLOSED] = at.OPEN


def _open(there: Scene) -> None:
    """What arrives is all there: for the rest of the check the segment is as any."""
    there.store.arriving.arrive(MOVE, "shm://a")
    assert there.store.arriving.open(MOVE)


def _stay(there: Scene) -> None:
    assert there.store.leaving.stay(MOVE)
    assert not there.store.segment.words[at.CLOSED]
