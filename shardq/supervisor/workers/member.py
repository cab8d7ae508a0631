"""A worker process, as its supervisor holds it."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from typing import NamedTuple, Self

from shardq.supervisor.workers.deaths import Death, has_ended, reap
from shardq.system.descriptors import only_last_ones_left

log = logging.getLogger("shardq.supervisor")


class Member(NamedTuple):
    """A process, held by a descriptor that no later process with its pid can take over.

    A child can also be held without a descriptor, by its pid: no later process gets that pid until this process has
    waited for the child.
    """

    pid: int
    descriptor: int
    """Its pidfd; negative where no descriptor was left: then no event announces its end, and the supervisor looks at it
    from time to time.
    """
    number: int
    child: bool = True
    """Whether it is this process's child, and not that of a supervisor that died."""

    @classmethod
    def of(cls, pid: int, number: int, *, child: bool = True) -> Self:
        """Raises `ProcessLookupError` where there is no such process, `OSError` where there is no descriptor left."""
        return cls(pid, os.pidfd_open(pid), number, child)

    @classmethod
    def of_child(cls, pid: int, number: int) -> Self:
        """Succeeds for each child. The member has no descriptor if none is left, or only the last ones, which this
        process itself needs from time to time.
        """
        try:
            member = cls.of(pid, number)
            if not only_last_ones_left():
                return member
            member.close()
            reason = "few are left"
        except OSError as error:
            reason = str(error)
        log.warning(
            "no descriptor for a worker: the supervisor looks at it each second", extra={"pid": pid, "error": reason}
        )
        return cls(pid, -1, number)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal. If the process is dead already, that is no error: its descriptor says so as well. False: it
        lives, and the system does not allow the signal.
        """
        try:
            if self.descriptor >= 0:
                signal.pidfd_send_signal(self.descriptor, number)
            elif self.is_child_still():
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass
        except OSError as error:
            log.error("cannot send a signal", extra={"pid": self.pid, "signal": number.name, "error": str(error)})
            return False
        return True

    def reap(self) -> Death | None:
        """How it ended, None while it lives."""
        return reap(self.pid, self.descriptor) if self.child else Death(self.pid, 0, None)

    def wait(self) -> None:
        """Wait until it has ended."""
        if not self.child:
            return
        if self.descriptor >= 0:
            has_ended(self.descriptor, None)
            self.reap()
            return
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED)

    def is_child_still(self) -> bool:
        """Whether the pid is still that of this child, dead or alive."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return True
        return False

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
