"""Waiting to become the supervisor of a segment that another one serves."""

from __future__ import annotations

import os
import selectors
from contextlib import suppress
from typing import Protocol

from shardq.supervisor.wishes.control import Control
from shardq.supervisor.wishes.signals import Signals

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
        control.heard()
        if control.ended or signals.pending:
            return segment.become_supervisor()
        _wait_for_end_or_news(segment.supervisor_pid(), control, signals)
    return True


def _wait_for_end_or_news(pid: int, control: Control, signals: Signals) -> None:
    """Wait for the end of the process, for news from the application, or for a signal."""
    with selectors.DefaultSelector() as selector:
        selector.register(control.descriptor, selectors.EVENT_READ)
        selector.register(signals.descriptor, selectors.EVENT_READ)
        descriptor = -1
        with suppress(ProcessLookupError, PermissionError, ValueError, OSError):
            descriptor = os.pidfd_open(pid)
            selector.register(descriptor, selectors.EVENT_READ)
        try:
            selector.select(None if descriptor >= 0 else _BLIND_INTERVAL_S)
        finally:
            if descriptor >= 0:
                os.close(descriptor)
