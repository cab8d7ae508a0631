"""Dying in one call over several tubes: all of it is there after, or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from shardq.errors import DirectoryFull
from shardq.model import When
from tests.faults.kit.acts import fill, sleep
from tests.faults.kit.case import Effect, Operation, one_after_another, plus
from tests.faults.kit.scene import PIPE, Scene, run
from tests.faults.kit.timings import FAR_US, FARTHER_US, PAST_US, RARELY, defer, defer_each, numbered, repeat
from tests.support import hands

#: Tubes of 12 threads, some of them of two priorities.
PIPES = [PIPE, "app/Job/1/9", *(f"app/Job/{thread}/0" for thread in range(2, 12)), "app/Job/2/1", "app/Job/3/-1"]
#: What a call has for each of them.
MESSAGES = [b"first", b"second"]
PARTS = [(pipe, MESSAGES) for pipe in PIPES]
#: Entries of the directory: a call takes at most a quarter.
THREADS = 64


def call(there: Scene, size: int = 0, due_us: int = 0, schedule: str = "", absent: bool = False) -> int | None:
    """One call over all tubes, with so many bytes more in each message."""
    parts = [(pipe, [message + bytes(size) for message in messages]) for pipe, messages in PARTS]
    when = When(due_us, schedule) if due_us else None
    return run(there.storage.append(parts, when=when, absent=absent))


def everywhere(suffix: str = "") -> Effect:
    return one_after_another(*(plus(*MESSAGES, pipe=f"{pipe}{suffix}") for pipe in PIPES))


def calls() -> Iterator[Operation]:
    return (replace(operation, threads=THREADS) for operation in _calls())


def _calls() -> Iterator[Operation]:
    two = PARTS[:2]
    yield Operation(
        "append a call to two tubes",
        lambda s: run(s.storage.append(two)),
        lambda s: [s.append(b"zero", pipe=pipe) for pipe, _ in two],
        effect=one_after_another(*(plus(*MESSAGES, pipe=pipe) for pipe, _ in two)),
    )
    yield Operation("append a call", call, effect=everywhere())
    yield Operation(
        "append a call behind others to sleepers",
        call,
        lambda s: [*(s.append(b"zero", pipe=pipe) for pipe in PIPES[::2]), sleep(s)],
        effect=everywhere(),
    )
    yield Operation(
        "append a call into new extents",
        lambda s: call(s, size=1900),
        lambda s: [s.append(b"x" * 3700, pipe=pipe) for pipe in PIPES[::3]],
        effect=one_after_another(*(plus(*(m + bytes(1900) for m in MESSAGES), pipe=pipe) for pipe in PIPES)),
    )
    yield Operation(
        "append a call to threads that are there, with sleepers",
        lambda s: run(s.storage.append(PARTS[:5])),
        lambda s: [*(s.append(b"zero", pipe=pipe) for pipe, _ in PARTS[:5]), sleep(s)],
        effect=one_after_another(*(plus(*MESSAGES, pipe=pipe) for pipe, _ in PARTS[:5])),
    )
    yield Operation(
        "append a call to two tubes into new extents",
        lambda s: run(s.storage.append([(pipe, [b"n" * 1900] * 2) for pipe, _ in two])),
        lambda s: [s.append(b"x" * 3700, pipe=pipe) for pipe, _ in two],
        effect=one_after_another(*(plus(*[b"n" * 1900] * 2, pipe=pipe) for pipe, _ in two)),
    )
    yield Operation("append a call, refused half-way", call, lambda s: _fill_but(s, 5))
    yield Operation(
        "append a call for which threads are given up",
        call,
        lambda s: [_drain(s, number) for number in range(THREADS)],
        effect=everywhere(),
    )
    yield Operation(
        "append a call with too many threads",
        _call_too_far,
        lambda s: [s.append(b"zero", pipe=f"app/Old/{number}/0") for number in range(THREADS - 5)],
        threads=THREADS,
    )
    yield from _deferred_calls()


def _deferred_calls() -> Iterator[Operation]:
    far = f" at {FAR_US}"
    yield Operation("defer a call", lambda s: call(s, due_us=FAR_US), effect=everywhere(far))
    yield Operation(
        "defer a call to two tubes before others",
        lambda s: run(s.storage.append(PARTS[:2], when=When(FAR_US))),
        lambda s: defer_each(s, numbered(3), FAR_US + 100, 10),
        effect=one_after_another(*(plus(*MESSAGES, pipe=f"{pipe}{far}") for pipe, _ in PARTS[:2])),
    )
    yield Operation(
        "defer a call before others",
        lambda s: call(s, due_us=FAR_US),
        lambda s: [sleep(s), defer_each(s, numbered(20), FAR_US + 100, 10), defer(s, b"late", due_us=FARTHER_US)],
        effect=everywhere(far),
    )
    yield Operation("defer a call, refused half-way", lambda s: call(s, 1500, due_us=FAR_US), lambda s: _fill_but(s, 5))
    yield Operation(
        "defer a call of large messages",
        lambda s: call(s, 3000, due_us=FAR_US),
        effect=one_after_another(*(plus(*(m + bytes(3000) for m in MESSAGES), pipe=f"{pipe}{far}") for pipe in PIPES)),
    )
    yield Operation(
        "defer a call until now",
        lambda s: call(s, due_us=PAST_US),
        effect=everywhere(),
        midways=lambda before: [_promoted(count)(before) for count in range(len(PIPES))],
    )
    yield Operation(
        "repeat a call",
        lambda s: call(s, due_us=FAR_US, schedule=RARELY),
        lambda s: repeat(s, b"first", b"second"),
        effect=one_after_another(*(plus(*MESSAGES, pipe=f"{pipe}{far}, {RARELY}") for pipe in PIPES[1:])),
    )
    yield Operation(
        "append a call of what is absent",
        lambda s: call(s, absent=True),
        lambda s: [s.append(*MESSAGES), s.append(*MESSAGES, pipe=PIPES[2]), defer(s, *MESSAGES, pipe=PIPES[1])],
        effect=one_after_another(*(plus(*MESSAGES, pipe=pipe) for pipe in PIPES[3:])),
    )
    yield Operation(
        "defer a call of what is absent",
        lambda s: call(s, due_us=FAR_US, absent=True),
        lambda s: [s.append(*MESSAGES), s.append(*MESSAGES, pipe=PIPES[2])],
        effect=one_after_another(*(plus(*MESSAGES, pipe=f"{pipe}{far}") for pipe in (PIPES[1], *PIPES[3:]))),
    )


def _promoted(count: int) -> Effect:
    """So many tubes have what was due, the others have it still to come."""
    return one_after_another(
        *(plus(*MESSAGES, pipe=pipe) for pipe in PIPES[:count]),
        *(plus(*MESSAGES, pipe=f"{pipe} at {PAST_US}") for pipe in PIPES[count:]),
    )


def _call_too_far(there: Scene) -> None:
    with suppress(DirectoryFull):
        call(there)
        raise AssertionError("there are not so many entries")


def _fill_but(there: Scene, pages: int) -> None:
    """Leave room for so many pages."""
    for number in range(pages):
        assert there.append(b"gone" * 800, pipe=f"app/Room/{number}/0")
    fill(there, "app/Full/0/0")
    for number in range(pages):
        _take_all(there, f"app/Room/{number}")


def _drain(there: Scene, number: int) -> None:
    """Have a thread that had work and has none now."""
    assert there.append(b"old", pipe=f"app/Old/{number}/0")
    _take_all(there, f"app/Old/{number}")


def _take_all(there: Scene, key: str) -> None:
    token, pipe = there.store.delivering.claim(key), f"{key}/0"
    hands.pop(there.store.delivering, pipe, hands.take(there.store.delivering, [pipe], 9, token).through, token)
    assert there.store.delivering.unclaim(key, token)
