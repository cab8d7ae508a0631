"""Writes lines for a reader that may take none: a pipe whose reader is stopped, a terminal under Ctrl-S, a collector of
logs that hangs. A plain write would wait there without end, and a supervisor that waits hears no signal.

A supervisor waits a short time for the reader of a line, and in the long run a small share of its time for all lines. A
line of which the reader took nothing is dropped whole, and counted. When the reader takes lines again, the first one
says how many were lost. A line of which the reader took a part is finished before the next one, so that lines keep
their order, and none stands in another.

    poll  ->  write, interrupted when its time is up  ->  the rest is kept, or the line counted as lost

The file description is shared with the shell and other processes, so it stays in blocking mode.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from shardq.supervisor.output.limit import Turns, within

#: How many seconds a process may wait for one reader at once; and, when those are used up, for which share of its time.
PATIENCE_S, PATIENCE_SHARE = 0.25, 0.05
#: A pipe had room, and another process filled it first: then the write waits at most for so many seconds.
_RACE_S = 0.02

#: Makes the line that says how many lines were lost.
announce: Callable[[int], str] = "shardq: {} lines were lost, their reader took none\n".format


def put(stream: Any, text: str, *, passing: bool = False) -> None:
    """Write the text to a stream, or to the object that a module put in its place. `passing`: the text may be lost, as
    the state of a bar may, so its write does not wait. Raises what the stream does: `OSError` where the reader is gone.
    """
    descriptor = descriptor_of(stream)
    says_lost = not passing and stream is not sys.stdout  # standard output has only results
    if descriptor < 0:
        _put_by_others(stream, text, says_lost=says_lost)
        return
    data = text.encode(stream.encoding, stream.errors)
    _outlet(descriptor).put(stream, descriptor, data, passing=passing, says_lost=says_lost)


def flushed(stream: Any) -> bool:
    """Write out what a stream holds. Whether it holds nothing any more, and its reader would take more."""
    descriptor = descriptor_of(stream)
    return _others.give(stream, stream.flush) if descriptor < 0 else _outlet(descriptor).flush(stream, descriptor)


def descriptor_of(stream: Any) -> int:
    """The descriptor that a text stream of Python writes to; negative: the object is no such stream. Raises
    `ValueError` where it is closed.
    """
    if type(stream) is not io.TextIOWrapper:
        return -1
    buffer: Any = stream.buffer
    return stream.fileno() if type(getattr(buffer, "raw", buffer)) is io.FileIO else -1


def takes(descriptor: int, timeout_s: float) -> bool:
    """Whether a write would be taken, or would fail, now or within so many seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


class Patience:
    """How long a write may wait: `PATIENCE_S` at once, and in the long run `PATIENCE_SHARE` of the time."""

    def __init__(self) -> None:
        self._left_s = PATIENCE_S
        self._at_s = 0.0

    def left_s(self, now_s: float) -> float:
        self._left_s = min(PATIENCE_S, self._left_s + (now_s - self._at_s) * PATIENCE_SHARE)
        self._at_s = now_s
        return max(0.0, self._left_s)

    def spend(self, waited_s: float) -> None:
        self._left_s -= waited_s


class Outlet:
    """Writes to one pipe, terminal, socket or file. All descriptors of the same one share an outlet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._patience = Patience()
        self._rest = b""
        """The part that is still to be written of a line that was begun."""
        self._lost = 0

    def put(self, stream: Any, descriptor: int, line: bytes, *, passing: bool = False, says_lost: bool = True) -> None:
        """Write the line, or as much of it as the reader takes. Raises `OSError` where the reader is gone."""
        began_s = time.monotonic()
        patience_s = 0.0 if passing else self._patience.left_s(began_s)
        if not self._lock.acquire(timeout=patience_s):
            self._lost += not passing  # another thread hangs in it
            return
        try:
            taken = self._put(stream, descriptor, line, began_s + patience_s, says_lost=says_lost)
            self._lost += not (taken or passing)
        finally:
            self._patience.spend(time.monotonic() - began_s)
            self._lock.release()

    def flush(self, stream: Any, descriptor: int) -> bool:
        """Finish the line that was begun, say how many lines were lost, and have the stream write out what it holds.
        Whether all of that was done, and the reader takes more.
        """
        began_s = time.monotonic()
        patience_s = self._patience.left_s(began_s)
        if not self._lock.acquire(timeout=patience_s):
            return False
        try:
            says_lost = stream is not sys.stdout
            return (
                self._put(stream, descriptor, b"", began_s + patience_s, says_lost=says_lost)
                and takes(descriptor, began_s + patience_s - time.monotonic())
                and within(patience_s + _RACE_S, stream.flush)
                and takes(descriptor, 0)
            )
        finally:
            self._patience.spend(time.monotonic() - began_s)
            self._lock.release()

    def _put(self, stream: Any, descriptor: int, line: bytes, deadline_s: float, *, says_lost: bool) -> bool:
        """Whether the line was written, or begun."""
        if not self._finished(stream, descriptor, deadline_s):
            return False
        if self._lost and says_lost:
            lost = self._lost
            if not self._begun(stream, descriptor, announce(lost).encode(), deadline_s):
                return False
            self._lost -= lost
            if not self._finished(stream, descriptor, deadline_s):
                return False
        return self._begun(stream, descriptor, line, deadline_s)

    def _begun(self, stream: Any, descriptor: int, line: bytes, deadline_s: float) -> bool:
        self._rest = line
        try:
            return self._finished(stream, descriptor, deadline_s) or len(self._rest) < len(line)
        finally:
            if len(self._rest) == len(line):
                self._rest = b""

    def _finished(self, stream: Any, descriptor: int, deadline_s: float) -> bool:
        """Write the rest of the line that was begun. Whether nothing is left of it."""
        while self._rest and takes(descriptor, deadline_s - time.monotonic()):
            written: list[int] = []

            def write(written: list[int] = written) -> None:
                if threading.active_count() == 1:  # else another thread may hang in the flush, with the stream's lock
                    stream.flush()
                # In one step: an interruption between the write and the note of it would have it written twice.
                written.extend(map(os.write, (descriptor,), (self._rest,)))

            try:
                in_time = within(max(deadline_s - time.monotonic(), _RACE_S), write)
            except BlockingIOError:  # another process made the description non-blocking
                return False
            except BaseException:
                self._rest = b""  # no reader will ever take it
                raise
            self._rest = self._rest[sum(written) :]
            if not in_time:
                break
        return not self._rest


_others = Turns()
_outlets: dict[tuple[int, int], Outlet] = {}
"""By device and inode."""


def _outlet(descriptor: int) -> Outlet:
    status = os.fstat(descriptor)
    key = status.st_dev, status.st_ino
    return _outlets.get(key) or _outlets.setdefault(key, Outlet())


def _put_by_others(stream: Any, text: str, *, says_lost: bool) -> None:
    def write() -> None:
        if says_lost and (lost := _others.lost(stream)):
            stream.write(announce(lost))
        stream.write(text)
        stream.flush()

    _others.give(stream, write)


# Lines that the parent has begun or lost do not concern the child.
os.register_at_fork(after_in_child=_outlets.clear)
