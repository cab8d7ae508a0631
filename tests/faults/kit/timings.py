"""Dying of what waits for its time, and of what must not be there twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from shardq.model import Scheduled, When
from shardq.shm import words as at
from shardq.shm.checking.pending import living_messages, pending_of
from shardq.shm.memory import record
from tests.faults.kit.acts import fill, sleep
from tests.faults.kit.case import BATCH, URGENT, Effect, Operation, plus, without
from tests.faults.kit.scene import MIB, PIPE, Contents, Scene, run

#: Two times that are over, and two that do not come.
PAST_US, LATER_US, FAR_US, FARTHER_US = 1000, 2000, 1 << 52, (1 << 52) + (1 << 48)
#: In seconds a hundred years, so that the second time is known and does not come.
RARELY, SELDOM = "every 3153600000", "every 3153600001"
SECOND_US = PAST_US + 3_153_600_000_000_000
SKIPPED_US = FAR_US + 3_153_600_000_000_000
PAST, FAR = f"{PIPE} at {PAST_US}", f"{PIPE} at {FAR_US}"
#: Too large for a cell.
LARGE = b"l" * 3000
Act = Callable[[Scene], object]


def timings() -> Iterator[Operation]:
    yield from _defers()
    yield from _promotions()
    yield from _recurrences()
    yield from _removals()


def defer(there: Scene, *messages: bytes, due_us: int = FAR_US, pipe: str = PIPE) -> None:
    """One record; what is due stays where it is."""
    assert there.store.deferring.defer([(pipe, messages)], due_us)


def defer_each(there: Scene, messages: Sequence[bytes], due_us: int = FAR_US, step_us: int = 0) -> None:
    for n, message in enumerate(messages):
        defer(there, message, due_us=due_us + n * step_us)


def repeat(there: Scene, *messages: bytes, schedule: str = RARELY, due_us: int = FAR_US) -> int | None:
    return there.store.deferring.repeat([(PIPE, messages)], schedule, due_us)


def promote(there: Scene) -> None:
    run(there.storage.promote())


def add(there: Scene, *messages: bytes, due_us: int = 0, schedule: str = "", absent: bool = False) -> int | None:
    """As a user does."""
    when = When(due_us, schedule) if due_us else None
    return run(there.storage.append([(PIPE, messages)], when=when, absent=absent))


def numbered(count: int, size: int = 8) -> list[bytes]:
    return [b"%0*d" % (size, n) for n in range(count)]


def moved(name: str, pipe: str = PIPE) -> Effect:
    """What waits under this name has come into its tube."""

    def effect(before: Contents) -> Contents:
        after = {key: held for key, held in before.items() if key != name}
        return {**after, pipe: [*before.get(pipe, []), *before[name]]}

    return effect


def _defers() -> Iterator[Operation]:
    yield Operation("defer", lambda s: add(s, *BATCH, due_us=FAR_US), effect=plus(*BATCH, pipe=FAR))
    yield Operation(
        "defer before others",
        lambda s: add(s, *BATCH, due_us=FAR_US),
        lambda s: [sleep(s), defer_each(s, numbered(6), FAR_US + 100, 10)],
        effect=plus(*BATCH, pipe=FAR),
    )
    yield Operation(
        "defer into the last free cell",
        lambda s: add(s, b"last", due_us=FAR_US),
        lambda s: _fill_a_slab(s, leaving=1),
        effect=plus(b"last", pipe=FAR),
    )
    yield Operation(
        "defer into another slab",
        lambda s: add(s, b"first", due_us=FAR_US),
        lambda s: _fill_a_slab(s, leaving=0),
        effect=plus(b"first", pipe=FAR),
    )
    yield Operation("defer a large message", lambda s: add(s, LARGE, due_us=FAR_US), effect=plus(LARGE, pipe=FAR))
    yield Operation(
        "defer a very large message",
        lambda s: add(s, b"l" * (3 * MIB), due_us=FAR_US),
        effect=plus(b"l" * (3 * MIB), pipe=FAR),
        capacity_bytes=8 * MIB,
    )
    yield Operation("defer, refused", lambda s: add(s, LARGE * 10, due_us=FAR_US), fill)
    yield Operation("defer small ones, refused", lambda s: add(s, b"x" * 2000, due_us=FAR_US), fill)
    yield Operation(
        "defer until now",
        lambda s: add(s, *BATCH, due_us=PAST_US),
        effect=plus(*BATCH),
        midways=lambda before: [plus(*BATCH, pipe=PAST)(before)],
    )


def _promotions() -> Iterator[Operation]:
    some = numbered(5)

    def one(name: str, messages: Sequence[bytes], *prepare: Act, **options: object) -> Operation:
        return Operation(
            name,
            promote,
            lambda s: [defer(s, *messages, due_us=PAST_US), *(act(s) for act in prepare)],
            effect=moved(PAST),
            **options,  # type: ignore[arg-type]
        )

    yield one("promote to a new thread", BATCH)
    yield one("promote to a new thread with a sleeper", BATCH, sleep)
    yield one("promote behind others", BATCH, lambda s: s.append(b"zero"))
    yield one("promote into a new extent", BATCH, lambda s: s.append(b"x" * 4000))
    yield one("promote from among others", BATCH, lambda s: defer_each(s, numbered(9), FAR_US, 3))
    yield one("promote to another priority beside work", BATCH, lambda s: s.append(b"hurry", pipe=URGENT))
    yield one("promote a large message to a new thread", [LARGE])
    yield one("promote a large message behind others", [LARGE], lambda s: s.append(b"zero"))
    yield one("promote a large message behind a large one", [LARGE], lambda s: s.append(LARGE))
    yield one("promote a very large message", [b"l" * (3 * MIB)], capacity_bytes=8 * MIB)
    yield one("promote when full", BATCH, fill)
    yield one("promote a large message when full", [LARGE * 20], fill)
    yield one("promote a bundle with cancelled ones", numbered(130), lambda s: _cancel(s, numbered(130)[::2]))
    for beside in ("", " behind others"):
        yield Operation(
            f"promote a large bundle with cancelled ones{beside}",
            promote,
            lambda s, beside=beside: [  # type: ignore[misc]
                s.append(b"zero") if beside else None,
                defer(s, *numbered(150, 64), due_us=PAST_US),
                _cancel(s, [*numbered(150, 64)[:70], *numbered(150, 64)[-1:]]),
            ],
            effect=moved(PAST),
        )
    yield Operation(
        "promote several",
        promote,
        lambda s: [defer_each(s, some, PAST_US), defer(s, *BATCH)],
        effect=moved(PAST),
        midways=lambda before: [_split(before, count) for count in range(1, len(some))],
    )
    yield Operation(
        "promote what has no messages left",
        promote,
        lambda s: [defer(s, *BATCH, due_us=PAST_US), defer(s, b"late"), _die_removing(s, *BATCH)],
    )
    yield Operation("promote where nothing is due", promote, lambda s: defer(s, *BATCH))
    yield Operation(
        "promote where only spare entries are free",
        promote,
        lambda s: [defer(s, *BATCH, due_us=PAST_US), *(s.append(b"w", pipe=f"app/Other/{n}/0") for n in range(8))],
        effect=moved(PAST),
        threads=8,
        keys=(),
    )
    yield Operation(
        "promote the only one of a slab whose memory is not kept",
        promote,
        lambda s: _fill_far_slabs(s),
        effect=moved(f"{PIPE} at {PAST_US}"),
        capacity_bytes=8 * MIB,
    )


def _recurrences() -> Iterator[Operation]:
    each = f"{PIPE} at {FAR_US}, {RARELY}"
    other = f"{PIPE} at {FARTHER_US}, {SELDOM}"
    due, again = f"{PIPE} at {PAST_US}, {RARELY}", f"{PIPE} at {SECOND_US}, {RARELY}"

    def changed(before: Contents) -> Contents:
        return plus(b"two", pipe=other)(without(b"two")(before))

    def came(before: Contents) -> Contents:
        held = before[due]
        after = {key: messages for key, messages in before.items() if key != due}
        return {**after, PIPE: [*before.get(PIPE, []), *held], again: held}

    def skipped(before: Contents) -> Contents:
        return plus(b"two", pipe=f"{PIPE} at {SKIPPED_US}, {RARELY}")(without(b"two")(before))

    yield Operation("repeat", lambda s: add(s, *BATCH, due_us=FAR_US, schedule=RARELY), effect=plus(*BATCH, pipe=each))
    yield Operation(
        "repeat what is repeated", lambda s: add(s, *BATCH, due_us=FAR_US, schedule=RARELY), lambda s: repeat(s, *BATCH)
    )
    yield Operation(
        "repeat otherwise",
        lambda s: add(s, b"two", due_us=FARTHER_US, schedule=SELDOM),
        lambda s: [repeat(s, *BATCH), repeat(s, b"four", due_us=FAR_US - 5)],
        effect=changed,
    )
    yield Operation(
        "repeat the only one of a record otherwise",
        lambda s: add(s, b"two", due_us=FARTHER_US, schedule=SELDOM),
        lambda s: [repeat(s, b"two"), repeat(s, b"four", due_us=FAR_US - 5)],
        effect=changed,
    )
    yield Operation(
        "repeat otherwise, absent",
        lambda s: add(s, b"two", due_us=FARTHER_US, schedule=SELDOM, absent=True),
        lambda s: repeat(s, *BATCH),
    )
    yield Operation("come again", promote, lambda s: repeat(s, *BATCH, due_us=PAST_US), effect=came)
    yield Operation(
        "come again from among others",
        promote,
        lambda s: [
            sleep(s),
            repeat(s, *BATCH, due_us=PAST_US),
            *(repeat(s, b"n%d" % n, due_us=FAR_US + n) for n in range(5)),
        ],
        effect=came,
    )
    yield Operation(
        "come for the last time",
        lambda s: [s.store.deferring.recur(s.store.deferring.promote(FAR_US - 1).recurrent, None)],  # type: ignore[arg-type]
        lambda s: [
            repeat(s, *BATCH, due_us=PAST_US),
            *(repeat(s, b"n%d" % n, due_us=FAR_US + n) for n in range(5)),
        ],
        effect=moved(due),
    )
    # Full by another tube: in its own there is memory behind the last record, which is all that it needs.
    yield Operation(
        "come again when full",
        promote,
        lambda s: [repeat(s, *BATCH, due_us=PAST_US), s.append(b"before"), fill(s, URGENT)],
        effect=came,
    )
    yield Operation(
        "put off",
        lambda s: s.store.deferring.put_off(s.store.deferring.promote(FAR_US - 1).recurrent, FAR_US),  # type: ignore[arg-type]
        lambda s: [repeat(s, *BATCH, due_us=PAST_US), repeat(s, b"four", due_us=FAR_US - 9)],
    )
    yield Operation(
        "skip",
        lambda s: _skipped(s, b"two"),
        lambda s: [repeat(s, b"two"), *(repeat(s, b"n%d" % n, due_us=FAR_US + n) for n in range(5))],
        effect=skipped,
    )
    yield Operation(
        "skip one of several",
        lambda s: _skipped(s, b"two"),
        lambda s: [repeat(s, *BATCH), repeat(s, b"four", due_us=FAR_US - 9)],
        effect=skipped,
    )
    yield Operation(
        "skip the last time",
        lambda s: s.store.deferring.skip(Scheduled(PIPE, b"two", RARELY, FAR_US), None),
        lambda s: repeat(s, *BATCH),
        effect=without(b"two"),
    )
    yield Operation(
        "unschedule",
        lambda s: run(s.storage.unschedule(PIPE, b"two", b"nine")),
        lambda s: repeat(s, *BATCH),
        effect=without(b"two"),
    )
    yield Operation(
        "unschedule all of a record",
        lambda s: run(s.storage.unschedule(PIPE, *BATCH)),
        lambda s: [repeat(s, *BATCH), repeat(s, b"four"), defer(s, b"two")],
        effect=lambda before: {each: [b"four"], FAR: [b"two"]},
        piecemeal=True,
    )


def _skipped(there: Scene, message: bytes) -> None:
    assert run(there.storage.deferrals.skip(Scheduled(PIPE, message, RARELY, FAR_US)))


def _removals() -> Iterator[Operation]:
    yield Operation(
        "remove what waits",
        lambda s: run(s.storage.remove(PIPE, b"two")),
        lambda s: [defer(s, *BATCH), repeat(s, b"two")],
        effect=lambda before: {**before, FAR: [b"one", b"three"]},
    )
    yield Operation(
        "remove the only one that waits",
        lambda s: run(s.storage.remove(PIPE, b"one")),
        lambda s: [defer(s, b"one"), sleep(s)],
        effect=without(b"one"),
    )
    yield Operation(
        "remove from the middle of a heap",
        lambda s: run(s.storage.remove(PIPE, b"one")),
        lambda s: [defer_each(s, numbered(3), FAR_US - 50, 1), defer(s, b"one"), defer_each(s, numbered(9), FAR_US, 7)],
        effect=without(b"one"),
    )
    yield Operation(
        "remove a large one that waits",
        lambda s: run(s.storage.remove(PIPE, LARGE)),
        lambda s: [defer(s, LARGE), defer(s, b"small")],
        effect=without(LARGE),
    )
    yield Operation(
        "remove what waits and what is queued",
        lambda s: run(s.storage.remove(PIPE, *BATCH)),
        lambda s: [s.append(*BATCH, b"four"), defer(s, *BATCH), defer(s, b"one", b"five", due_us=FARTHER_US)],
        effect=without(*BATCH),
        piecemeal=True,
    )


def _cancel(there: Scene, messages: Sequence[bytes]) -> None:
    assert there.store.deferring.remove(PIPE, messages) == len(messages)


def _die_removing(there: Scene, *messages: bytes) -> None:
    """Cancel the last message of a record, and die before the record goes."""
    segment = there.store.segment
    with there.store._section:
        found = next(found for found in pending_of(segment) if living_messages(segment, found) == list(messages))
        for index in range(len(messages)):
            cancelled = record.cancelled_with(segment, found.messages, index)
            there.store._journal.commit(cancelled, there.store._journal.moved(at.DEFERRED, -1))


def _fill_a_slab(there: Scene, leaving: int) -> None:
    """Take all cells but some of the largest slab there is."""
    size = 2048
    count = ((64 << 10) - 192) // size - leaving
    for n in range(count):
        defer(there, b"%0*d" % (1800, n), due_us=FARTHER_US)


def _fill_far_slabs(there: Scene) -> None:
    """More slabs than keep their memory, of which the last has a single record, that is due."""
    most = ((64 << 10) - 192) // 2048 * 33
    for n in range(most):
        defer(there, b"%0*d" % (1800, n), due_us=FARTHER_US)
    defer(there, b"x" * 1800, due_us=PAST_US)


def _split(before: Contents, count: int) -> Contents:
    """The first so many have come."""
    held = before[PAST]
    return {**before, PAST: held[count:], PIPE: held[:count]}
