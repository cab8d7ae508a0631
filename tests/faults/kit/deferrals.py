"""Dying while single messages that wait for their time are cancelled, or have to come before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.faults.kit.acts import fill, sleep
from tests.faults.kit.case import BATCH, Effect, Operation, one_after_another, plus, without
from tests.faults.kit.scene import MIB, PIPE, Scene, run
from tests.faults.kit.timings import FAR, FAR_US, LARGE, Act, defer, defer_each, numbered, repeat


def deferrals() -> Iterator[Operation]:
    yield from _cancelled()
    yield from _brought()
    yield Operation("look at what waits", _look, lambda s: [defer(s, *BATCH), repeat(s, b"again")])


def _cancelled() -> Iterator[Operation]:
    yield _cancel("cancel one of several", [b"two"], lambda s: defer(s, *BATCH))
    yield _cancel("cancel the only one", [b"one"], lambda s: [defer(s, b"one"), sleep(s)])
    yield _cancel(
        "cancel among others", [numbered(9)[4]], lambda s: [defer_each(s, numbered(9)), repeat(s, numbered(9)[3])]
    )
    yield _cancel("cancel a large one", [LARGE], lambda s: [defer(s, LARGE), defer(s, b"small")])
    yield _cancel("cancel all of a record", BATCH, lambda s: [defer(s, *BATCH), defer(s, b"four")])


def _brought() -> Iterator[Operation]:
    yield _bring("bring one of several", b"two", lambda s: defer(s, *BATCH))
    yield _bring("bring one of several behind others", b"two", lambda s: [s.append(b"zero"), defer(s, *BATCH)])
    yield _bring("bring one of several to a sleeper", b"two", lambda s: [sleep(s), defer(s, *BATCH)])
    yield _bring("bring one of several into a new extent", b"two", lambda s: [s.append(b"x" * 4000), defer(s, *BATCH)])
    yield _bring("bring the only one", b"one", lambda s: [defer_each(s, numbered(9)), defer(s, b"one")])
    yield _bring("bring a large one", LARGE, lambda s: [s.append(b"zero"), defer(s, LARGE)])
    yield _bring("bring one of a large record", LARGE, lambda s: defer(s, b"one", LARGE, b"three"))
    yield Operation(
        "bring one of a large record when full, refused",
        lambda s: _ran(s, b"l" * (200 << 10), came=False),
        lambda s: [defer(s, b"one", b"l" * (200 << 10)), fill(s)],
        capacity_bytes=MIB,
    )


def _cancel(name: str, messages: Sequence[bytes], before: Act) -> Operation:
    return Operation(
        name,
        lambda s: _cancelled_in(s, messages),
        before,
        effect=_gone(*messages),
        piecemeal=len(messages) > 1,
    )


def _bring(name: str, message: bytes, before: Act) -> Operation:
    effect = one_after_another(_gone(message), plus(message))
    return Operation(name, lambda s: _ran(s, message, came=True), before, effect=effect)


def _gone(*messages: bytes) -> Effect:
    """They wait no more. What comes again, and is equal, does."""

    def effect(before: dict[str, list[bytes]]) -> dict[str, list[bytes]]:
        left = without(*messages)({FAR: before[FAR]})
        return {**{pipe: held for pipe, held in before.items() if pipe != FAR}, **left}

    return effect


def _ids(there: Scene, messages: Sequence[bytes]) -> list[str]:
    page = run(there.storage.deferrals.page(None, 1000))
    found = {its.message: its.id for its in page}
    return [found[message] for message in messages]


def _cancelled_in(there: Scene, messages: Sequence[bytes]) -> None:
    ids = _ids(there, messages)
    assert run(there.storage.deferrals.cancel(*ids)) == len(ids)


def _ran(there: Scene, message: bytes, *, came: bool) -> None:
    [its_id] = _ids(there, [message])
    assert run(there.storage.deferrals.run(its_id)) is came


def _look(there: Scene) -> None:
    page = run(there.storage.deferrals.page())
    assert [(its.pipe, its.due_us, its.message) for its in page] == [(PIPE, FAR_US, message) for message in BATCH]
    assert run(there.storage.deferrals.find(page[0].id)) == page[0]
