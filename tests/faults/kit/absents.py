"""Dying of what must not be there twice, and of the table that tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardq.shm import words as at
from tests.faults.kit.acts import fill
from tests.faults.kit.case import BATCH, Operation, plus, without
from tests.faults.kit.scene import PIPE, Scene, run
from tests.faults.kit.timings import FAR, FAR_US, FARTHER_US, add, defer, defer_each, numbered


def absents() -> Iterator[Operation]:
    yield from _appends()
    yield from _tables()


def index(there: Scene, *messages: bytes) -> None:
    """Append, and have the tube in use with equality."""
    assert there.append(*messages)
    assert add(there, messages[0], absent=True) == 0


def _appends() -> Iterator[Operation]:
    new = [b"one", b"new", b"new", b"newer"]
    yield Operation("append absent to a new thread", lambda s: add(s, *BATCH, absent=True), effect=plus(*BATCH))
    yield Operation(
        "append absent for the first time",
        lambda s: add(s, *new, absent=True),
        lambda s: s.append(*BATCH),
        effect=plus(b"new", b"newer"),
    )
    yield Operation(
        "append absent again",
        lambda s: add(s, *new, absent=True),
        lambda s: index(s, *BATCH),
        effect=plus(b"new", b"newer"),
    )
    yield Operation("append absent what is there", lambda s: add(s, *BATCH, absent=True), lambda s: s.append(*BATCH))
    yield Operation("append absent what waits", lambda s: add(s, *BATCH, absent=True), lambda s: defer(s, *BATCH))
    yield Operation(
        "append absent what is in hand",
        lambda s: add(s, *BATCH, b"new", absent=True),
        lambda s: s.append(*BATCH),
        ready=lambda s: s.hold(2),
        effect=plus(b"new"),
    )
    yield Operation(
        "append absent what was removed",
        lambda s: add(s, b"two", absent=True),
        lambda s: [index(s, *BATCH, b"two"), run(s.storage.remove(PIPE, b"two"))],
        effect=plus(b"two"),
    )
    yield Operation(
        "defer absent",
        lambda s: add(s, *new, due_us=FAR_US, absent=True),
        lambda s: s.append(*BATCH),
        effect=plus(b"new", b"newer", pipe=FAR),
    )
    yield Operation(
        "defer absent what waits", lambda s: add(s, *BATCH, due_us=FARTHER_US, absent=True), lambda s: defer(s, *BATCH)
    )
    yield Operation(
        "append where others ask for equality",
        lambda s: s.append(*BATCH),
        lambda s: index(s, *BATCH),
        effect=plus(*BATCH),
        check=lambda s: _check_present(s, BATCH),
    )
    yield Operation(
        "catch up with what was appended",
        lambda s: add(s, b"0" * 8, absent=True),
        lambda s: [index(s, b"first"), s.append(*numbered(1100)), s.append(*numbered(40))],
        check=lambda s: _check_present(s, numbered(1100)),
    )
    yield Operation("append absent, refused", lambda s: add(s, b"f" * 4096, absent=True), fill)
    yield Operation(
        "pop the last of what others ask for",
        lambda s: s.take(9),
        lambda s: index(s, *BATCH),
        ready=Scene.claim,
        effect=without(*BATCH),
    )


def _tables() -> Iterator[Operation]:
    def grown(there: Scene, count: int) -> None:
        """A table that is about to be left for another one."""
        index(there, *numbered(count))

    def thinned(there: Scene) -> None:
        """One in which hardly anything is living."""
        grown(there, 1000)
        there.claim()
        assert there.take(990)
        there.release()
        for n in range(990, 1030):
            add(there, b"%08d" % n, absent=True)

    def moving(there: Scene) -> None:
        """One of which a part is moved."""
        grown(there, 250)
        n = 250
        while not there.store.segment.words[at.EQUALITY_STATE] >> 8 & 255:
            add(there, b"%08d" % n, absent=True)
            n += 1

    fresh = [b"fresh%d" % n for n in range(3)]
    yield Operation(
        "begin another table",
        lambda s: add(s, *fresh, absent=True),
        lambda s: grown(s, 254),
        effect=plus(*fresh),
        check=lambda s: _check_present(s, numbered(254)),
    )
    yield Operation(
        "move to another table",
        lambda s: add(s, *fresh, absent=True),
        moving,
        effect=plus(*fresh),
        check=lambda s: _check_present(s, numbered(254)),
    )
    yield Operation(
        "finish another table",
        lambda s: add(s, *(b"%dlast" % n for n in range(20)), absent=True),
        moving,
        effect=plus(*(b"%dlast" % n for n in range(20))),
        check=lambda s: _check_present(s, numbered(254)),
    )
    yield Operation(
        "go over to a smaller table",
        lambda s: add(s, *fresh, absent=True),
        thinned,
        effect=plus(*fresh),
        check=lambda s: _check_present(s, numbered(1030)[990:]),
    )
    yield Operation(
        "defer many in one record",
        lambda s: add(s, *numbered(600), due_us=FAR_US),
        lambda s: defer(s, *fresh),
        effect=plus(*numbered(600), pipe=FAR),
    )
    yield Operation(
        "defer more that are alike than have entries",
        lambda s: [add(s, b"same", due_us=FAR_US), run(s.storage.remove(PIPE, b"same"))],
        lambda s: defer_each(s, [b"same"] * 17),
        effect=without(b"same"),
        midways=lambda before: [{FAR: [b"same"] * n} for n in range(1, 19)],
    )


def _check_present(there: Scene, messages: Sequence[bytes]) -> None:
    """A process that asks for equal messages finds all of them."""
    assert there.store.appending.append_absent([(PIPE, messages)]) == 0
