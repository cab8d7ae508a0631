"""Dying while a batch is acknowledged and what it led to is stored: both are there after, or neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from shardq.model import KEPT_PIPE, Hand, When
from shardq.outputs import Output
from tests.faults.kit.acts import fill, sleep
from tests.faults.kit.case import BATCH, Effect, Operation, minus, one_after_another, plus
from tests.faults.kit.scene import KEY, PIPE, Scene, run
from tests.faults.kit.timings import FAR_US, FARTHER_US
from tests.faults.kit.turns import OTHER, OTHER_KEY, turn

#: Tubes of 12 other threads.
PIPES = [f"app/Next/{thread}/0" for thread in range(12)]
MESSAGES = [b"first", b"second"]
#: More than the smallest extent has room for behind what is there.
FILLING, NEARLY_A_PAGE = b"x" * 3700, b"m" * 3900


def pop(there: Scene, outputs: Sequence[Output], count: int | None = None) -> bool:
    """Acknowledge the first `count` of the batch in hand, or all of it."""
    batch = there.batch
    return run(there.storage.pop(Hand(KEY, there.token, batch), batch.count if count is None else count, outputs))


def sent(*pipes: str, when: When | None = None, absent: bool = False) -> list[Output]:
    """The messages for each of these pipes."""
    return [Output(pipe, MESSAGES, when, absent) for pipe in pipes]


def each(*pipes: str, suffix: str = "") -> Effect:
    return one_after_another(*(plus(*MESSAGES, pipe=f"{pipe}{suffix}") for pipe in pipes))


def outputs() -> Iterator[Operation]:
    return (replace(operation, threads=64) for operation in _outputs())


def _outputs() -> Iterator[Operation]:
    two = PIPES[:2]
    yield Operation(
        "acknowledge with outputs",
        lambda s: pop(s, sent(*two)),
        lambda s: s.append(*BATCH),
        ready=lambda s: s.hold(2),
        effect=one_after_another(minus(2), each(*two)),
    )
    yield Operation(
        "acknowledge a prefix with outputs",
        lambda s: pop(s, sent(*two), 1),
        lambda s: [s.append(*BATCH), s.append(b"zero", pipe=two[0])],
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(1), each(*two)),
    )
    yield Operation(
        "acknowledge with outputs for many sleepers",
        lambda s: pop(s, sent(*PIPES)),
        lambda s: [s.append(*BATCH), *(s.append(b"zero", pipe=pipe) for pipe in PIPES[::2]), sleep(s)],
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(3), each(*PIPES)),
    )
    yield Operation(
        "acknowledge with outputs into the own tube",
        lambda s: pop(s, sent(PIPE)),
        lambda s: s.append(*BATCH),
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(3), each(PIPE)),
    )
    yield Operation(
        "acknowledge with outputs into new extents",
        lambda s: pop(s, [Output(pipe, [NEARLY_A_PAGE]) for pipe in (PIPE, *PIPES[:3])]),
        lambda s: [s.append(*BATCH), *(s.append(FILLING, pipe=pipe) for pipe in two)],
        ready=lambda s: s.hold(2),
        effect=one_after_another(minus(2), *(plus(NEARLY_A_PAGE, pipe=pipe) for pipe in (PIPE, *PIPES[:3]))),
    )
    yield Operation(
        "acknowledge with outputs, refused",
        lambda s: pop(s, [Output(pipe, [b"m" * 30_000]) for pipe in PIPES]),
        lambda s: [s.append(*BATCH), fill(s)],
        ready=lambda s: s.hold(2),
    )
    yield Operation(
        "acknowledge again with outputs",
        lambda s: pop(s, sent(*two)),
        lambda s: s.append(*BATCH),
        ready=lambda s: [s.hold(2), pop(s, ())],
        effect=minus(2),
    )
    yield Operation(
        "turn with outputs",
        lambda s: turn(s, outputs=sent(*two)),
        lambda s: [s.append(*BATCH), s.append(b"other", pipe=OTHER), sleep(s)],
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(3), each(*two)),
        keys=(KEY, OTHER_KEY),
    )
    yield from _later_and_absent()
    yield from _kept()


def _kept() -> Iterator[Operation]:
    results = [b"result", b"another"]
    yield Operation(
        "acknowledge with results that are kept",
        lambda s: pop(s, _results(*results)),
        lambda s: s.append(*BATCH),
        ready=lambda s: s.hold(2),
        effect=one_after_another(minus(2), plus(*results, pipe=KEPT_PIPE)),
    )
    yield Operation(
        "acknowledge with the first results that are kept, and with outputs",
        lambda s: pop(s, [*sent(PIPES[0]), *_results(*results)]),
        lambda s: s.append(*BATCH),
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(3), each(PIPES[0]), plus(*results, pipe=KEPT_PIPE)),
    )
    yield Operation(
        "turn with results that are kept beside others, and with outputs",
        lambda s: turn(s, outputs=[*sent(PIPES[0]), *_results(*results)]),
        lambda s: [_keep(s, b"old", b"older"), s.append(*BATCH), sleep(s)],
        ready=lambda s: s.hold(3),
        effect=one_after_another(minus(3), each(PIPES[0]), plus(*results, pipe=KEPT_PIPE)),
    )
    yield Operation(
        "acknowledge with results in place of the oldest",
        lambda s: pop(s, _results(*results)),
        lambda s: [_keep(s, b"old", b"older"), s.append(*BATCH), setattr(s.storage.settings, "results", 3)],
        ready=lambda s: s.hold(2),
        effect=one_after_another(minus(1, KEPT_PIPE), minus(2), plus(*results, pipe=KEPT_PIPE)),
        midways=lambda before: [minus(1, KEPT_PIPE)(before)],
    )
    yield Operation(
        "acknowledge with results in a full segment, refused for its outputs",
        lambda s: pop(s, [*[Output(pipe, [b"m" * 30_000]) for pipe in PIPES], *_results(*results)]),
        lambda s: [s.append(*BATCH), fill(s)],
        ready=lambda s: s.hold(2),
    )
    yield Operation(
        "drop a result, and those that are too old",
        lambda s: run(s.storage.drop(KEPT_PIPE)),
        lambda s: [_keep(s, b"old", b"older"), setattr(s.storage.settings, "results_age_s", 1e-9)],
        effect=minus(2, KEPT_PIPE),
    )


def _results(*results: bytes) -> list[Output]:
    return [Output(KEPT_PIPE, results)]


def _keep(there: Scene, *results: bytes) -> None:
    """Results that are kept already."""
    assert there.append(b"asked")
    there.hold(1)
    assert pop(there, _results(*results))
    there.release()


def _later_and_absent() -> Iterator[Operation]:
    far = f" at {FAR_US}"
    yield Operation(
        "acknowledge with deferred outputs",
        lambda s: pop(s, sent(*PIPES[:3], when=When(FAR_US))),
        lambda s: s.append(*BATCH),
        ready=lambda s: s.hold(2),
        effect=one_after_another(minus(2), each(*PIPES[:3], suffix=far)),
    )
    yield Operation(
        "acknowledge with outputs of all kinds",
        lambda s: pop(
            s,
            [
                *sent(*PIPES[:2]),
                *sent(*PIPES[2:4], when=When(FAR_US)),
                *sent(*PIPES[4:6], absent=True),
                *sent(PIPES[0], when=When(FARTHER_US)),
            ],
        ),
        lambda s: [s.append(*BATCH), s.append(b"first", pipe=PIPES[4])],
        ready=lambda s: s.hold(2),
        effect=one_after_another(
            minus(2),
            each(*PIPES[:2], PIPES[5]),
            plus(b"second", pipe=PIPES[4]),
            each(*PIPES[2:4], suffix=far),
            each(PIPES[0], suffix=f" at {FARTHER_US}"),
        ),
    )
    yield Operation(
        "acknowledge with deferred outputs, refused",
        lambda s: pop(s, [*sent(*PIPES[:2]), *(Output(pipe, [b"m" * 30_000], When(FAR_US)) for pipe in PIPES)]),
        lambda s: [s.append(*BATCH), fill(s)],
        ready=lambda s: s.hold(2),
    )
    yield Operation(
        "acknowledge with absent outputs behind many",
        lambda s: pop(s, sent(PIPES[0], absent=True)),
        lambda s: [s.append(*BATCH), s.append(*(b"%d" % n for n in range(600)), pipe=PIPES[0])],
        ready=lambda s: s.hold(2),
        effect=one_after_another(minus(2), each(PIPES[0])),
    )
    yield Operation(
        "acknowledge with absent outputs that are there",
        lambda s: pop(s, sent(*PIPES[:2], absent=True)),
        lambda s: [s.append(*BATCH), *(s.append(*MESSAGES, pipe=pipe) for pipe in PIPES[:2])],
        ready=lambda s: s.hold(2),
        effect=minus(2),
    )
