"""A time limit for code that may wait without end, such as a write to a full pipe, where a loop must go on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

#: How soon code that swallowed the exception is interrupted again.
_AGAIN_S = 0.1
#: A timer of 0 seconds would be none.
_LEAST_S = 0.001
#: How many seconds code that is not shardq's may take for a line; and for how many it gets none after it took longer.
OTHERS_S, OTHERS_REST_S = 2.0, 20.0


class _Late(BaseException):
    """Time is up. It is no `Exception`, because code that logs swallows those."""


def within(limit_s: float, run: Callable[[], object]) -> bool:
    """Call `run`, and interrupt it when it takes more than so many seconds. Returns whether it came to its end.

    Raises what `run` raises. In other threads than the main one it is not interrupted: they hold up no loop.
    """
    if threading.get_ident() != threading.main_thread().ident:
        run()
        return True
    armed = True

    def strike(number: int, frame: FrameType | None) -> None:
        if armed:
            raise _Late

    former, began_s = signal.signal(signal.SIGALRM, strike), time.monotonic()
    left_s, interval_s = signal.getitimer(signal.ITIMER_REAL)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, max(limit_s, _LEAST_S), _AGAIN_S)
            run()
        finally:
            armed = False
    except _Late:
        return False
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if former is None else former)
        if left_s:  # another part of this process had set the timer
            signal.setitimer(signal.ITIMER_REAL, max(left_s - (time.monotonic() - began_s), _LEAST_S), interval_s)
    return True


class Turns:
    """Lets code that is not shardq's write lines: handlers of logs, and objects that modules put in the place of
    streams. One that takes more than `OTHERS_S` for a line is interrupted, and gets no line for `OTHERS_REST_S`.
    """

    def __init__(self) -> None:
        self._next_at: dict[int, float] = {}
        """Monotonic time of the next line, by the id of a writer that rests."""
        self._lost: dict[int, int] = {}

    def give(self, other: object, run: Callable[[], object]) -> bool:
        """Call `run`, in which `other` writes a line. False: that line is lost."""
        key, now = id(other), time.monotonic()
        if now >= self._next_at.get(key, now):
            if within(OTHERS_S, run):
                self._next_at.pop(key, None)
                return True
            self._next_at[key] = time.monotonic() + OTHERS_REST_S
        self._lost[key] = self._lost.get(key, 0) + 1
        return False

    def lost(self, other: object) -> int:
        """How many lines `other` missed since the last call."""
        return self._lost.pop(id(other), 0) if self._lost else 0
