"""What each process counts of each handler, in memory of its own: what it accepted and handled, how it failed, and how
long things took.

A block of words for each slot and handler has one writer, the process in the slot, inside the guard. It is never set
back: who gets the slot next counts on. A block gets memory when its process first counts something of the handler, and
where there is none, nothing is counted. Nothing here is part of a commit, so a death may lose the counts of a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress

from shardq.errors import SegmentError
from shardq.model import FULLS, REASONS, Full, Reason, bucket_of
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.segment import Segment
from shardq.shm.words import PAGE, WORD

#: Within so many nanoseconds of silence a rate falls to a third.
RATE_SPAN_NS = 10_000_000_000
#: A rate of one a second, as it is stored, and what a single message adds to a rate.
RATE_UNIT = 1 << 20
PER_ONE = RATE_UNIT * 1_000_000_000 // RATE_SPAN_NS
#: Rates are stored so often; readers add what came since.
_RATED_EACH_NS = 200_000_000
#: Of more handlers than these the blocks wait until something is counted: a process may never serve most of them.
_MOST_AHEAD = 8 * at.TALLIES_IN_PAGE
#: Words from one thread entry to the next.
_STRIDE = at.THREAD_BYTES // WORD
_FAILED = {reason: at.TALLY_FAILED + place for place, reason in enumerate(REASONS)}
_FULL = {how: at.TALLY_FULL + place for place, how in enumerate(FULLS)}


class Tallies:
    """The counts of this process. All methods want the guard held, and nothing else under way."""

    def __init__(self, segment: Segment, slot: int) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._slot = slot
        self._most_bytes = segment.layout.tallies_bytes
        self._rates_due_ns: dict[int, int] = {}
        """When the rates of a block are to be stored next."""
        self._first_handler = segment.layout.thread_word(0) + at.THREAD_HANDLER
        self.blocks = [-1] * (at.OTHER_HANDLER + 1)
        """First word of each handler's block. -1: it was not asked for yet, 0: there is no memory for it."""

    def have(self, numbers: Sequence[int]) -> None:
        """Have the blocks of these handlers before there is anything to count, where they are few: then the first batch
        of a handler needs no more than the later ones. Half of the memory for tallies is left to what is counted.
        """
        if len(numbers) > _MOST_AHEAD:
            return
        for number in numbers:
            if self.blocks[number] < 0 and 2 * self._words[at.TALLIES_BYTES] < self._most_bytes:
                self._block_of(number)

    def accepted(self, threads: Sequence[int], parts: Sequence[tuple[int, Sequence[bytes]]]) -> None:
        """These messages came into tubes of these threads."""
        words, first = self._words, self._first_handler
        # A call is for one handler as a rule.
        numbers = {words[first + thread * _STRIDE] for thread in threads}
        if len(numbers) == 1:
            self._accepted(numbers.pop(), sum([len(messages) for _, messages in parts]))
            return
        for thread, (_, messages) in zip(threads, parts, strict=True):
            self._accepted(words[first + thread * _STRIDE], len(messages))

    def accepted_in(self, thread: int, count: int) -> None:
        """So many messages came into a tube of this thread."""
        self._accepted(self._words[self._first_handler + thread * _STRIDE], count)

    def handed_out(self, thread: int, waited_us: int) -> None:
        """A batch was handed out, whose oldest message had waited so long."""
        words = self._words
        block = self.blocks[words[self._first_handler + thread * _STRIDE]]
        if block > 0 or (block := self._block(thread)):
            waited_us = max(0, waited_us)  # the clock of the machine may have been set back
            words[block + at.TALLY_WAIT + bucket_of(waited_us * 1000)] += 1
            words[block + at.TALLY_WAITED_US] += waited_us

    def done(self, thread: int, count: int) -> None:
        """So many messages of the batch in hand were handled."""
        self._count(thread, at.TALLY_DONE, count)

    def ended(self, thread: int, count: int, spent_ns: int, now_ns: int) -> None:
        """A batch of this thread was in hand for so long, and is not any more, whatever became of it. `count` of its
        messages were handled now.
        """
        words = self._words
        block = self.blocks[words[self._first_handler + thread * _STRIDE]]
        if block > 0 or (block := self._block(thread)):
            if count:
                words[block + at.TALLY_DONE] += count
            words[block + at.TALLY_BUSY_NS] += spent_ns
            words[block + at.TALLY_WORK + bucket_of(spent_ns)] += 1
            if now_ns >= self._rates_due_ns.get(block, 0):
                self._rate(block, now_ns)

    def failed(self, thread: int, reason: Reason) -> None:
        """An attempt failed."""
        self._count(thread, _FAILED[reason], 1)

    def buried(self, thread: int) -> None:
        """A message of this thread became a dead letter."""
        self._count(thread, at.TALLY_DEAD, 1)

    def cancelled(self, thread: int, count: int) -> None:
        """Messages of this thread were taken out."""
        self._count(thread, at.TALLY_CANCELLED, count)

    def full(self, number: int, how: Full) -> None:
        """A call for the handler of that number found no room."""
        if block := self._block_of(number):
            self._words[block + _FULL[how]] += 1

    def _accepted(self, number: int, count: int) -> None:
        if block := self._block_of(number):
            self._words[block + at.TALLY_ACCEPTED] += count
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if now_ns >= self._rates_due_ns.get(block, 0):
                self._rate(block, now_ns)

    def _count(self, thread: int, field: int, count: int) -> None:
        if count and (block := self._block(thread)):
            self._words[block + field] += count

    def _rate(self, block: int, now_ns: int) -> None:
        """Let the rates fall for the time since they were stored, and rise by what came meanwhile."""
        words, gone_ns = self._words, max(0, now_ns - self._words[block + at.TALLY_RATE_AT_NS])
        left = math.exp(-gone_ns / RATE_SPAN_NS)
        for counter, rate in ((at.TALLY_ACCEPTED, at.TALLY_ACCEPTED_RATE), (at.TALLY_DONE, at.TALLY_DONE_RATE)):
            count = words[block + counter]
            words[block + rate] = int(words[block + rate] * left) + (count - words[block + rate + 1]) * PER_ONE
            words[block + rate + 1] = count
        words[block + at.TALLY_RATE_AT_NS] = now_ns
        self._rates_due_ns[block] = now_ns + _RATED_EACH_NS

    def _block(self, thread: int) -> int:
        return self._block_of(self._words[self._first_handler + thread * _STRIDE])

    def _block_of(self, number: int) -> int:
        if number > at.OTHER_HANDLER:
            raise damaged(self._segment.name, f"there is no handler {number}")
        block = self.blocks[number]
        if block < 0:
            block = self.blocks[number] = self._made(number) if number else 0
        return block

    def _made(self, number: int) -> int:
        """The block of the handler, with memory. 0: there is none."""
        word = self._layout.tally_word(self._slot, number)
        start = word * WORD // PAGE * PAGE
        with suppress(SegmentError):
            before = self._segment.taken_bytes
            if self._words[at.TALLIES_BYTES] + PAGE > self._most_bytes and not any(
                self._segment.data(start, start + PAGE)
            ):
                return 0
            if self._segment.allocate(start, PAGE):
                self._words[at.TALLIES_BYTES] += self._segment.taken_bytes - before
                return word
        return 0
