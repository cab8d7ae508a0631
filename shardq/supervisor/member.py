"""A worker process in the hands of its supervisor."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from shardq.supervisor.deaths import Death, reap


@dataclass(frozen=True)
class Member:
    """A process, held by a descriptor that no later process with its pid can take over."""

    pid: int
    descriptor: int
    number: int
    child: bool = True
    """Whether it is this process's child, and not that of a supervisor that died."""

    @classmethod
    def of(cls, pid: int, number: int, *, child: bool = True) -> Member:
        """Raises `ProcessLookupError` where there is no such process."""
        return cls(pid, os.pidfd_open(pid), number, child)

    def signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except ProcessLookupError:
            return  # dead already: its descriptor says so as well

    def reap(self) -> Death | None:
        """How it ended, None while it lives."""
        return reap(self.pid, self.descriptor) if self.child else Death(self.pid, 0, None)

    def wait(self) -> None:
        """Until it has ended."""
        if self.child:
            os.waitid(os.P_PIDFD, self.descriptor, os.WEXITED)

    def close(self) -> None:
        os.close(self.descriptor)
