"""Graves: threads that no worker serves, for dead letters and for results that are kept. Where one is full, or there is
no room, the oldest of what is in it goes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice

from shardq.errors import DirectoryFull
from shardq.shm import words as at
from shardq.shm.journal import Journal
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import NO_ROOM, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.fifo_writer import FifoWriter

#: A thread entry and a tube entry in it.
Place = tuple[int, int]
#: Letters take small extents, so that the memory of those that are dropped comes back. Results come and go often, and
#: many small extents would have to be added up each time.
_LETTERS_CLASS, _RESULTS_CLASS = 0, at.LARGEST_GROWTH_CLASS
#: Most records that are looked at for those that are too old, so that the section stays short.
_RECORDS = 256


class Graves:
    """Writes to graves and makes room in them. All methods want the guard held."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        directory: Directory,
        fifos: Fifos,
        writer: FifoWriter,
        claims: Claims,
    ) -> None:
        self._layout = segment.layout
        self._journal = journal
        self._directory = directory
        self._fifos = fifos
        self._writer = writer
        self._claims = claims

    def place(self, pipe: str, kind: int) -> Place:
        """The grave of this name, a new one where there is none. NO_ROOM for the tube: there is no room for it."""
        try:
            return self._directory.add_tube(pipe, share=at.ALL, apart=kind)
        except DirectoryFull:
            return NO_ROOM, NO_ROOM

    def bound(self, grave: Place, letters: Sequence[bytes], most: int) -> None:
        """Drop the oldest where there were more than `most` with these, or too many bytes for any of these."""
        tube, nbytes = grave[1], sum(map(len, letters))
        # Each may have as many bytes as the reserve, so that they leave room for living requests.
        most_bytes = self._layout.capacity_bytes // at.RESERVE_PART
        while not self._fifos.is_empty(tube) and (
            self._count(grave) + len(letters) > most
            or (letters and self._fifos.chains.spanned_bytes(tube) + nbytes > most_bytes)
        ):
            self._drop_oldest(grave)

    def write(self, grave: Place, letters: Sequence[bytes]) -> int:
        """Write behind what is in the grave, and drop what has to make room. The letters are no part of it yet. Returns
        the value that makes them part of it when it is stored in TUBE_TAIL, 0: there is no room.
        """
        growth = _RESULTS_CLASS if self._holds_results(grave[0]) else _LETTERS_CLASS
        while not (
            tail := self._writer.write(grave[1], letters, _now_us(), share=at.ALL, growth=growth)
        ) and self._drop_somewhere(grave):
            continue
        return tail

    def could_hold(self, grave: Place, letters: Sequence[bytes]) -> bool:
        """Whether there is room for the letters if need be in the place of all others."""
        if self._writer.fits_in_place_of([grave[1]], letters):
            return True
        return self._writer.fits_in_place_of([tube for _, tube in self._all()], letters)

    def drop_older(self, grave: Place, before_us: int) -> bool:
        """Drop what came before that time, for a moment. Returns whether there may be more of it."""
        tube, through, looked = grave[1], 0, 0
        for found in islice(self._fifos.chains.records(tube), _RECORDS):
            if found.accepted_us >= before_us:
                break
            through, looked = found.next_sequence, looked + 1
        if through:
            self._fifos.pop(tube, through, counters=self.counters(grave[0]))
        return looked == _RECORDS

    def counters(self, thread: int) -> Sequence[int]:
        """What counts the letters that leave it without being put back."""
        return () if self._holds_results(thread) else (at.UNBURIED,)

    def _holds_results(self, thread: int) -> bool:
        return self._directory.apart(thread) == at.RESULTS

    def _count(self, grave: Place) -> int:
        """How many letters there are. Of results, which are dropped more often, those that were dropped count as well,
        until those before them are gone: they take room as long, and it is known at once.
        """
        thread, tube = grave
        return self._fifos.span(tube) if self._holds_results(thread) else self._fifos.length(tube)

    def _drop_somewhere(self, grave: Place) -> bool:
        """Make room: drop the oldest letter of this grave, or else of the largest one. False: there is none."""
        if not self._fifos.is_empty(grave[1]):
            self._drop_oldest(grave)
            return True
        others = self._all()
        if not others:
            return False
        largest = max(others, key=lambda place: self._fifos.chains.spanned_bytes(place[1]))
        self._journal.declare(largest[0])
        self._drop_oldest(largest)
        self._claims.refresh(largest[0])
        self._journal.declare(grave[0])
        return True

    def _drop_oldest(self, grave: Place) -> None:
        thread, tube = grave
        counters = self.counters(thread)
        self._fifos.pop(tube, self._fifos.head(tube) + 1, counters=(*counters, at.EVICTED) if counters else ())

    def _all(self) -> list[Place]:
        """Thread and tube entries of all graves that are not empty."""
        return [(thread, tube) for thread in self._directory.graves() for tube in self._directory.tubes_of(thread)]


def _now_us() -> int:
    return time.time_ns() // 1000
