"""What a supervisor knows of its workers from the lines that they write into its pipe."""

from __future__ import annotations

import time
from collections.abc import Mapping

from shardq.drivers.redis.news import ARRIVED, DEADLINE, PROGRESS, RENEW, WORK, News
from shardq.drivers.redis.progress import Told


class Workers:
    """`numbers`: those known already, by pid."""

    def __init__(self, news: News, numbers: Mapping[int, int]) -> None:
        self._news = news
        self.numbers = dict(numbers)
        """The number of each, by pid."""
        self.renewals = set[int]()
        """Those that asked for a fresh process in their place."""
        self.deadlines: dict[int, int] = {}
        """When the batch of each has to be done, monotonic nanoseconds; of those whose batch has a limit."""
        self.progress = Told()
        """How far they are in their batches."""
        self.worked_at = float("-inf")
        """When one said last that it takes batches, monotonic seconds."""

    def hear(self) -> set[str]:
        """Take note of what they told since. Returns the kinds of that."""
        kinds = set[str]()
        for what, pid, more in self._news.heard():
            kinds.add(what)
            if what == WORK:
                self.worked_at = time.monotonic()
            elif what == PROGRESS and pid in self.numbers:
                self.progress.note(pid, more)
            elif what == ARRIVED:
                self.numbers[pid] = int(more)
            elif what == RENEW:
                self.renewals.add(pid)
            elif what == DEADLINE and int(more):
                self.deadlines[pid] = int(more)
            elif what == DEADLINE:
                self.deadlines.pop(pid, None)
        return kinds

    def forget(self, pid: int) -> bool:
        """This one is dead. Whether it had arrived."""
        self.hear()  # what it told last is not to be heard after its death
        self.progress.forget(pid)
        self.renewals.discard(pid)
        self.deadlines.pop(pid, None)
        return self.numbers.pop(pid, None) is not None
