"""How a worker ended, as a value."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from shardq.model import Ending, signal_name
from shardq.supervisor.exits import Exit


class Death(NamedTuple):
    """The end of a worker process."""

    pid: int
    exit_code: int | None
    """None where a signal ended it."""
    signal: int | None

    @property
    def ending(self) -> Ending:
        """The same as who reads of it in the segment sees it."""
        return Ending(self.signal, self.exit_code)

    @property
    def clean(self) -> bool:
        """It ended by itself, as asked."""
        return self.exit_code == Exit.OK

    @property
    def at_boot(self) -> bool:
        """It can never work: replacing it would only repeat that."""
        return self.exit_code == Exit.BOOT

    @property
    def how(self) -> str:
        """In words."""
        if self.signal is None:
            failed = self.exit_code == Exit.WORKER_FAILED
            return "an exception, shown above" if failed else f"exit code {self.exit_code}"
        hint: dict[int, str] = {
            signal.SIGKILL: ", sent by somebody or by the kernel for lack of memory",
            signal.SIGSEGV: ", a crash in native code",
            signal.SIGABRT: ", an abort in native code",
        }
        return signal_name(self.signal) + hint.get(self.signal, "")


def reap(pid: int, descriptor: int) -> Death | None:
    """The death of a child, by its pidfd; None while it lives. Never waits for other children."""
    result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return Death(pid, result.si_status, None)
    return Death(pid, None, result.si_status)
