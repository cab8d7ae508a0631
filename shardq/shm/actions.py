"""The ring of the last actions of operators.

It has a place more than actions are remembered, and a word of the header says how many were ever recorded. The next one
is written to the place that none of those has, and counts by one store of that word. So a death leaves whole actions
only, and nothing to mend. A reader needs no guard: it copies the places, and looks at the word again. Until that has
grown, no process can have begun to write over one of those that it copied.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.segment import Segment
from shardq.shm.words import WORD

#: No clock says a later time, in Unix microseconds: it is in the year 2255.
_LATEST_US = 9_000_000_000_000_000
#: How often a look without the guard is repeated that found others recording.
_TRIES = 16


class Told(NamedTuple):
    """An action as it was told."""

    number: int
    """From 1."""
    at_us: int
    told: bytes


class Actions:
    """The actions of a segment."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout

    def add(self, at_us: int, told: bytes) -> None:
        """Record an action, of at most `ACTION_TOLD_BYTES`. Wants the guard held."""
        words, number = self._words, self._words[at.ACTIONS]
        word, place = self._place(number)
        words[word + at.ACTION_AT_US], words[word + at.ACTION_LENGTH] = at_us, len(told)
        self._segment.bytes[place : place + len(told)] = told
        words[at.ACTIONS] = number + 1

    def last(self, limit: int) -> list[Told]:
        """The last ones, the latest first. Wants the guard held. Raises `SegmentForeign`."""
        found = self.seen(limit)
        assert found is not None
        return found

    def seen(self, limit: int) -> list[Told] | None:
        """The same without the guard. None: others recorded some as often as they were looked at."""
        for _ in range(_TRIES):
            count = self._words[at.ACTIONS]
            numbers = range(count - 1, max(-1, count - 1 - min(limit, self._layout.actions)), -1)
            copies = [self._copied(number) for number in numbers]
            if self._words[at.ACTIONS] == count:
                return [self._read(number, *copy) for number, copy in zip(numbers, copies, strict=True)]
            os.sched_yield()  # the process that records may wait for this core
        return None

    def _place(self, number: int) -> tuple[int, int]:
        """Its first word, and the byte address behind its words."""
        word = self._layout.action_word(number)
        return word, (word + at.ACTION_WORDS) * WORD

    def _copied(self, number: int) -> tuple[int, int, bytes]:
        """Time, length, and all that is in the place."""
        word, place = self._place(number)
        data = self._segment.bytes[place : place + at.ACTION_TOLD_BYTES]
        return self._words[word + at.ACTION_AT_US], self._words[word + at.ACTION_LENGTH], data

    def _read(self, number: int, at_us: int, length: int, data: bytes) -> Told:
        if not 0 < length <= len(data) or at_us > _LATEST_US:
            raise damaged(self._segment.name, f"action {number + 1} is none")
        return Told(number + 1, at_us, data[:length])
