"""Another process at a segment's guard, made to be stopped or killed.

    python -m tests.support.holder NAME hold        takes the guard
    python -m tests.support.holder NAME lose        takes the guard and is cut off half-way through leaving it
    python -m tests.support.holder NAME enter       keeps the lock under which slots are taken, without one
    python -m tests.support.holder NAME count N     adds 1 to `COUNTER` inside the guard, N times

It prints a line when it did that, ends what it did when it is told so by a line, and leaves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from shardq.shm import words as at
from shardq.shm.files.lock_bytes import REGISTER_BYTE, release_byte, take_byte
from shardq.shm.files.own_files import open_lock_file
from shardq.shm.processes.guard import Guard
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from tests.support.forked import Forked

#: A header word that nothing else uses.
COUNTER = 500


class Holder:
    """The process as seen from the test."""

    def __init__(self, process: Forked) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self) -> None:
        """Wait until it did what it was started for."""
        assert self._process.line(), "the holder ended before it said anything"

    def let_go(self) -> None:
        """Tell it to end what it did, and wait until it is gone."""
        assert self._process.wait() == 0

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        """SIGSTOP, and wait until the kernel says it stands still."""
        process = psutil.Process(self._process.pid)
        process.suspend()
        while process.status() != psutil.STATUS_STOPPED:
            pass

    def go_on(self) -> None:
        psutil.Process(self._process.pid).resume()


@contextmanager
def holder(name: str, *command: str) -> Iterator[Holder]:
    process = Forked(main, (name, *command))
    try:
        yield Holder(process)
    finally:
        process.kill()


def _hold(segment: Segment, guard: Guard, slots: Slots) -> None:
    guard.acquire()
    _say_and_wait()
    guard.release()


def _lose(segment: Segment, guard: Guard, slots: Slots) -> None:
    guard.acquire()
    segment.words[at.GUARD_OWNER] = 0
    _say_and_wait()
    guard.release()


def _enter(name: str) -> None:
    descriptor = open_lock_file(name)
    take_byte(descriptor, REGISTER_BYTE, name)
    _say_and_wait()
    release_byte(descriptor, REGISTER_BYTE)


def _count(segment: Segment, guard: Guard, slots: Slots, times: str) -> None:
    for _ in range(int(times)):
        guard.acquire()
        segment.words[COUNTER] += 1
        guard.release()
    _say_and_wait()


def _say_and_wait() -> None:
    print("done", flush=True)
    sys.stdin.readline()


def main() -> None:
    name, verb, *arguments = sys.argv[1:]
    if verb == "enter":
        _enter(name)
        return
    segment = Segment.attach(name)
    slots = Slots(segment)
    slots.enter()
    {"hold": _hold, "lose": _lose, "count": _count}[verb](segment, Guard(segment, slots), slots, *arguments)


if __name__ == "__main__":
    main()
