"""How far a map is, and what it came to: how many requests, how much work, and how much faster than one process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from shardq.encoding.replies import Reply
from shardq.text.wording import counted


@dataclass(frozen=True, slots=True)
class Summary:
    """What a `map` came to so far. As text it is a line."""

    requests: int
    """How many were answered."""
    failures: int
    """How many of them failed."""
    worked_s: float
    """How long handlers took that returned, in all workers together."""
    elapsed_s: float
    """From the beginning of the block to the last result; while there are more, to the present."""

    @property
    def speed_up(self) -> float:
        """How many times longer one process would have taken for the work alone."""
        return self.worked_s / self.elapsed_s if self.elapsed_s else 0.0

    def __str__(self) -> str:
        failed = f", {self.failures:,} of them failed" if self.failures else ""
        return (
            f"{counted(self.requests, 'request')} in {self.elapsed_s:.2f} s{failed}; {self.worked_s:.2f} s of work, "
            f"{self.speed_up:.2f} times as fast as one process"
        )


class MapProgress(NamedTuple):
    """How far a `map` has come."""

    done: int
    """Requests whose results are here, or that failed."""
    total: int | None
    """All requests. None: the input does not tell how long it is."""
    failed: int
    """Those of `done` that failed."""
    per_s: float
    """Results a second, from the beginning of the block on."""
    left_s: float | None
    """How long the rest takes at this rate. None: that is not known."""


class Tally:
    """Counts what a map comes to."""

    def __init__(self) -> None:
        self.requests = self.failures = 0
        self._worked_us, self._worked = 0.0, 0
        """How long handlers took that returned, and for how many requests."""
        self._began_at: float | None = None
        self._ended_at: float | None = None

    def begin(self) -> None:
        self._began_at = time.monotonic()

    def end(self) -> None:
        """There are no more results. A second call changes nothing."""
        if self._ended_at is None:
            self._ended_at = time.monotonic()

    def count(self, reply: Reply, count: int, *, failed: bool) -> None:
        """So many requests of a reply are answered."""
        self.requests += count
        if failed:
            self.failures += count
        if not reply.failure:
            self._worked_us += reply.worked_us * count / len(reply.requests)
            self._worked += count

    @property
    def mean_s(self) -> float | None:
        """How long one of them took on average. None: none is done yet."""
        return self._worked_us / 1e6 / self._worked if self._worked else None

    @property
    def summary(self) -> Summary:
        return Summary(self.requests, self.failures, self._worked_us / 1e6, self._elapsed_s)

    def progress(self, total: int | None) -> MapProgress:
        """`total`: how many requests there are, None: that is not known."""
        elapsed_s = self._elapsed_s
        rate = self.requests / elapsed_s if elapsed_s else 0.0
        left_s = (total - self.requests) / rate if total is not None and rate else None
        return MapProgress(self.requests, total, self.failures, rate, left_s)

    @property
    def _elapsed_s(self) -> float:
        now = time.monotonic()
        began_at = now if self._began_at is None else self._began_at
        return max(0.0, (now if self._ended_at is None else self._ended_at) - began_at)


def how_to_resume(taken: int, *, ordered: bool) -> str:
    """What a caller that took so many results of a map, and was interrupted, has to know in order to go on later."""
    if ordered:
        return (
            f"{counted(taken, 'result')} had been taken, in the order of the requests. To go on, map those that are "
            f"left: itertools.islice(requests, {taken}, None)"
        )
    return (
        f"{counted(taken, 'result')} had been taken, in the order in which they came. With outcomes=True each one has "
        f"the index of its request, by which those that are left can be told"
    )
