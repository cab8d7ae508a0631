"""Burying, putting back and forgetting: the message is in its tube or in its grave, never in both, never in neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tests.faults.kit.acts import bury_each, fail_alone, fill, sleep
from tests.faults.kit.case import BATCH, Effect, Operation, minus, one_after_another, plus, without
from tests.faults.kit.scene import GRAVE, MIB, PIPE, Contents, Scene, run
from tests.support import hands

LETTER = b"letter"
OLD = [b"old", b"older", b"oldest"]
LARGE = [b"%d" % n * (18 << 10) for n in range(3)]
#: More than half of what a segment of one MiB keeps of a handler.
HUGE = b"h" * (40 << 10)


def letters() -> Iterator[Operation]:
    yield from _burials()
    yield from _returns()
    yield from _losses()


def _burials() -> Iterator[Operation]:
    yield _burial("bury into a new grave")
    yield _burial("bury into an old grave", lambda s: bury_each(s, *OLD))
    yield _burial("bury into an emptied grave", lambda s: [bury_each(s, *OLD), _open(s), _drop(s, 0, 1, 2)])
    yield _burial("bury what failed before", lambda s: bury_each(s, *OLD), then=lambda s: fail_alone(s, 2))
    yield _burial("bury the last before sleepers", messages=[b"one"], then=sleep)
    yield _burial("bury the first of several in hand", held=3, then=sleep)
    yield _burial("bury in place of the oldest", partial(_at_most, 3), dropped=1)
    yield _burial("bury in place of the two oldest", partial(_at_most, 3), then=lambda s: _keep(s, 2), dropped=2)
    yield _burial("bury in place of the oldest for its bytes", lambda s: bury_each(s, HUGE), HUGE, dropped=1)
    yield _burial("bury when full", lambda s: bury_each(s, *OLD), then=fill)
    yield _burial("bury into a new grave when full", then=fill)
    yield Operation(
        "bury, refused",
        lambda s: s.bury(b"l" * MIB),
        lambda s: [_bury_old(s), s.append(*BATCH)],
        ready=lambda s: s.hold(1),
        counted=(1,),
    )
    yield _burial("bury in a full directory", lambda s: _drained(s, 7), threads=8)


def _burial(
    name: str,
    before: Callable[[Scene], object] = lambda there: None,
    letter: bytes = LETTER,
    *,
    messages: list[bytes] = BATCH,
    then: Callable[[Scene], object] = lambda there: None,
    held: int = 1,
    dropped: int = 0,
    threads: int = 16,
) -> Operation:
    """The message at the head of a tube of these becomes a letter, at the cost of so many others."""
    buried = one_after_another(minus(1), plus(letter, pipe=GRAVE))
    lost = [minus(number, GRAVE) for number in range(1, dropped + 1)]
    return Operation(
        name,
        lambda s: _bury(s, letter),
        lambda s: [before(s), s.append(*messages), then(s)],
        ready=lambda s: s.hold(held),
        effect=one_after_another(lost[-1], buried) if lost else buried,
        midways=partial(_each, effects=lost),
        threads=threads,
    )


def _returns() -> Iterator[Operation]:
    yield _return("requeue", 0, lambda s: s.append(*BATCH))
    yield _return("requeue from the middle", 1, lambda s: s.append(*BATCH))
    yield _return("requeue to an empty tube with a sleeper", 2, sleep)
    yield _return("requeue to a new thread", 0, pipe="app/Job/2/0")
    yield _return("requeue the only letter", 0, lambda s: [_open(s), _drop(s, 1, 2)])
    yield _return("requeue to the front", 0, lambda s: s.append(*BATCH), front=True)
    yield _return("requeue to the front again", 0, lambda s: _put_in_front(s, b"zero"), front=True)
    yield Operation(
        "requeue, refused",
        lambda s: _requeue(s, 0, PIPE, b"f" * 4096),
        lambda s: [_bury_old(s), fill(s)],
        ready=_open,
    )
    yield Operation(
        "requeue what is gone",
        lambda s: run(s.storage.requeue(GRAVE, 1 << 40, PIPE, b"back")),
        _bury_old,
    )


def _return(
    name: str,
    place: int,
    then: Callable[[Scene], object] = lambda there: None,
    *,
    pipe: str = PIPE,
    front: bool = False,
) -> Operation:
    """A letter becomes a message again."""
    back = _in_front(b"back") if front else plus(b"back", pipe=pipe)

    def effect(before: Contents) -> Contents:
        return one_after_another(without(before[GRAVE][place]), back)(before)

    return Operation(
        name, lambda s: _requeue(s, place, pipe, b"back", front=front), lambda s: [_bury_old(s), then(s)], _open, effect
    )


def _in_front(message: bytes) -> Effect:
    """It comes behind `zero`, where that was put in front before it."""

    def effect(before: Contents) -> Contents:
        held = before.get(PIPE, [])
        place = held.count(b"zero")
        return {**before, PIPE: [*held[:place], message, *held[place:]]}

    return effect


def _losses() -> Iterator[Operation]:
    yield Operation("drop a letter", lambda s: _drop(s, 1), _bury_old, _open, without(OLD[1]))
    yield Operation("drop the oldest letter", lambda s: _drop(s, 0), _bury_old, _open, minus(1, GRAVE))
    yield Operation(
        "drop all letters",
        lambda s: _drop(s, 2, 0, 1),
        lambda s: [_bury_old(s), sleep(s)],
        _open,
        effect=without(*OLD),
        piecemeal=True,
    )
    yield Operation(
        "drop across extents",
        lambda s: _drop(s, 0, 1),
        lambda s: bury_each(s, *LARGE),
        _open,
        effect=minus(2, GRAVE),
        piecemeal=True,
        capacity_bytes=2 * MIB,
    )
    yield Operation("look at the letters", _look, lambda s: [_bury_old(s), s.append(*BATCH)])


def _bury_old(there: Scene) -> None:
    bury_each(there, *OLD)


def _keep(there: Scene, most: int) -> None:
    there.storage.settings.dead_letters = most


def _at_most(most: int, there: Scene) -> None:
    """A grave that is full."""
    _keep(there, most)
    _bury_old(there)


def _drained(there: Scene, count: int) -> None:
    """Threads that had work and have none: of their entries one has to go for the grave."""
    for number in range(count):
        assert there.append(b"old", pipe=f"app/Old/{number}/0")
        assert there.store.removing.remove(f"app/Old/{number}/0", [b"old"])


def _bury(there: Scene, letter: bytes) -> None:
    assert there.bury(letter)


def _open(there: Scene) -> None:
    """See what letters there are."""
    there.batch = run(there.storage.range(GRAVE, 99))


def _requeue(there: Scene, place: int, pipe: str, message: bytes, *, front: bool = False) -> None:
    run(there.storage.requeue(GRAVE, there.batch.sequence + place, pipe, message, front=front))


def _put_in_front(there: Scene, message: bytes) -> None:
    """In front of a tube with other messages."""
    there.append(*BATCH)
    run(hands.put_in_front(there.storage, PIPE, message))


def _drop(there: Scene, *places: int) -> None:
    numbers = [there.batch.sequence + place for place in places]
    assert run(there.storage.drop(GRAVE, *numbers)) == len(places)


def _look(there: Scene) -> None:
    assert run(there.storage.graves()) == [GRAVE]
    assert run(there.storage.pipes()) == [PIPE]
    assert run(there.storage.backlog()).dead == len(OLD)
    assert run(there.storage.range(GRAVE, 9)).messages == OLD


def _each(before: Contents, effects: list[Effect]) -> list[Contents]:
    return [effect(before) for effect in effects]
