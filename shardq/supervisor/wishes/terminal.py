"""The terminal that a supervisor was started from, and whether it went away.

A terminal that is closed sends HUP, the signal that asks a server for new code. A program that somebody runs by hand is
to end with its terminal; one that was started by `nohup`, `setsid` or a service manager has none that could go.
"""

from __future__ import annotations

import errno
import os
import signal
import termios
from typing import NamedTuple, Self


class Terminal(NamedTuple):
    """What a process had when it started. By default no terminal."""

    as_input: bool = False
    """Standard input was one."""
    controlling: bool = False
    """It had a controlling terminal, and did not ignore that one's HUP."""

    @classmethod
    def of_this_process(cls) -> Self:
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        return cls(os.isatty(0), not ignored and _controlling_error() == 0)

    @property
    def gone(self) -> bool:
        """Whether it had one that went away."""
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
