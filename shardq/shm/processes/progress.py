"""How far a worker has come with the batch in its hands, as its handler says: a record in its slot, without the guard.

    worker:  version = odd  ->  record  ->  version = the next number
    reader:  version  ->  copy of the record  ->  version: the copy counts if both are the same even number

So a reader never takes half of one record and half of another: processors of x86 show stores in their order. Versions
do not come back: each process counts its own from the clock. The record names its batch, so it says nothing of the next
one, and a batch of which nothing is said costs nothing. Where a worker dies while it writes, the version stays odd.
"""

from __future__ import annotations

import math
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from operator import setitem
from typing import Any

from shardq.model import Progress, cut_note
from shardq.shm import words as at
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment

_RECORD = struct.Struct(f"Qdd{at.NOTE_BYTES}s")
#: Stands for a total that is not known.
_NO_TOTAL = -1.0
_store: Callable[[Any, Any, Any], None] = setitem
#: How often a reader looks that finds a record being written.
_LOOKS = 3


class OwnProgress:
    """What this process says in its slot."""

    def __init__(self, segment: Segment, slots: Slots) -> None:
        word = slots.word(slots.mine)
        self._words = segment.words
        self._since = word + at.SLOT_BATCH_SINCE_NS
        version, place = word + at.SLOT_PROGRESS_VERSION, _place(word)
        self._targets: Sequence[Any] = (segment.words, segment.bytes, segment.words)
        self._places: tuple[int, slice, int] = version, place, version
        self._versions = count(time.monotonic_ns() | 1, 2)

    def note(self, done: float, total: float | None, note: str) -> None:
        """Say this of the batch in hand."""
        version = next(self._versions)
        total = _NO_TOTAL if total is None else total
        record = _RECORD.pack(self._words[self._since], done, total, cut_note(note, at.NOTE_BYTES))
        # One call into C: neither another thread of this process nor an exception comes between the three stores.
        deque(map(_store, self._targets, self._places, (version, record, version + 1)), 0)

    def note_fork(self) -> None:
        """In a forked child: write nothing from now on, the slot is the parent's."""
        self._targets = ()


def progress_in(segment: Segment, slots: Slots, slot: int) -> Progress | None:
    """What the worker in the slot says of the batch that it has in hand. None: nothing."""
    words, word = segment.words, slots.word(slot)
    for _ in range(_LOOKS):
        version = words[word + at.SLOT_PROGRESS_VERSION]
        record = segment.bytes[_place(word)]
        if version == words[word + at.SLOT_PROGRESS_VERSION] and not version & 1:
            break
    else:
        return None
    since_ns, done, total, note = _RECORD.unpack(record)
    if not since_ns or since_ns != words[word + at.SLOT_BATCH_SINCE_NS] or not math.isfinite(done + total):
        return None
    return Progress(_shorter(done), None if total < 0 else _shorter(total), note.rstrip(b"\0").decode(errors="replace"))


def _place(word: int) -> slice:
    first = (word + at.SLOT_PROGRESS) * at.WORD
    return slice(first, first + _RECORD.size)


def _shorter(number: float) -> float:
    """A whole number as an integer."""
    return int(number) if number.is_integer() else number
