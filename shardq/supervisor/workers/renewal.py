"""Fresh processes in the place of old ones: which workers are to be replaced, one at a time.

A worker asks to be replaced between two batches, after so many requests or beyond so much memory. After a reload the
supervisor replaces all workers.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable

from shardq.system.processes import memory

#: How often a worker looks at its memory.
_MEMORY_INTERVAL_S = 1.0


class Wear:
    """A worker's own view of whether it should be replaced. Call `after_batch` after each batch."""

    def __init__(self, max_requests: int | None, max_rss_bytes: int | None, ask: Callable[[], None]) -> None:
        self._left = None if max_requests is None else max_requests + random.randint(0, max_requests // 10)
        self._max_rss_bytes = max_rss_bytes
        self._ask = ask
        self._look_at = 0.0
        self._asked = False

    def after_batch(self, done: int) -> None:
        """Ask for a replacement where it is time, once."""
        if self._left is not None:
            self._left -= done
        if not self._asked and (self._is_spent() or self._is_bloated()):
            self._asked = True
            self._ask()

    def _is_spent(self) -> bool:
        return self._left is not None and self._left <= 0

    def _is_bloated(self) -> bool:
        if self._max_rss_bytes is None or time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + _MEMORY_INTERVAL_S
        try:
            own = memory(os.getpid())
        except OSError:  # no descriptor is left to read it with
            return False
        return bool(own.resident - own.shared > self._max_rss_bytes)


class Renewals:
    """The supervisor's list of workers to replace, one after the other."""

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self.pid: int | None = None
        """The worker that was told to leave and has not ended yet."""
        self.kill_at: float | None = None
        """When its time is up."""

    def add(self, pids: Iterable[int]) -> None:
        self._waiting += [pid for pid in pids if pid != self.pid and pid not in self._waiting]

    def next(self, timeout_s: float) -> int | None:
        """The pid of the worker to send away now; None while another one is leaving, or if none is to be replaced."""
        if self.pid is not None or not self._waiting:
            return None
        self.pid, self.kill_at = self._waiting.pop(0), time.monotonic() + timeout_s
        return self.pid

    def ended(self, pid: int) -> bool:
        """Note a death. Whether it was that of the worker that was told to leave."""
        if pid in self._waiting:
            self._waiting.remove(pid)
        if pid != self.pid:
            return False
        self.pid = self.kill_at = None
        return True
