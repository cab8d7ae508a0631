"""Code that interrupts its own thread inside the storage, and calls the storage, is refused: nothing else happens."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import Any

import pytest

from shardq.drivers.shared.engine import VARIABLE
from shardq.errors import StorageBusy
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck
from tests.support.tasks import LIMIT_S

PIPE = "m/H/0/0"


@pytest.fixture(autouse=True)
def _python_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal comes between lines of Python alone."""
    monkeypatch.setenv(VARIABLE, "python")


class Interrupted(Exception):
    """An exception out of a signal handler."""


@contextmanager
def signal_at_line(function: str, handler: Any) -> Iterator[None]:
    """Have a real signal come at the first line of a function, and handle it so."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_name != function:
            return None
        sys.settrace(None)
        signal.raise_signal(signal.SIGUSR1)
        return None

    former = signal.signal(signal.SIGUSR1, handler)
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
        signal.signal(signal.SIGUSR1, former)


@pytest.mark.parametrize("function", ["_try", "commit", "refresh"])
def test_a_signal_handler_inside_a_verb_is_refused_another(store: Store, function: str) -> None:
    refused = []

    def handler(number: int, frame: FrameType | None) -> None:
        with pytest.raises(StorageBusy, match="inside the storage already"):
            store.appending.append([(PIPE, [b"handler"])])
        refused.append(number)

    with signal_at_line(function, handler):
        assert store.appending.append([(PIPE, [b"verb"])])

    assert refused
    assert list(store.reading.read(PIPE, 10).messages) == [b"verb"]
    assert fsck(store.segment) == []


def test_a_refusal_that_no_code_catches_cuts_the_verb_short_and_no_other(store: Store) -> None:
    with pytest.raises(StorageBusy), signal_at_line("commit", lambda *_: store.inspection.counts()):
        store.appending.append([(PIPE, [b"verb"])])

    assert store.appending.append([(PIPE, [b"next"])])
    assert b"next" in list(store.reading.read(PIPE, 10).messages)
    assert fsck(store.segment) == []


@pytest.mark.parametrize("function", ["acquire", "_try", "commit", "release", "_abandon"])
def test_after_a_handler_that_raises_the_thread_may_enter_again(store: Store, function: str) -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    with pytest.raises(Interrupted), signal_at_line(function, handler):
        store.appending.append([(PIPE, [b"verb"])])

    assert store.appending.append([(PIPE, [b"next"])])
    assert list(store.reading.read(PIPE, 10).messages)[-1] == b"next"
    assert fsck(store.segment) == []


@pytest.mark.parametrize("function", ["_try", "commit", "__exit__", "end_section", "release", "_abandon"])
def test_once_the_thread_of_a_handler_that_raises_enters_again_so_do_others(store: Store, function: str) -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    with pytest.raises(Interrupted), signal_at_line(function, handler):
        store.appending.append([(PIPE, [b"verb"])])
    store.inspection.counts()

    other = Thread(target=lambda: store.appending.append([(PIPE, [b"of another thread"])]), daemon=True)
    other.start()
    other.join(LIMIT_S)
    assert not other.is_alive(), "the other thread does not get in"
    assert list(store.reading.read(PIPE, 10).messages)[-1] == b"of another thread"
    assert fsck(store.segment) == []
