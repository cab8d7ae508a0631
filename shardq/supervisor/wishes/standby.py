"""Waiting to become the supervisor of a segment that another one serves."""

from __future__ import annotations

import os
import selectors
from contextlib import suppress
from typing import Protocol

from shardq.supervisor.wishes.control import Control
from shardq.supervisor.wishes.signals import Signals

#: How soon to look again at a serving supervisor that has no pidfd here, for instance one of another pid namespace.
_BLIND_INTERVAL_S = 1.0


class Succession(Protocol):
    """What a successor needs of the segment."""

    def become_supervisor(self) -> bool: ...

    def supervisor_pid(self) -> int: ...


def await_succession(segment: Succession, control: Control, signals: Signals, url: str) -> bool:
    """Wait until the serving supervisor is gone and this process has its place. False: this process was told to end,
    and another one has the place.

    Of several processes that wait, one succeeds. When a waiting process is told to end, and no supervisor serves any
    more, it still takes the place for a moment: so the last one removes a segment that is not in use.
    """
    control.tell(standby=url)
    while not segment.become_supervisor():
        control.heard()
        if control.ended or signals.pending:
            return segment.become_supervisor()
        _wait_for_end_or_news(segment.supervisor_pid(), control, signals)
    return True


def _wait_for_end_or_news(pid: int, control: Control, signals: Signals) -> None:
    """Wait for the end of the serving supervisor, for news from the application, or for a signal."""
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
