"""What an operator wishes of a family on this host, from another process: signals to its supervisor and its workers.

A pid may belong to another process by now. So a signal goes to a process that is held by a descriptor, and only where
the worker is a child of the supervisor.
"""

from __future__ import annotations

import os
import signal
import socket

from shardq.errors import ConfigurationError
from shardq.model import CrewMember
from shardq.system.processes import parent

#: To a supervisor: one worker more, one less, new code. See `family`.
MORE, FEWER, RELOAD = signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP
#: To a worker: end after the batch in hand, or at once. Its supervisor starts another one.
REPLACE, KILL = signal.SIGTERM, signal.SIGKILL


def is_reached(worker: CrewMember) -> bool:
    """Whether this process can give orders to the worker and to its supervisor: both are on this host, in this pid
    namespace.
    """
    supervisor = worker.supervisor_pid
    return worker.host in (None, socket.gethostname()) and bool(supervisor) and parent(worker.at.pid) == supervisor


def order_worker(worker: CrewMember, order: signal.Signals) -> None:
    """Raises `ConfigurationError` where the worker has ended or is not reached, or the system refuses the signal."""
    _send(worker.at.pid, worker, order)


def order_supervisor(worker: CrewMember, order: signal.Signals) -> None:
    """The same to the supervisor of this worker."""
    _send(worker.supervisor_pid or 0, worker, order)


def _send(pid: int, worker: CrewMember, order: signal.Signals) -> None:
    try:
        descriptor = os.pidfd_open(pid)
        try:
            if not is_reached(worker):
                raise ProcessLookupError
            signal.pidfd_send_signal(descriptor, order)
        finally:
            os.close(descriptor)
    except ProcessLookupError as error:
        raise ConfigurationError(f"process {pid} has ended: look which workers there are now") from error
    except OSError as error:
        raise ConfigurationError(
            f"the system allows no signal to process {pid} ({error.strerror}): give it as the user of the family"
        ) from error
