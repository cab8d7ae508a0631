"""Memory behind the tables of threads and tubes: it comes as the tables fill, and stays."""

from __future__ import annotations

from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.words import PAGE, THREAD_BYTES, TUBE_WORDS, WORD


class EntryMemory:
    """Makes sure that entries have memory. All methods want the guard held, and return False where there is no room."""

    def __init__(self, segment: Segment, extents: Extents) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._extents = extents

    def back_threads(self, entries: int, share: int) -> bool:
        """Give the first entries for threads memory."""
        start, end = self._layout.thread_table, self._layout.tube_table
        return self._back(start, end, at.THREADS_BACKED, entries * THREAD_BYTES, share)

    def back_tubes(self, entries: int, share: int) -> bool:
        """Give the first entries for tubes memory."""
        start, end = self._layout.tube_table, self._layout.heaps
        return self._back(start, end, at.TUBES_BACKED, entries * TUBE_WORDS * WORD, share)

    def _back(self, table: int, table_end: int, backed_word: int, nbytes: int, share: int) -> bool:
        """Make sure that the first `nbytes` of a table have memory."""
        backed = self._words[backed_word]
        if backed > table_end - table:
            raise damaged(self._segment.name, "a table is larger than it can be")
        if nbytes <= backed:
            return True
        exact = -(-nbytes // PAGE) * PAGE
        for goal in (min(max(backed + self._layout.table_step_bytes, exact), table_end - table), exact):
            # While memory is short only what is needed is taken: it may come from the reserve.
            if goal > exact and self._extents.scarce:
                continue
            if self._extents.secure(table + backed, goal - backed, share=share, more_than_needed=goal > exact):
                self._words[backed_word] = goal
                return True
        return False
