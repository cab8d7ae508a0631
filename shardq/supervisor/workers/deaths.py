"""How a worker ended, as a value."""

from __future__ import annotations

import os
import select
import signal
from typing import NamedTuple

from shardq.model import Died, Ending, signal_name
from shardq.supervisor.exits import Exit


class Death(NamedTuple):
    """The end of a worker process. If there is neither exit code nor signal, other code of this process or the kernel
    took the status before the supervisor could read it. That is a death like others, whose cause stays unknown.
    """

    pid: int
    exit_code: int | None
    """None where a signal ended it."""
    signal: int | None

    @property
    def ending(self) -> Ending:
        """The same, as the supervisor writes it into the segment."""
        return Ending(self.signal, self.exit_code)

    @property
    def known(self) -> bool:
        """Whether the supervisor saw how it ended."""
        return self.exit_code is not None or self.signal is not None

    @property
    def clean(self) -> bool:
        """It ended by itself, as asked, or because its storage moved."""
        return self.exit_code in (Exit.OK, Exit.MOVED)

    @property
    def at_boot(self) -> bool:
        """It could not import its handlers, they cannot be served, or what it has to call before raised. A replacement
        would fail in the same way.
        """
        return self.exit_code == Exit.BOOT

    @property
    def refused(self) -> bool:
        """The system refused something that the worker needs."""
        return self.exit_code == Exit.SEGMENT

    @property
    def kind(self) -> Died:
        """For what counts deaths."""
        if not self.known:
            return "unknown"
        if self.signal is None:
            return "exited"
        return "killed" if self.signal == signal.SIGKILL else "signal"

    @property
    def how(self) -> str:
        """In words."""
        if not self.known:
            return "unknown: code of a module waited for this process, or SIGCHLD is ignored"
        if self.signal is None:
            failed = self.exit_code == Exit.WORKER_FAILED
            return "an exception, shown above" if failed else f"exit code {self.exit_code}"
        hint: dict[int, str] = {
            signal.SIGKILL: ", sent by another process, or by the kernel for lack of memory",
            signal.SIGSEGV: ", a crash in native code",
            signal.SIGABRT: ", an abort in native code",
        }
        return signal_name(self.signal) + hint.get(self.signal, "")


def unknown(pid: int) -> Death:
    """The death of a process whose status is lost."""
    return Death(pid, None, None)


def reap(pid: int, descriptor: int) -> Death | None:
    """The death of a child, by its pidfd, or by its pid where `descriptor` is negative; None while it lives. Never
    waits for other children.
    """
    kind, number = (os.P_PIDFD, descriptor) if descriptor >= 0 else (os.P_PID, pid)
    try:
        result = os.waitid(kind, number, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return unknown(pid) if descriptor < 0 or has_ended(descriptor) else None
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return Death(pid, result.si_status, None)
    return Death(pid, None, result.si_status)


def has_ended(descriptor: int, timeout_s: float | None = 0.0) -> bool:
    """Whether the process of a pidfd ended, now or within so many seconds; None: wait for that without end."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))
