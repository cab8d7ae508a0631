"""Waiting to become the supervisor of a segment that another one serves."""

from __future__ import annotations

import os
import selectors
from contextlib import suppress
from typing import Protocol

from shardq.supervisor.control import Control
from shardq.supervisor.signals import Signals

#: How soon to look again where the one that serves cannot be waited for, for instance in another pid namespace.
_BLIND_INTERVAL_S = 1.0


class Succession(Protocol):
    """What a successor needs of the segment."""

    def become_supervisor(self) -> bool: ...

    def supervisor_pid(self) -> int: ...


def await_succession(segment: Succession, control: Control, signals: Signals, url: str) -> bool:
    """Wait until the serving supervisor is gone and this process has its place. False: it is not wanted any more.

    Of several that wait one succeeds; when nobody wants a supervisor any more, the last to leave still takes the place
    for a moment, to clear away what nobody uses.
    """
    control.tell(standby=url)
    while not segment.become_supervisor():
        if not _other_ended(segment.supervisor_pid(), control, signals):
            return segment.become_supervisor()
    return True


def _other_ended(pid: int, control: Control, signals: Signals) -> bool:
    """Wait for the end of the process, True, or for news from the application or a signal, False."""
    with selectors.DefaultSelector() as selector:
        selector.register(control.descriptor, selectors.EVENT_READ)
        selector.register(signals.descriptor, selectors.EVENT_READ)
        descriptor = -1
        with suppress(ProcessLookupError, PermissionError, ValueError, OSError):
            descriptor = os.pidfd_open(pid)
            selector.register(descriptor, selectors.EVENT_READ)
        try:
            ready = {key.fd for key, _ in selector.select(None if descriptor >= 0 else _BLIND_INTERVAL_S)}
        finally:
            if descriptor >= 0:
                os.close(descriptor)
    return signals.descriptor not in ready and control.descriptor not in ready
