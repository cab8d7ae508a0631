"""What a handler emits leaves once, or is known to be unsure, wherever its code is interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from shardq import Queue
from shardq.drivers import RuntimeStorage
from shardq.errors import HandlerError, TooManyOutputs
from shardq.handler import handling
from shardq.model import Batch, Limits
from shardq.outputs import Output
from shardq.working import outbox
from shardq.working.outbox import Outbox
from tests.unit.queue_handlers import Job, Plain

BATCH = Batch.of([b"a", b"b", b"c"], 1)


class Interrupted(Exception):
    """As a time-out that the handler swallows."""


@pytest.fixture
def box() -> Iterator[Outbox]:
    box = Outbox(Queue(RuntimeStorage()), "m/H")
    token = handling.set(BATCH)
    box.open(BATCH)
    yield box
    handling.reset(token)


def interrupted(function: Callable[[], object], at: int) -> bool:
    """Run it, and raise at the so-manyth line of the outbox. Returns whether it got that far."""
    lines = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != outbox.__file__:
            return None
        if event == "line":
            lines += 1
            if lines == at:
                raise Interrupted
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except Interrupted:
        return True
    finally:
        sys.settrace(former)
    return False


def sent(outputs: Sequence[Output]) -> int:
    return sum(len(output.messages) for output in outputs)


def test_an_interrupted_acknowledgement_loses_no_output(box: Outbox) -> None:
    for at in range(1, 100):
        box.open(BATCH)
        box.emit_sync(Plain, [Job(1), Job(2)])
        if not interrupted(lambda: box.take(2), at):
            break
        with suppress(HandlerError):  # the batch counts as failed, and its outputs come again
            assert sent(box.close()) == 2, f"line {at}"
        box.forget()
    assert at > 5


def test_an_interrupted_emit_is_there_whole_or_not_at_all_or_known_to_be_unsure(box: Outbox) -> None:
    for at in range(1, 200):
        box.open(BATCH)
        box.emit_sync(Plain, [Job(1), Job(2)])
        if not interrupted(lambda: box.emit_sync(Plain, [Job(3), Job(4)]), at):
            break
        with suppress(HandlerError):
            assert sent(box.close()) in (2, 4), f"line {at}"
        box.forget()
    assert at > 20


def test_outputs_pass_no_other_one_for_their_tube(box: Outbox) -> None:
    box.emit_sync(Plain, [Job(1)], if_not_exists=True)
    box.emit_sync(Plain, [Job(2)], defer=60)
    box.emit_sync(Plain, [Job(2)], if_not_exists=True)
    box.emit_sync(Plain, [Job(3)], if_not_exists=True)

    rules = [(len(output.messages), output.when is not None, output.absent) for output in box.close()]
    assert rules == [(1, False, True), (1, True, False), (2, False, True)]


def test_each_call_that_emits_counts_toward_the_step_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = RuntimeStorage()
    monkeypatch.setattr(RuntimeStorage, "limits", Limits(parts=8, messages=5, nbytes=1 << 20))
    box, token = Outbox(Queue(storage), "m/H"), handling.set(BATCH)
    try:
        box.open(BATCH)
        box.emit_sync(Plain, [Job(1), Job(2), Job(3)])
        box.emit_sync(Plain, [Job(4)])
        with pytest.raises(TooManyOutputs):
            box.emit_sync(Plain, [Job(5), Job(6)])
        box.emit_sync(Plain, [Job(7)])
        assert sent(box.close()) == 5
    finally:
        handling.reset(token)
