"""Operations that take from the reserve, or make it larger: for the matrix of deaths."""

from __future__ import annotations

from collections.abc import Iterator

from shardq.shm import words as at
from tests.faults.kit.acts import fill
from tests.faults.kit.case import Operation, plus
from tests.faults.kit.scene import MIB, PIPE, Scene

OTHER = "app/Other/0/0"
FOLLOW_UP = b"u" * 8192
#: Its letter needs more room than half of the reserve.
LARGE = b"l" * (200 << 10)


def _dev_shm_is_full(there: Scene) -> None:
    """From now on this process gets only memory that it gave back before, or that the reserve gets."""
    segment, had = there.store.segment, [0]
    allocate, give_back = segment.allocate, segment.give_back

    def allocate_given_back(start: int, nbytes: int) -> bool:
        if nbytes > had[0]:
            return False
        had[0] -= nbytes
        return allocate(start, nbytes)

    def note_given_back(start: int, nbytes: int) -> None:
        before = segment.taken_bytes
        give_back(start, nbytes)
        had[0] += before - segment.taken_bytes

    segment.allocate, segment.give_back = allocate_given_back, note_given_back  # type: ignore[method-assign]


def _follow_up(there: Scene, pipe: str = OTHER) -> None:
    assert there.store.appending.append([(pipe, [FOLLOW_UP])], share=at.FOLLOW_UP)


def reserve_operations() -> Iterator[Operation]:
    yield Operation("follow-up in a full segment", lambda s: _follow_up(s, PIPE), fill, effect=plus(FOLLOW_UP))
    yield Operation(
        "follow-up in a full /dev/shm",
        _follow_up,
        lambda s: s.append(b"zero"),
        ready=_dev_shm_is_full,
        effect=plus(FOLLOW_UP, pipe=OTHER),
    )
    yield Operation(
        "append what makes the reserve larger",
        lambda s: s.append(LARGE),
        lambda s: s.append(b"zero"),
        effect=plus(LARGE),
        capacity_bytes=2 * MIB,
    )
    yield Operation(
        "append to an empty segment whose reserve was larger",
        lambda s: s.append(b"small"),
        lambda s: [s.append(LARGE), s.claim(), s.take(1), s.release()],
        effect=plus(b"small"),
        capacity_bytes=2 * MIB,
    )
