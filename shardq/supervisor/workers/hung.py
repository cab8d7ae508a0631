"""Handlers that neither come to an end nor let themselves be interrupted."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from shardq.supervised import Supervised
from shardq.supervisor.workers.member import Member
from shardq.system.processes import is_stopped

log = logging.getLogger("shardq.supervisor")

#: How long a handler may take after its `timeout_s`; in this time an exception should end it.
GRACE_S = 1.0
#: How soon to look again at a worker that is late and must not be killed: a stopped one, which cannot work.
_INTERVAL_S = 1.0


class _Batch:
    """A worker's batch in hand, as the supervisor sees it."""

    def __init__(self, deadline_ns: int, now: float) -> None:
        self.deadline_ns = deadline_ns
        self.end = deadline_ns / 1e9 + GRACE_S
        """When its worker is to be killed, monotonic time."""
        self._allowance_s = max(GRACE_S, self.end - now)
        self._reported = False

    def may_wait(self, now: float) -> bool:
        """Whether to check if the worker is stopped: the batch is late, or the worker was stopped before."""
        return self.end <= now or self._reported

    def put_off(self, pid: int, now: float) -> None:
        """The worker is stopped. Once it goes on, it has as much time as it had at first."""
        self.end = now + self._allowance_s
        if not self._reported:
            self._reported = True
            log.warning("worker is stopped, its batch waits", extra={"pid": pid})


class HungWorkers:
    """Finds workers whose batch is overdue. Sleeps while no batch has a deadline."""

    def __init__(self, storage: Supervised) -> None:
        self._storage = storage
        self.look_at: float | None = None
        """Monotonic time of the next look, None: when the bell rings."""
        self._batches: dict[int, _Batch] = {}
        """Batches with a deadline, by the pids of their workers."""

    def overdue(self, members: Mapping[int, Member]) -> list[Member]:
        """The workers to kill now. Why they are killed is already written into the storage."""
        now = time.monotonic()
        late: list[Member] = []
        looks: list[float] = []
        deadlines = self._storage.deadlines()
        self._batches = {pid: self._batch(pid, deadline_ns, now) for pid, deadline_ns in deadlines.items()}
        for pid, batch in self._batches.items():
            if batch.may_wait(now) and pid in members and _is_stopped(pid):
                batch.put_off(pid, now)
                looks.append(now + _INTERVAL_S)  # each look puts it off anew until the worker goes on
            elif batch.end > now:
                looks.append(batch.end)
            elif pid not in members:
                # Another supervisor's worker. While it has a deadline the bell rings for no other: look now and then.
                looks.append(now + _INTERVAL_S)
            elif self._storage.deadlines().get(pid) != batch.deadline_ns:
                looks.append(now)  # the batch has just ended, and the one that the worker has in hand now is not late
            else:
                self._storage.condemn(pid)
                late.append(members[pid])
        self.look_at = min(looks, default=None)
        return late

    def _batch(self, pid: int, deadline_ns: int, now: float) -> _Batch:
        known = self._batches.get(pid)
        return known if known and known.deadline_ns == deadline_ns else _Batch(deadline_ns, now)


def _is_stopped(pid: int) -> bool:
    try:
        return is_stopped(pid)
    except ProcessLookupError:
        return False
