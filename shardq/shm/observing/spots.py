"""Copies of many places of a segment. What lies near one another is copied by one call of the kernel."""

from __future__ import annotations

from collections.abc import Sequence

from shardq.shm.segment import Segment

#: What lies between two places is copied with them, up to so many bytes: that takes less time than another call.
_GAP_BYTES = 4096


class Spots:
    """Copies of so many bytes at each of these addresses, which ascend. Methods raise `ValueError` where the segment
    ends before.
    """

    def __init__(self, segment: Segment, addresses: Sequence[int], nbytes: int) -> None:
        self._segment = segment
        self._nbytes = nbytes
        self._runs = list[tuple[int, bytes]]()
        self.places = list[tuple[bytes, int]]()
        """The copy in which each of them stands, and where in it."""
        first = 0
        for number in range(1, len(addresses) + 1):
            if number == len(addresses) or addresses[number] - addresses[number - 1] > nbytes + _GAP_BYTES:
                self._copy(addresses[first:number])
                first = number

    def moved(self, nbytes: int) -> list[int]:
        """Copy them once more: which ones, by their order, are others now in their first bytes."""
        now = [self._segment.copied(start, len(data)) for start, data in self._runs]
        later = {id(data): other for (_, data), other in zip(self._runs, now, strict=True) if data != other}
        return (
            [
                number
                for number, (data, start) in enumerate(self.places)
                if id(data) in later and later[id(data)][start : start + nbytes] != data[start : start + nbytes]
            ]
            if later
            else []
        )

    def _copy(self, run: Sequence[int]) -> None:
        first = run[0]
        data = self._segment.copied(first, run[-1] + self._nbytes - first)
        self._runs.append((first, data))
        self.places += [(data, address - first) for address in run]
