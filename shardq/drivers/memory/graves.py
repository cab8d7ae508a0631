"""The dead letters of the in-memory storage: each handler's are a tube, which no worker serves."""

from __future__ import annotations

from collections.abc import Callable

from shardq.drivers.memory.fifo import Fifo

#: Says of a number of bytes whether there is room for so many more.
_Fits = Callable[[int], bool]


class Graves:
    """The graves by pipe, how many letters ever came, and how many had to make room for others."""

    def __init__(self) -> None:
        self.tubes: dict[str, Fifo] = {}
        self.buried = 0
        self.evicted = 0

    def get(self, pipe: str) -> Fifo | None:
        return self.tubes.get(pipe)

    def add(self, pipe: str, letter: bytes) -> None:
        self.buried += 1
        self.tubes.setdefault(pipe, Fifo(1)).add([letter])

    def pipes(self) -> list[str]:
        """Pipes of the graves that are not empty."""
        return [pipe for pipe, grave in self.tubes.items() if grave.messages]

    def count(self) -> int:
        """How many letters there are."""
        return sum(len(grave.messages) for grave in self.tubes.values())

    def make_room(self, pipe: str, size: int, most: int, most_bytes: int | None, fits: _Fits) -> int | None:
        """Drop letters of a grave, the oldest first, until one of `size` bytes may be and can be there beside them.
        Returns how many bytes went; None, and drops none, where there is no room even so.
        """
        grave, gone = self.tubes.get(pipe), 0
        held = sum(map(len, grave.messages)) if grave else 0
        if not fits(size - held):
            return None
        while grave and grave.messages:
            too_large = most_bytes is not None and held - gone + size > most_bytes
            if fits(size - gone) and len(grave.messages) < most and not too_large:
                break
            [oldest] = grave.drop_below(grave.head_sequence + 1)
            gone += len(oldest)
            self.evicted += 1
        return gone
