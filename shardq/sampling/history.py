"""The last hour of a storage, a point each ten seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from shardq.model import Counts
from shardq.sampling.spans import Flow

#: How far apart points are at least, and how long they are kept.
POINT_S, KEPT_S = 10.0, 3600.0


@dataclass(frozen=True, slots=True)
class Point:
    """A storage at one moment, and what went through since the point before."""

    at_unix_s: float
    """When, Unix seconds."""
    counts: Counts | None
    """None: the storage was gone."""
    lag_s: float | None
    """How long ago the oldest request was accepted. None: there was none, or the storage does not say."""
    flow: Flow | None
    """None: there is no point before that this one continues."""


class History:
    """Keeps points. Those that are older than an hour go."""

    def __init__(self) -> None:
        self._points = deque[tuple[float, Point]](maxlen=round(KEPT_S / POINT_S))

    @property
    def points(self) -> Sequence[Point]:
        """The oldest first."""
        return [point for _, point in self._points]

    def is_due(self, at_s: float) -> bool:
        """Whether it is time for another point, by the clock of the sampler."""
        return not self._points or at_s - self._points[-1][0] >= POINT_S

    def add(self, at_s: float, point: Point) -> None:
        """Keep a point of this moment."""
        self._points.append((at_s, point))
        while at_s - self._points[0][0] > KEPT_S:
            self._points.popleft()
