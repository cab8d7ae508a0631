"""Results that came before one of an earlier request: they are handed out in the order of the requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class _Run(NamedTuple):
    """Results that follow one another, or a failure, and how many bytes they were."""

    values: Sequence[Any]
    error: Exception | None
    nbytes: int


class Early:
    """What is kept until the results before it are there."""

    def __init__(self) -> None:
        self.count = 0
        self.nbytes = 0
        self._next = 0
        """Number of the result that is due next."""
        self._runs = dict[int, _Run]()
        """By the number of the first one of those that follow one another."""

    def put_aside(self, numbers: Sequence[int], values: Sequence[Any], error: Exception | None, nbytes: int) -> None:
        """Keep these results, or the failure of one."""
        self.count += len(numbers)
        self.nbytes += nbytes
        if numbers[-1] - numbers[0] == len(numbers) - 1:  # those of a batch are in their order
            self._runs[numbers[0]] = _Run(values, error, nbytes)
            return
        shares = [nbytes - nbytes // len(numbers) * (len(numbers) - 1)] + [nbytes // len(numbers)] * (len(numbers) - 1)
        for number, value, share in zip(numbers, values, shares, strict=True):
            self._runs[number] = _Run([value], error, share)

    def due(self) -> tuple[list[Any], Exception | None]:
        """The results whose turn it is, and the failure behind them, where there is one."""
        ready = list[Any]()
        while run := self._runs.pop(self._next, None):
            self._next += len(run.values)
            self.count -= len(run.values)
            self.nbytes -= run.nbytes
            if run.error:
                return ready, run.error
            ready += run.values
        return ready, None
