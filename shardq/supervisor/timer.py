"""A descriptor that becomes readable at a time of day, also after the system's clock was set.

The timeout of `select` is a span: it rounds up to milliseconds, and does not change when the clock is set. Python has
`timerfd` from 3.13 on; before, this module calls the C library's (timerfd_create(2)).
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress

_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
#: struct itimerspec: seconds and nanoseconds of the interval, and those of the time.
_TIMER_SPEC = struct.Struct("@4l")


class Timer:
    """Becomes readable once, at the time that was set. `open` makes the descriptor, `close` closes it."""

    def __init__(self) -> None:
        self.descriptor = -1
        self._set_us: int | None = None

    def open(self) -> int:
        """The descriptor, which programs executed from here do not inherit. Raises `OSError`."""
        # Not imported with this module: on many systems libffi then opens its own file, which would take the place of a
        # standard one that is closed.
        import ctypes

        if self.descriptor < 0:
            self._library = ctypes.CDLL(None, use_errno=True)
            flags = os.O_CLOEXEC | os.O_NONBLOCK
            self.descriptor = _checked(self._library.timerfd_create(time.CLOCK_REALTIME, flags))
        return self.descriptor

    def set(self, due_us: int | None) -> None:
        """Become readable at this time, Unix microseconds; at once if it is over. None: never."""
        if due_us == self._set_us:
            return
        # All zeros would mean never.
        seconds, micros = divmod(max(1, due_us), 1_000_000) if due_us is not None else (0, 0)
        spec = _TIMER_SPEC.pack(0, 0, seconds, micros * 1000)
        _checked(self._library.timerfd_settime(self.descriptor, _ABSOLUTE, spec, None))
        self._set_us = due_us

    def heard(self) -> None:
        """Stop being readable until the next `set`."""
        with suppress(BlockingIOError):
            os.read(self.descriptor, 8)
        self._set_us = None

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _checked(result: int) -> int:
    if result < 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
