"""The extension, as it is there where it could be compiled."""

from collections.abc import Sequence
from mmap import mmap
from typing import Any, Literal

#: Of the numbers that it was compiled from: see `header.digest`.
WORDS_DIGEST: int

class Core:
    """A process's part of one segment. All methods come back at once, and change nothing where they return None."""

    def __init__(
        self,
        *,
        mapping: mmap,
        layout: Any,
        token: str,
        segment_file: int,
        lock_file: int,
        slot: int,
        identity: int,
        guard: Any,
        threads: Any,
        blocks: list[int],
        reserve_least: int,
        reserve_half: int,
        piece_bytes: int,
        surely_fits: int,
        growth_class: int,
    ) -> None: ...
    def append(
        self, parts: Sequence[tuple[str, Sequence[bytes]]], share: int, /
    ) -> tuple[int, ...] | Literal[False] | None:
        """Add messages to tubes that are known, all or none. Returns the slots to ring. False: it did, and the next
        process that enters the guard has something to mend. None: it is not the frequent case.
        """

    def learn(self, pipe: str, thread: int, generation: int, tube: int, /) -> None:
        """The pipe has this tube as long as its thread has that generation."""

    def rang(self, slot: int, /) -> None:
        """The process of a slot that was to be rung was rung."""

    def close(self) -> None:
        """Let go of the mapping: from now on nothing is the frequent case."""
