"""The terminal that a supervisor was started from, and whether it went away.

A terminal that is closed sends HUP, which is also the signal by which a server is asked to reload. A supervisor that
was started by hand is to end with its terminal. One that was started by `nohup`, `setsid` or a service manager has no
terminal that could close.
"""

from __future__ import annotations

import errno
import os
import signal
import termios
from typing import NamedTuple, Self


class Terminal(NamedTuple):
    """Which terminals a process had when it started. By default none."""

    as_input: bool = False
    """Standard input was a terminal."""
    controlling: bool = False
    """The process had a controlling terminal, and did not ignore its HUP."""

    @classmethod
    def of_this_process(cls) -> Self:
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        return cls(os.isatty(0), not ignored and _controlling_error() == 0)

    @property
    def gone(self) -> bool:
        """Whether the process had a terminal that went away."""
        return (self.as_input and _input_error() == errno.EIO) or (self.controlling and _controlling_error() in _GONE)


_GONE = (errno.ENXIO, errno.EIO)


def _input_error() -> int:
    try:
        termios.tcgetattr(0)
    except termios.error as error:
        return int(error.args[0])
    return 0


def _controlling_error() -> int:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or errno.EIO
    return 0
