"""The numbers by which the server knows a call that is made again."""

from __future__ import annotations

import secrets
from bisect import bisect_left
from types import TracebackType
from typing import Any

#: Of so many spans of open calls the server is told at most. What came last lies close together: it is told as one.
_MOST_SPANS = 32


class Calls:
    """The calls over one connection and those that take its place, numbered in each partition by itself. So one that
    stays open since its server is lost is not in the way of those in other partitions.
    """

    def __init__(self) -> None:
        self._producer = secrets.token_hex(8)
        self._open: dict[int, _Open] = {}

    def one(self, partition: int) -> Call:
        """A call on a partition, whose answer is due from now on."""
        its = self._open.get(partition)
        if its is None:
            its = self._open[partition] = _Open()
        number = its.begin()
        return Call({"producer": self._producer, "call": number, "open": its.spans}, its, number)


class Call:
    """One call, or a block in which its answer is due."""

    def __init__(self, told: dict[str, Any], those: _Open, number: int) -> None:
        self.told = told
        """What it says of itself."""
        self._those, self._number = those, number

    def end(self) -> None:
        """It has its answer, or is given up. Doing it again changes nothing."""
        self._those.end(self._number)

    def __enter__(self) -> Call:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()


class _Open:
    """Which calls on a partition have no answer yet, as spans of their numbers: the first, the last, and so on."""

    def __init__(self) -> None:
        self._last = 0
        self._bounds = list[int]()

    def begin(self) -> int:
        """The number of another one."""
        self._last += 1
        if self._bounds and self._bounds[-1] == self._last - 1:
            self._bounds[-1] = self._last
        else:
            self._bounds += (self._last, self._last)
        return self._last

    def end(self, number: int) -> None:
        """This one is open no more, if it was."""
        if self._bounds == [number, number]:  # mostly
            self._bounds.clear()
            return
        place = bisect_left(self._bounds, number) & ~1  # of the first span that ends at it or behind it
        if place == len(self._bounds) or self._bounds[place] > number:
            return
        first, last = self._bounds[place : place + 2]
        before, behind = (first, number - 1), (number + 1, last)
        self._bounds[place : place + 2] = [*(before if first < number else ()), *(behind if number < last else ())]

    @property
    def spans(self) -> list[int]:
        """Bounds as the server is told them."""
        most = 2 * _MOST_SPANS
        if len(self._bounds) <= most:
            return list(self._bounds)
        return [*self._bounds[: most - 1], self._bounds[-1]]
