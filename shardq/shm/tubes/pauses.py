"""Handlers whose threads are offered to no worker, because an operator said so.

The table has a place for each pause, and a word of the header one bit for each place that counts. So a pause stands,
ends or changes by one store: it is written to a free place, which nothing leads to yet. Threads stay as they are: who
looks for work leaves the handlers out whose pauses stand, which costs a look at that word where there is none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from shardq.errors import SegmentForeign
from shardq.model import MOST_PAUSES, Pause, too_many_pauses
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.segment import Segment
from shardq.shm.tubes.handler_table import HandlerTable, Served
from shardq.shm.words import WORD


class _Known(NamedTuple):
    """The pauses that stand, as this process read them."""

    handlers: frozenset[str] = frozenset()
    bits: int = 0
    """One bit for the number of each handler that has one."""
    first_end_us: int = 0
    """When the first of them ends. 0: none ends by itself."""


class Pauses:
    """The pauses of a segment. All methods want the guard held."""

    def __init__(self, segment: Segment, handlers: HandlerTable, sleepers: Sleepers) -> None:
        self._segment = segment
        self._words = segment.words
        self._handlers = handlers
        self._sleepers = sleepers
        self._known = _Known()
        self._known_of = 0, 0, 0
        """What the words said from which that was read."""

    def pause(self, pause: Pause) -> None:
        """Keep workers off a handler, in the place of the pause that it has, if any. The name and the reason were
        checked. Raises `HandlerError` where too many are paused.
        """
        self.end_over()
        mask, former = self._words[at.PAUSED], self._place_of(pause.handler)
        if not former and mask.bit_count() >= MOST_PAUSES:
            raise too_many_pauses(pause.handler)
        free = (~mask & (mask + 1)).bit_length() - 1
        self._write(free, pause)
        self._words[at.PAUSED] = mask & ~former | 1 << free
        if pause.until_us is not None:
            self._sleepers.call_worker()  # one sleeping process has to wake when the pause ends

    def resume(self, handler: str) -> bool:
        """End the pause of a handler, and call all that sleep. False: it has none."""
        place = self._place_of(handler)
        self._end(place)
        return bool(place)

    def standing(self) -> list[Pause]:
        """All that stand, by handler."""
        self.end_over()
        return sorted((read_pause(self._segment, place) for place in places(self._words[at.PAUSED])), key=_handler)

    def without_paused(self, served: Served) -> Served:
        """The handlers among these that are not paused."""
        known = self._now()
        if not known.handlers:
            return served
        return Served(
            None if served.names is None else served.names - known.handlers,
            [number for number in served.numbers if not known.bits >> number & 1],
            served.bits & ~known.bits,
            known.handlers,
        )

    def is_paused(self, handler: str) -> bool:
        """Whether a handler is paused."""
        self.end_over()
        return handler in self._now().handlers

    def end_over(self) -> float | None:
        """End the pauses that are over. Returns in how many seconds the next one ends; None: none does by itself."""
        first_us = self._now().first_end_us
        if not first_us:
            return None
        now_us = time.time_ns() // 1000
        if first_us > now_us:
            return (first_us - now_us) / 1e6
        self._end(sum(1 << place for place in places(self._words[at.PAUSED]) if self._ends_by(place, now_us)))
        return self.end_over()

    def _end(self, mask: int) -> None:
        """End the pauses of these places."""
        if mask:
            self._words[at.PAUSED] &= ~mask
            self._sleepers.call_all()

    def _place_of(self, handler: str) -> int:
        """The bit of the handler's pause, 0: it has none."""
        for place in places(self._words[at.PAUSED]):
            if read_pause(self._segment, place).handler == handler:
                return 1 << place
        return 0

    def _ends_by(self, place: int, now_us: int) -> bool:
        return 0 < self._words[self._segment.layout.pause_word(place) + at.PAUSE_UNTIL_US] <= now_us

    def _now(self) -> _Known:
        words = self._words
        if not words[at.PAUSED]:
            return _NONE
        # A handler may get its number after it was paused.
        state = words[at.PAUSED], words[at.PAUSE_NUMBER], words[at.HANDLERS]
        if state != self._known_of:
            standing = [read_pause(self._segment, place) for place in places(state[0])]
            numbers = [self._handlers.known_number(its.handler) for its in standing]
            ends = [its.until_us for its in standing if its.until_us is not None]
            bits = sum(1 << number for number in numbers if number)
            self._known = _Known(frozenset(its.handler for its in standing), bits, min(ends, default=0))
            self._known_of = state
        return self._known

    def _write(self, place: int, pause: Pause) -> None:
        """Write to a place that does not count."""
        words, word = self._words, self._segment.layout.pause_word(place)
        name, reason = pause.handler.encode(), pause.reason.encode()
        number = words[at.PAUSE_NUMBER] + 1
        words[at.PAUSE_NUMBER] = number
        words[word + at.PAUSE_MADE] = 0  # who reads without the guard sees that it changes
        words[word + at.PAUSE_SINCE_US] = pause.since_us
        words[word + at.PAUSE_UNTIL_US] = pause.until_us or 0
        words[word + at.PAUSE_NAME_BYTES], words[word + at.PAUSE_REASON_BYTES] = len(name), len(reason)
        start = (word + at.PAUSE_WORDS) * WORD
        self._segment.bytes[start : start + len(name)] = name
        self._segment.bytes[start + at.NAME_BYTES : start + at.NAME_BYTES + len(reason)] = reason
        words[word + at.PAUSE_MADE] = number


_NONE = _Known()
#: How often a look without the guard is repeated that found the table changing.
_TRIES = 16


def places(mask: int) -> Iterator[int]:
    """The places that count."""
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


def read_pause(segment: Segment, place: int) -> Pause:
    """The pause at a place. Raises `SegmentForeign` where there cannot be one."""
    word = segment.layout.pause_word(place)
    since_us, until_us, name_bytes, reason_bytes = segment.words[word + at.PAUSE_SINCE_US : word + at.PAUSE_WORDS][:4]
    if not 0 < name_bytes <= at.NAME_BYTES or reason_bytes > at.REASON_BYTES:
        raise damaged(segment.name, f"pause {place} has no handler")
    start = (word + at.PAUSE_WORDS) * WORD
    name = segment.bytes[start : start + name_bytes].decode()
    start += at.NAME_BYTES
    return Pause(name, since_us, until_us or None, segment.bytes[start : start + reason_bytes].decode())


def pauses_seen(segment: Segment) -> list[Pause] | None:
    """Those that stand, by handler, read without the guard. None: they changed as often as they were looked at. Raises
    `SegmentForeign`, and `ValueError` for a name or a reason that is no text.
    """
    words, word_of = segment.words, segment.layout.pause_word
    for _ in range(_TRIES):
        before, found, wrong = (words[at.PAUSED], words[at.PAUSE_NUMBER]), list[Pause](), None
        try:
            found = [read_pause(segment, place) for place in places(before[0])]
        except (SegmentForeign, ValueError) as error:
            wrong = error
        are_written = all(words[word_of(place) + at.PAUSE_MADE] for place in places(before[0]))
        if are_written and (words[at.PAUSED], words[at.PAUSE_NUMBER]) == before:
            if wrong:
                raise wrong
            now_us = time.time_ns() // 1000
            return sorted((its for its in found if its.until_us is None or its.until_us > now_us), key=_handler)
        os.sched_yield()  # the process that changes them may wait for this core
    return None


def _handler(pause: Pause) -> str:
    return pause.handler
