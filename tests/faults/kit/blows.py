"""Blows at processes of a storm: each is killed, or stopped for a moment."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from random import Random

#: How many of the blows kill, and seconds for which one that does not stops its process.
TO_KILL, STOPPED_S = 0.6, (0.005, 0.2)


class Blows:
    """What was hit."""

    def __init__(self) -> None:
        self.count = 0
        self.killed = set[int]()
        self._resume: dict[int, float] = {}
        """When those that were stopped go on, monotonic."""

    def hit(self, pid: int, random: Random) -> None:
        self.count += 1
        with suppress(ProcessLookupError):
            if random.random() < TO_KILL:
                self._resume.pop(pid, None)
                self.killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            elif pid not in self._resume:
                os.kill(pid, signal.SIGSTOP)
                self._resume[pid] = time.monotonic() + random.uniform(*STOPPED_S)

    def resume(self, *, every_process: bool = False) -> None:
        for pid, due in list(self._resume.items()):
            if every_process or time.monotonic() > due:
                del self._resume[pid]
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
