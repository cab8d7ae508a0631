"""The results that the in-memory storage keeps for tickets: a grave of their own, and when they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from shardq.drivers.memory.graves import Graves
from shardq.model import KEPT_PIPE


class Results(Graves):
    """The grave of results, from the oldest to the newest."""

    def __init__(self) -> None:
        super().__init__()
        self._came = deque[tuple[int, int]]()
        """One past the number of the last result that came in one step, and when, Unix microseconds."""

    def keep(self, results: Sequence[bytes], now_us: int) -> None:
        for result in results:
            self.add(KEPT_PIPE, result)
        self._came.append((self.tubes[KEPT_PIPE].next_sequence, now_us))

    def drop_older(self, before_us: int) -> int:
        """Drop what came before that time. Returns how many bytes went."""
        grave, through = self.tubes.get(KEPT_PIPE), 0
        while grave and self._came and (self._came[0][1] < before_us or self._came[0][0] <= grave.head_sequence):
            through, _ = self._came.popleft()
        return sum(map(len, grave.drop_below(through))) if grave else 0
