"""Lines that the reader may not take: what is written whole, what is finished later, what is dropped and told of."""

from __future__ import annotations

import io
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

from shardq.supervisor.output import limit, outlet
from shardq.supervisor.output.limit import Turns, within
from shardq.supervisor.output.telling import show, tell
from tests.faults.kit.points import Child
from tests.support.programs import until
from tests.support.stopped import OUTPUTS, Output, pipe

LOST = "shardq: {} lines were lost, their reader took none"


@pytest.fixture(params=OUTPUTS, ids=lambda make: make.__name__)
def output(request: pytest.FixtureRequest) -> Iterator[Output]:
    output: Output = request.param()
    yield output
    output.close()


@pytest.fixture
def small() -> Iterator[Output]:
    output = pipe()
    yield output
    output.close()


def stream_on(output: Output) -> TextIO:
    return open(output.theirs, "w", buffering=1, closefd=False)


def lines_of(output: Output) -> list[str]:
    return [line for line in output.take_all().decode().splitlines() if line.strip(".")]


@pytest.fixture(autouse=True)
def _as_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "announce", lambda lines: LOST.format(lines) + "\n")
    outlet._outlets.clear()


def test_lines_are_written_whole_and_in_order(output: Output) -> None:
    out = stream_on(output)
    for number in range(10):
        tell(f"line {number}", out)
    assert lines_of(output) == [f"line {number}" for number in range(10)]


def test_what_the_stream_holds_comes_first(output: Output) -> None:
    def write() -> None:
        out = stream_on(output)
        out.write("held ")
        tell("told", out)

    Child(write).result()  # where no other thread runs, which could hang in the stream
    assert lines_of(output) == ["held told"]


def test_what_the_stream_holds_stays_where_another_thread_may_hang_in_it(output: Output) -> None:
    out, done = stream_on(output), threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        out.write("held ")
        tell("told", out)
        assert lines_of(output) == ["told"]
    finally:
        done.set()
        other.join()
    out.flush()
    assert lines_of(output) == ["told", "held "]


def test_lines_that_no_reader_takes_are_told_of(output: Output) -> None:
    out = stream_on(output)
    output.stop()
    for number in range(5):
        tell(f"line {number}", out)

    output.go_on()
    output.take_all()
    tell("taken", out)
    assert lines_of(output) == [LOST.format(5), "taken"]
    tell("taken, too", out)
    assert lines_of(output)[2:] == ["taken, too"]


def test_what_no_reader_misses_is_not_told_of(output: Output) -> None:
    out = stream_on(output)
    output.stop()
    show("a bar", out)

    output.go_on()
    output.take_all()
    tell("taken", out)
    assert lines_of(output) == ["taken"]


def test_a_line_that_was_begun_is_finished_before_the_next(small: Output) -> None:
    out, long = stream_on(small), "x" * 200_000
    tell(long, out)  # its beginning fills the pipe
    tell("lost", out)
    text = ""
    while "taken" not in text:
        small.take_all()
        tell("taken", out)
        text = small.take_all().decode()

    first, told, *_, last = text.splitlines()
    assert (first, last) == (long, "taken")
    assert told.startswith("shardq: ")
    assert " lines were lost" in told


def test_the_patience_is_bounded_in_all(small: Output) -> None:
    out = stream_on(small)
    small.stop()
    own = outlet.Patience()
    now = time.monotonic()
    assert own.left_s(now) == outlet.PATIENCE_S
    own.spend(outlet.PATIENCE_S)
    assert own.left_s(now) == 0.0
    assert own.left_s(now + 1.0) == pytest.approx(outlet.PATIENCE_SHARE)
    assert own.left_s(now + 3600.0) == outlet.PATIENCE_S

    for number in range(1000):  # 250 s, if each were waited for
        tell(str(number), out)
    small.go_on()
    small.take_all()
    tell("taken", out)
    assert lines_of(small) == [LOST.format(1000), "taken"]


def test_a_write_that_others_overtook_is_interrupted(small: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was to be taken at once, and a worker filled the pipe in between."""
    out = stream_on(small)
    small.stop()
    monkeypatch.setattr(outlet, "takes", lambda descriptor, timeout_s: True)
    tell("overtaken", out)
    monkeypatch.undo()
    monkeypatch.setattr(outlet, "announce", lambda lines: LOST.format(lines) + "\n")

    small.take_all()
    tell("taken", out)
    assert lines_of(small) == [LOST.format(1), "taken"]


def test_two_descriptors_of_one_pipe_share_what_is_owed(small: Output) -> None:
    other = os.dup(small.theirs)
    small.stop()
    tell("lost", stream_on(small))
    small.take_all()
    with open(other, "w", buffering=1) as out:
        tell("taken", out)
    assert lines_of(small) == [LOST.format(1), "taken"]


def test_a_reader_that_left_raises_and_leaves_nothing(small: Output) -> None:
    mine, theirs = os.pipe()
    with open(theirs, "w", buffering=1) as out:
        os.close(mine)
        with pytest.raises(BrokenPipeError):
            outlet.put(out, "a line\n")
        tell("nothing comes of it", out)


def test_a_description_that_does_not_block_is_no_error(small: Output) -> None:
    out = stream_on(small)
    small.stop()
    os.set_blocking(small.theirs, False)
    tell("lost", out)
    tell("x" * 200_000, out)
    small.take_all()
    tell("taken", out)
    assert lines_of(small) == [LOST.format(2), "taken"]


def test_a_stream_of_a_module_is_asked_as_it_is() -> None:
    out = io.StringIO()
    tell("a line", out)
    assert out.getvalue() == "a line\n"


class Hanging:
    """Blocks until it is interrupted, in the first line."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.hangs = True

    def write(self, text: str) -> None:
        if self.hangs:
            select.select((), (), ())
        self.texts.append(text)

    def flush(self) -> None:
        """There is nothing to flush."""


def test_a_stream_of_a_module_that_hangs_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "OTHERS_S", 0.01)
    monkeypatch.setattr(outlet, "_others", Turns())
    out = Hanging()
    tell("hangs", out)
    out.hangs = False
    tell("rests", out)
    assert out.texts == []

    monkeypatch.setattr(outlet._others, "_next_at", {})
    tell("taken", out)
    assert out.texts == [LOST.format(2) + "\n", "taken\n"]


@contextmanager
def no_timer() -> Iterator[None]:
    """Without the one that limits the time of tests."""
    former = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *former)


def test_what_ends_in_time_is_not_interrupted() -> None:
    former = signal.getsignal(signal.SIGALRM)
    times: list[float] = []
    with no_timer():
        assert within(30.0, lambda: times.extend(signal.getitimer(signal.ITIMER_REAL)))
        assert times[0] > 0
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == former


def test_code_that_swallows_interrupts_is_interrupted_again() -> None:
    times: list[float] = []

    def stubborn() -> None:
        while len(times) < 3:
            try:
                select.select((), (), ())
            except BaseException:
                times.append(time.monotonic())
                if len(times) == 3:
                    raise

    assert not within(0.01, stubborn)
    assert len(times) == 3


def test_a_timer_of_the_modules_goes_on() -> None:
    heard: list[int] = []
    with no_timer():
        former = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert not within(0.1, lambda: select.select((), (), ()))
        until(lambda: bool(heard), "it goes off")
        signal.signal(signal.SIGALRM, former)
    assert heard == [signal.SIGALRM]


def test_what_is_raised_comes_out() -> None:
    def fail() -> None:
        raise ValueError("wrong")

    with no_timer():
        with pytest.raises(ValueError, match="wrong"):
            within(30.0, fail)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
