"""Writing where no process reads any more, in programs in which SIGPIPE has its default effect."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest

from shardq.shm.files.pipes import write
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.segment import Segment
from shardq.supervisor.wishes.control import Control
from tests.faults.kit.points import Child

HEARD: list[int] = []


def note(number: int, frame: object) -> None:
    HEARD.append(number)


every_effect = pytest.mark.parametrize(
    "effect", [signal.SIG_IGN, signal.SIG_DFL, note], ids=["ignored", "default", "own"]
)


def pipe_without_reader() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@every_effect
def test_a_pipe_without_a_reader_is_an_error_and_no_signal(effect: Callable[..., object]) -> None:
    def run() -> list[object]:
        signal.signal(signal.SIGPIPE, effect)
        with pytest.raises(BrokenPipeError):
            write(pipe_without_reader(), b"!")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return [len(HEARD), len(signal.sigpending()), signal.SIGPIPE in mask]

    assert Child(run).result() == [0, 0, False]


def test_a_signal_that_waited_before_still_waits() -> None:
    def run() -> bool:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        os.kill(os.getpid(), signal.SIGPIPE)
        with pytest.raises(BrokenPipeError):
            write(pipe_without_reader(), b"!")
        return signal.SIGPIPE in signal.sigpending()

    assert Child(run).result() is True


@every_effect
def test_what_can_be_written_is_written(effect: Callable[..., object]) -> None:
    def run() -> list[object]:
        signal.signal(signal.SIGPIPE, effect)
        reading, writing = os.pipe()
        return [write(writing, b"some"), os.read(reading, 9).decode()]

    assert Child(run).result() == [4, "some"]


@every_effect
def test_the_bell_of_a_process_that_is_gone_ends_no_process(effect: Callable[..., object], segment: Segment) -> None:
    def run() -> int:
        signal.signal(signal.SIGPIPE, effect)
        mine, theirs = Doorbell(segment, 0), Doorbell(segment, 1)
        theirs.open()
        mine.ring(1)  # from now on it has a descriptor for it
        theirs.close()
        mine.ring(1)
        return len(HEARD)

    assert Child(run).result() == 0


@every_effect
def test_a_supervisor_that_is_gone_ends_no_application_that_tells_it_something(effect: Callable[..., object]) -> None:
    def run() -> int:
        signal.signal(signal.SIGPIPE, effect)
        ours, theirs = socket.socketpair()
        control = Control(ours)
        theirs.close()
        control.tell(workers=3)
        return len(HEARD)

    assert Child(run).result() == 0
