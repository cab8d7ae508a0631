"""Writes lines to where nobody may take them: a pipe whose reader is stopped, a terminal under Ctrl-S, a collector of
logs that hangs. Whoever writes there waits without an end, and a supervisor that waits hears no signal.

A line is written as far as its reader takes it within a little time, of which there is not much in all. A line of which
nothing was taken is dropped whole, and counted: in front of the next one that is taken a line says how many were lost.
What was begun is finished first, so that lines keep their order, and none stands in another.

    poll  ->  write, interrupted when its time is up  ->  the rest is kept, or the line counted as lost

The file description is shared with the shell and whatever else uses it, so it stays as it is, and blocks.
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

#: How many seconds may be waited for one reader at once; and which share of all time, from when that is used up.
PATIENCE_S, PATIENCE_SHARE = 0.25, 0.05
#: A write that was to be taken at once waits for so long where others were faster to fill what was free.
_RACE_S = 0.02

#: Says that so many lines were lost.
announce: Callable[[int], str] = "shardq: {} lines were lost, their reader took none\n".format


def put(stream: Any, text: str, *, passing: bool = False) -> None:
    """Write the text to a stream, or to what a module put in its place. `passing`: what nobody misses, such as the
    state of a bar; it is not waited for. Raises what the stream does: `OSError` where the reader is gone.
    """
    descriptor = descriptor_of(stream)
    says_lost = not passing and stream is not sys.stdout  # which has results alone
    if descriptor < 0:
        _put_by_others(stream, text, says_lost=says_lost)
        return
    data = text.encode(stream.encoding, stream.errors)
    _outlet(descriptor).put(stream, descriptor, data, passing=passing, says_lost=says_lost)


def flushed(stream: Any) -> bool:
    """Write out what a stream holds. Whether it holds nothing any more, and would take something."""
    descriptor = descriptor_of(stream)
    return _others.give(stream, stream.flush) if descriptor < 0 else _outlet(descriptor).flush(stream, descriptor)


def descriptor_of(stream: Any) -> int:
    """What a text stream of Python writes to; negative: it is something else. Raises `ValueError` where it is
    closed.
    """
    if type(stream) is not io.TextIOWrapper:
        return -1
    buffer: Any = stream.buffer
    return stream.fileno() if type(getattr(buffer, "raw", buffer)) is io.FileIO else -1


def takes(descriptor: int, timeout_s: float) -> bool:
    """Whether it takes something now, or within so many seconds. What cannot be written at all says so then."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


class Patience:
    """How long may be waited: `PATIENCE_S` at once, and in the long run `PATIENCE_SHARE` of the time."""

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
    """What is written to one pipe, terminal, socket or file. Descriptors of the same one share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._patience = Patience()
        self._rest = b""
        """Of a line that was begun."""
        self._lost = 0

    def put(self, stream: Any, descriptor: int, line: bytes, *, passing: bool = False, says_lost: bool = True) -> None:
        """Write the line as far as that can be done. Raises `OSError` where the reader is gone."""
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
        """Have the stream write out what it holds, with what is owed. Whether it did, and its reader takes more."""
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
        """Whether the line was begun, if not written."""
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
        """Write what was begun. Whether nothing is left of it."""
        while self._rest and takes(descriptor, deadline_s - time.monotonic()):
            written: list[int] = []

            def write(written: list[int] = written) -> None:
                if threading.active_count() == 1:  # else a thread may hang in it, and nothing would interrupt this one
                    stream.flush()
                # In one step: what interrupts between the write and a note of it would have it written twice.
                written.extend(map(os.write, (descriptor,), (self._rest,)))

            try:
                in_time = within(max(deadline_s - time.monotonic(), _RACE_S), write)
            except BlockingIOError:  # others made the description so
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


# What the parent has begun or lost is none of the child's.
os.register_at_fork(after_in_child=_outlets.clear)
