"""What a worker has in hand, and how the message at the head failed before.

Three facts per tube. TUBE_HANDED above the head says that a batch is in hand: where its worker is dead, the death
interrupted that batch. TUBE_ATTEMPTS counts the failures of the message at the head while it stood alone. TUBE_LIMIT
makes the next batches smaller after a batch of several messages failed, until the culprit stands alone.

All of them name sequence numbers, so they are void by themselves once the head moves on.
"""

from __future__ import annotations

import time

from shardq.model import NOT_ALONE, Ending, Failed
from shardq.shm import words as at
from shardq.shm.journal import Journal
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.segment import Segment


class Delivery:
    """Attempts at the head of tubes. All methods want the guard held and an intent for the tube's thread declared,
    unless they only read.
    """

    def __init__(self, segment: Segment, journal: Journal, exit_log: ExitLog) -> None:
        self._words = segment.words
        self._layout = segment.layout
        self._journal = journal
        self._exit_log = exit_log

    def limit(self, tube: int, wanted: int) -> int:
        """How many messages the next batch may have, at most `wanted`."""
        words, word = self._words, self._layout.tube_word(tube)
        head = words[word + at.TUBE_HEAD_SEQUENCE]
        if words[word + at.TUBE_LIMIT_THROUGH] > head:
            wanted = min(wanted, words[word + at.TUBE_LIMIT])
        return min(wanted, 1) if self._count(word, head) else wanted

    def of(self, tube: int) -> Failed | None:
        """Failures of the message at the head."""
        words, word = self._words, self._layout.tube_word(tube)
        attempts = self._count(word, words[word + at.TUBE_HEAD_SEQUENCE])
        if not attempts:
            return None
        first_us, last_us = words[word + at.TUBE_FIRST_FAILED_US], words[word + at.TUBE_LAST_FAILED_US]
        return self.failed(attempts, first_us, last_us, words[word + at.TUBE_FAILED_BY])

    def failed(self, attempts: int, first_us: int, last_us: int, killer: int) -> Failed:
        """The same of these words. `killer`: the owner word of the process whose death was the last failure, 0: it was
        none. Wants no guard.
        """
        ending = (self._exit_log.of(killer) or Ending()) if killer else None
        return Failed(attempts, first_us, last_us, ending)

    def hand_out(self, thread: int, tube: int, through: int) -> None:
        """Messages below `through` are with the thread's worker now."""
        self._words[self._layout.thread_word(thread) + at.THREAD_TAKEN] = tube + 1
        word = self._layout.tube_word(tube) + at.TUBE_HANDED
        self._words[word] = max(self._words[word], through)

    def taken_from(self, thread: int) -> int | None:
        """The tube that the batch in hand is from."""
        tube = self._words[self._layout.thread_word(thread) + at.THREAD_TAKEN] - 1
        return tube if tube >= 0 and self.in_hand(tube) else None

    def take_back(self, tube: int) -> None:
        """No message is with a worker: another one begins at the head."""
        self._words[self._layout.tube_word(tube) + at.TUBE_HANDED] = 0

    def in_hand(self, tube: int) -> bool:
        """Whether messages of the tube are with a worker."""
        word = self._layout.tube_word(tube)
        return self._words[word + at.TUBE_HANDED] > self._words[word + at.TUBE_HEAD_SEQUENCE]

    def fail(self, tube: int, count: int) -> Failed:
        """Take the batch in hand, of so many messages, back as failed. Returns the failures of a message alone. Several
        are handed out one by one from then on.
        """
        if count != 1:
            self.give_back(tube, 1)
            return NOT_ALONE
        self._blame(self._layout.tube_word(tube), 0)
        return self.of(tube) or NOT_ALONE

    def give_back(self, tube: int, at_most: int) -> None:
        """Take the batch in hand back, to hand it out again in batches of at most so many messages."""
        self._isolate(tube, at_most)
        self.take_back(tube)

    def kill(self, tube: int, count: int, owner: int, owner_word: int) -> None:
        """The worker that had the batch in hand, of so many messages, died. Count that as a failure and end its
        binding: the two happen together or not at all.
        """
        if count == 1:
            self._blame(self._layout.tube_word(tube), owner, (owner_word, 0))
            return
        self._isolate(tube, 1)
        self._words[owner_word] = 0

    def _isolate(self, tube: int, limit: int) -> None:
        """Make batches at most so large up to the end of the one in hand."""
        words, word = self._words, self._layout.tube_word(tube)
        # The limit first: for a moment it may hold for a longer or a shorter part, which is harmless.
        words[word + at.TUBE_LIMIT] = max(1, limit)
        through = words[word + at.TUBE_HANDED]
        words[word + at.TUBE_LIMIT_THROUGH] = max(words[word + at.TUBE_LIMIT_THROUGH], through)

    def _blame(self, word: int, killed: int, *followers: tuple[int, int]) -> None:
        words, now_us = self._words, time.time_ns() // 1000
        head = words[word + at.TUBE_HEAD_SEQUENCE]
        if words[word + at.TUBE_FAILED_SEQUENCE] != head:
            words[word + at.TUBE_ATTEMPTS] = 0
            words[word + at.TUBE_FIRST_FAILED_US] = now_us
            words[word + at.TUBE_FAILED_SEQUENCE] = head
        elif not words[word + at.TUBE_ATTEMPTS]:
            words[word + at.TUBE_FIRST_FAILED_US] = now_us
        words[word + at.TUBE_LAST_FAILED_US] = now_us
        words[word + at.TUBE_FAILED_BY] = killed
        # One commit takes the batch back and counts its failure: a death neither counts it twice nor loses it.
        self._journal.commit((word + at.TUBE_HANDED, 0), self._journal.moved(word + at.TUBE_ATTEMPTS, 1), *followers)

    def _count(self, word: int, head: int) -> int:
        return self._words[word + at.TUBE_ATTEMPTS] if self._words[word + at.TUBE_FAILED_SEQUENCE] == head else 0
