"""How a worker ended, as a value."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from shardq.supervisor.exits import Exit


class Death(NamedTuple):
    """The end of a worker process."""

    pid: int
    exit_code: int | None
    """None where a signal ended it."""
    signal: int | None

    @property
    def clean(self) -> bool:
        """It ended by itself, as asked."""
        return self.exit_code == Exit.OK

    @property
    def at_boot(self) -> bool:
        """It can never work: replacing it would only repeat that."""
        return self.exit_code == Exit.BOOT

    def __str__(self) -> str:
        if self.signal is not None:
            name = signal.Signals(self.signal).name
            hint = {
                signal.SIGKILL: ", by somebody or by the kernel for lack of memory",
                signal.SIGSEGV: ", a crash in native code",
                signal.SIGABRT: ", an abort in native code",
            }.get(signal.Signals(self.signal), "")
            return f"worker {self.pid} was killed by {name}{hint}"
        if self.exit_code == Exit.WORKER_FAILED:
            return f"worker {self.pid} ended with an exception, shown above"
        return f"worker {self.pid} ended with exit code {self.exit_code}"


def reap(pid: int, descriptor: int) -> Death | None:
    """The death of a child, by its pidfd; None while it lives. Never waits for other children."""
    result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return Death(pid, result.si_status, None)
    return Death(pid, None, result.si_status)
