"""Handlers that neither come to an end nor let themselves be interrupted."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import psutil

from shardq.supervisor.board import Board
from shardq.supervisor.member import Member

log = logging.getLogger("shardq.supervisor")

#: What a handler has after its `timeout_s`, in which an exception should end it.
GRACE_S = 1.0
#: When to look again at a worker that is late, and not to be killed: one that is stopped cannot work.
_INTERVAL_S = 1.0


class HungWorkers:
    """Finds workers whose batch is overdue. Sleeps while no batch has a deadline."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.look_at: float | None = None
        """Monotonic time of the next look, None: when the bell rings."""
        self._reported: dict[int, int] = {}
        """Stopped workers that were reported, and for which deadline."""

    def overdue(self, members: Mapping[int, Member]) -> list[Member]:
        """The workers to kill now. What they die of is written down already."""
        now = time.monotonic()
        late: list[Member] = []
        looks: list[float] = []
        for pid, deadline_ns in self._board.deadlines().items():
            end = deadline_ns / 1e9 + GRACE_S
            if end > now:
                looks.append(end)
            elif pid not in members:
                # Another supervisor's. While it is late nobody is rung for others: look from time to time.
                looks.append(now + _INTERVAL_S)
            elif _is_stopped(pid):
                self._report_stopped(pid)
                looks.append(now + _INTERVAL_S)
            else:
                self._board.condemn(pid)
                late.append(members[pid])
        self.look_at = min(looks, default=None)
        return late

    def _report_stopped(self, pid: int) -> None:
        """Once for each time that its batch became late."""
        deadline_ns = self._board.deadlines().get(pid, 0)
        if self._reported.get(pid) != deadline_ns:
            self._reported[pid] = deadline_ns
            log.warning("worker is stopped, its batch waits", extra={"pid": pid})


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.NoSuchProcess:
        return False
