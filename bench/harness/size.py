"""How much a run does: everything, or a share of it."""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    name: str
    share: float

    def count(self, full: int, multiple_of: int = 1) -> int:
        """The share of `full`, as a multiple of another number, which is the least it can be."""
        return max(1, round(full * self.share / multiple_of)) * multiple_of

    def seconds(self, full_s: float) -> float:
        return full_s * self.share


FULL = Size("full", 1)
#: All scenarios within three minutes.
QUICK = Size("quick", 1 / 8)
#: To see that a scenario works. Its figures mean nothing.
SMALLEST = Size("smallest", 1 / 1000)

SIZES = {size.name: size for size in (FULL, QUICK, SMALLEST)}
