"""What all looks at a segment have in common."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from shardq.errors import SegmentForeign
from shardq.shm.memory import record
from shardq.shm.memory.places import Places
from shardq.shm.memory.record import Record
from shardq.shm.segment import Segment

#: What reading raises where words lead nowhere.
_NOWHERE = (SegmentForeign, IndexError, ValueError, OverflowError, struct.error)
_SET = re.compile(rb"[^\0]")


class Moment(NamedTuple):
    """When the segment was as the looks see it."""

    since_ns: int
    """CLOCK_BOOTTIME before the pauses were ended that were over."""
    until_ns: int
    """And after that."""
    lives: Callable[[int], bool]
    """Whether the process of a pid is alive."""


class Look(Places):
    """A look at a part of a segment in which no process is at work. `wrongs` has what it found, a line each."""

    def __init__(self, segment: Segment) -> None:
        super().__init__(segment.layout)
        self.segment = segment
        self.words = segment.words
        self.bytes = segment.bytes
        self.wrongs: list[str] = []

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note what is wrong where something does not hold."""
        if not holds:
            self.wrongs.append(otherwise)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Note that something leads nowhere, instead of raising that."""
        try:
            yield
        except _NOWHERE as error:
            self.wrongs.append(f"{what}: {error}")

    def record_at(self, address: int) -> Record:
        """The record, or jump, at an address. Raises `ValueError` where there is none, or not all of it."""
        extent = self.extent_at(address)
        found = record.read(self.segment, address)
        end = self.start_of(extent) + int(self.words[self.layout.extent_backed_word + extent])
        if found.format not in (record.MESSAGES, record.JUMP) or (found.format != record.JUMP and found.end > end):
            raise ValueError(f"no record at {address}")
        return found

    def marked(self, start: int, count: int) -> Iterator[int]:
        """Which of so many bytes from an address on are not zero, counted from the first."""
        return (found.start() - start for found in _SET.finditer(self.bytes, start, start + count))

    def living(self, found: Record) -> list[int]:
        """Which messages of a record are not cancelled, counted from its first."""
        return living(self.segment, found)


def living(segment: Segment, found: Record) -> list[int]:
    """As `Look.living`."""
    bits = int.from_bytes(segment.bytes[found.cancelled : found.ends], "little")
    return [n for n in range(found.count) if not bits >> n & 1]
