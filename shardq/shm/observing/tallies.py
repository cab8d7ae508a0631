"""What all processes counted of each handler, added up."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterator

from shardq.model import BUCKETS, FULLS, INBOX, REASONS, HandlerView, Times
from shardq.shm import words as at
from shardq.shm.observing.copies import Copies
from shardq.shm.tubes.tallies import PER_ONE, RATE_SPAN_NS, RATE_UNIT
from shardq.shm.words import PAGE, WORD

_BLOCK_BYTES = at.TALLY_WORDS * WORD
_BLOCK = struct.Struct(f"<{at.TALLY_WORDS}Q")
#: What is counted, and the rate of it.
_RATES = ((at.TALLY_ACCEPTED, at.TALLY_ACCEPTED_RATE), (at.TALLY_DONE, at.TALLY_DONE_RATE))
#: In the name of handlers that have no number.
_OTHER = "other"


class Tallies:
    """Reads what was counted. Each word is right by itself, and those of a batch that is just being counted may be of
    before and of after it.
    """

    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._layout = copies.layout

    def views(self) -> list[HandlerView]:
        """The handlers of which anything was counted, by their names, without inboxes of callers."""
        now_ns, sums = time.clock_gettime_ns(time.CLOCK_BOOTTIME), dict[int, list[float]]()
        for number, block in self._blocks():
            total = sums.setdefault(number, [0] * at.TALLY_WORDS)
            left = math.exp(-max(0, now_ns - block[at.TALLY_RATE_AT_NS]) / RATE_SPAN_NS)
            for counter, rate in _RATES:
                later = max(0, block[counter] - block[rate + 1]) * PER_ONE
                block[rate] = (block[rate] * left + later) / RATE_UNIT
            total[:] = map(sum, zip(total, block, strict=True))
        found = {_named(self._copies, number): total for number, total in sums.items()}
        return [_view(name, total) for name, total in sorted(found.items()) if name not in ("", INBOX)]

    def _blocks(self) -> Iterator[tuple[int, list[float]]]:
        """Number and words of each block in which anything was written."""
        segment, start = self._copies.segment, self._layout.tallies
        for first, end in segment.data(start, self._layout.extents_base):
            for address in range(first // PAGE * PAGE, end, PAGE):
                page = segment.copied(address, at.TALLIES_IN_PAGE * _BLOCK_BYTES)
                number = (address - start) // PAGE % at.TALLY_PAGES * at.TALLIES_IN_PAGE
                for place in range(at.TALLIES_IN_PAGE):
                    words = _BLOCK.unpack_from(page, place * _BLOCK_BYTES)
                    if number + place and any(words):
                        yield number + place, list(words)


def _named(copies: Copies, number: int) -> str:
    """The name of the handler with a number. Empty: there is none."""
    return _OTHER if number >= at.OTHER_HANDLER else copies.handler(number)


def _view(name: str, words: list[float]) -> HandlerView:
    waits, works = (
        Times.counted([int(count) for count in words[first : first + BUCKETS]])
        for first in (at.TALLY_WAIT, at.TALLY_WORK)
    )
    return HandlerView(
        handler=name,
        accepted=int(words[at.TALLY_ACCEPTED]),
        done=int(words[at.TALLY_DONE]),
        dead=int(words[at.TALLY_DEAD]),
        cancelled=int(words[at.TALLY_CANCELLED]),
        failed={reason: int(words[at.TALLY_FAILED + place]) for place, reason in enumerate(REASONS)},
        batches=works.count,
        busy_s=words[at.TALLY_BUSY_NS] / 1e9,
        accepted_per_s=words[at.TALLY_ACCEPTED_RATE],
        done_per_s=words[at.TALLY_DONE_RATE],
        wait=waits,
        work=works,
        waited_s=words[at.TALLY_WAITED_US] / 1e6,
        full={how: int(words[at.TALLY_FULL + place]) for place, how in enumerate(FULLS)},
    )
