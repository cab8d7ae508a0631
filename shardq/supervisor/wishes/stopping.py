"""When a signal that asks for the end is a new wish, and when it repeats the one before.

`timeout`, `make`, `uv run` and other parents pass on what the terminal or the system sent to the whole process group.
So one wish arrives two or three times, also as TERM after INT. Signals that come within `ONE_WISH_S` count as one.
"""

from __future__ import annotations

import signal
from enum import Enum

#: Signals that come so soon after the first one belong to the same wish; seconds.
ONE_WISH_S = 0.5
#: How long a worker may take for its batch after INT or QUIT; seconds.
_FAST_STOP_S = 5.0
_FAST = (signal.SIGINT, signal.SIGQUIT)


def time_after(number: signal.Signals, timeout_s: float) -> float:
    """Seconds that workers have for their batches after this signal, where they have `timeout_s` after TERM."""
    return min(_FAST_STOP_S, timeout_s) if number in _FAST else timeout_s


class Wish(Enum):
    STOP = "finish the batches in hand"
    HASTEN = "the same, within less time"
    KILL = "at once"
    NONE = "nothing new"


class StopWishes:
    """Tells new wishes from repeated ones. Times are monotonic."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._fast = False

    @property
    def begun(self) -> bool:
        """Whether the end was asked for."""
        return self._first_s is not None

    def heard(self, number: signal.Signals, now: float) -> Wish:
        """What a signal means that arrived at this time. INT and QUIT leave the workers less time than TERM and HUP."""
        fast = number in _FAST
        if self._first_s is None:
            self._first_s, self._fast = now, fast
            return Wish.STOP
        if now - self._first_s > ONE_WISH_S:
            return Wish.KILL
        if fast and not self._fast:
            self._fast = True
            return Wish.HASTEN
        return Wish.NONE
