"""Where some messages of a tube are that were read, so that a later look for one of them begins near it."""

from __future__ import annotations

from bisect import bisect_right

#: How many numbers lie between two marks at least, and how many marks there are at most.
_APART, _MOST = 64, 4096


class Marks:
    """Those of the tube that was read last. A record stays where it is as long as a message of it is in the tube, and
    no number comes twice, so a mark at the head or behind it holds.
    """

    def __init__(self) -> None:
        self._tube = -1
        self._numbers: list[int] = []
        self._addresses: list[int] = []

    def note(self, tube: int, number: int, address: int) -> None:
        """The record at this address has the message of that number."""
        if tube != self._tube or len(self._numbers) == _MOST:
            self._tube, self._numbers, self._addresses = tube, [], []
        if not self._numbers or number >= self._numbers[-1] + _APART:
            self._numbers.append(number)
            self._addresses.append(address)

    def before(self, tube: int, number: int, head: int) -> int:
        """Address of a record of the tube, which has its head at `head`: the message of that number is in it or behind
        it. 0: none is known.
        """
        if tube != self._tube:
            return 0
        place = bisect_right(self._numbers, number) - 1
        return self._addresses[place] if place >= 0 and self._numbers[place] >= head else 0
