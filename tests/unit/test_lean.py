"""The process that calls for the tests what forks a lot."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support import leaks
from tests.support.lean import CallFailed, LeanProcess


@pytest.fixture(scope="module")
def process() -> Iterator[LeanProcess]:
    process = LeanProcess(__name__)
    yield process
    process.end()


def test_it_returns_what_the_function_returns(process: LeanProcess) -> None:
    assert process.call(divmod, 17, 5) == (3, 2)


def test_each_call_has_a_process_of_its_own_that_is_gone_afterwards(process: LeanProcess) -> None:
    first, second = process.call(remembered, 1), process.call(remembered, 2)
    assert (first[1], second[1]) == ([1], [2])
    for pid, _ in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_the_function_raises_is_told_with_its_traceback(process: LeanProcess) -> None:
    with pytest.raises(CallFailed, match=r"(?s)in spoilt.*ZeroDivisionError"):
        process.call(spoilt)


def test_an_exception_that_nothing_could_catch_is_told(process: LeanProcess) -> None:
    with pytest.raises(CallFailed, match="no way to go"):
        process.call(drop_what_raises_at_its_end)


def test_a_death_in_a_call_is_told_and_the_next_call_is_possible(process: LeanProcess) -> None:
    with pytest.raises(CallFailed, match="wait status 9"):
        process.call(die)
    assert process.call(abs, -1) == 1


def test_a_death_is_told_although_a_child_goes_on(process: LeanProcess) -> None:
    with pytest.raises(CallFailed, match="wait status 9"):
        process.call(die_before_a_child)
    [left] = leaks.family()
    left.kill()


def test_a_call_that_is_cut_off_ends_with_all_that_it_started() -> None:
    process = LeanProcess(__name__)
    handler = signal.signal(signal.SIGALRM, cut_off)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(InterruptedError):
            process.call(wait_with_a_child)
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert leaks.leaked_processes() == []
    assert process.call(abs, -1) == 1
    process.end()


_remembered: list[int] = []


def remembered(number: int) -> tuple[int, list[int]]:
    _remembered.append(number)
    return os.getpid(), _remembered


def spoilt() -> None:
    1 / 0  # noqa: B018


class RaisesAtItsEnd:
    def __del__(self) -> None:
        raise ValueError("no way to go")


def drop_what_raises_at_its_end() -> None:
    RaisesAtItsEnd()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_a_child() -> None:
    if not os.fork():
        signal.pause()
    die()


def wait_with_a_child() -> None:
    os.fork()
    signal.pause()


def cut_off(number: int, frame: object) -> None:
    raise InterruptedError
