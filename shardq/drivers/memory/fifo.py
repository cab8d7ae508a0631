"""One FIFO of the in-memory storage: its messages, and what of them is in hand or failed."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice, takewhile

from shardq.model import EMPTY, NOT_ALONE, Batch, Ending, Failed
from shardq.model.trace import untraced


class Fifo:
    """Messages and their sequence numbers side by side: `drop_equal` leaves gaps in the numbers."""

    __slots__ = (
        "_equal",
        "_failures",
        "_handed_through",
        "_handed_to",
        "_limit",
        "_limit_through",
        "_sequences",
        "messages",
        "next_sequence",
    )

    def __init__(self, next_sequence: int) -> None:
        self.next_sequence = next_sequence
        self.messages: deque[bytes] = deque()
        self._sequences: deque[int] = deque()
        self._handed_to = 0
        self._handed_through = 0
        self._failures: tuple[int, Failed] | None = None
        """Sequence number of the message that failed alone, and how."""
        # Batches are at most so large while the head is below that number.
        self._limit = self._limit_through = 0
        self._equal: Counter[bytes] | None = None

    @property
    def equal(self) -> Counter[bytes]:
        """The messages without trace contexts, and how many equal ones there are of each. Kept up to date from the
        first call on, so that a tube whose equal messages are never asked for has no cost.
        """
        if self._equal is None:
            self._equal = Counter(map(untraced, self.messages))
        return self._equal

    def add(self, messages: Sequence[bytes]) -> None:
        first = self.next_sequence
        self.next_sequence += len(messages)
        self._sequences.extend(range(first, self.next_sequence))
        self.messages.extend(messages)
        if self._equal is not None:
            self._equal.update(map(untraced, messages))

    @property
    def head_sequence(self) -> int:
        return self._sequences[0] if self._sequences else self.next_sequence

    def head(self, limit: int, after: int | None = None) -> Batch:
        """The first messages, of those with numbers above `after`."""
        start = 0 if after is None else bisect_right(self._sequences, after)
        messages = list(islice(self.messages, start, start + max(limit, 0)))
        if not messages:
            return EMPTY
        numbers = list(islice(self._sequences, start, start + len(messages)))
        gaps = numbers[-1] - numbers[0] >= len(numbers)
        return Batch.of(messages, numbers[0], numbers if gaps else None)

    def take(self, limit: int, token: int) -> Batch:
        """The first messages, handed out to the holder of the token; fewer where earlier ones failed."""
        if self._limit_through > self.head_sequence:
            limit = min(limit, self._limit)
        failed = self.failed
        batch = self.head(min(limit, 1) if failed else limit)
        if batch.count:
            self._handed_through = max(self._in_hand_below(token), batch.through)
            self._handed_to = token
            batch.failed = failed
        return batch

    @property
    def failed(self) -> Failed | None:
        """Failures of the message at the head."""
        if self._failures is None or self._failures[0] != self.head_sequence:
            return None
        return self._failures[1]

    def fail(self, token: int, now_us: int, ending: Ending | None = None) -> Failed:
        """Take back what the holder of the token has in hand, as failed. Returns the failures of a lone message."""
        if self.in_hand(token) != 1:
            self.give_back(token, 1)
            return NOT_ALONE
        self._handed_to = 0
        before = self.failed or Failed(0, now_us, now_us, None)
        failed = Failed(before.attempts + 1, before.first_us, now_us, ending)
        self._failures = self.head_sequence, failed
        return failed

    def give_back(self, token: int, at_most: int) -> None:
        """Take back what the holder of the token has in hand. Until it has left, batches have at most so many."""
        if self.in_hand(token):
            self._limit = max(1, at_most)
            self._limit_through = max(self._limit_through, self._handed_through)
            self._handed_to = 0

    def drop_below(self, through: int) -> list[bytes]:
        dropped = []
        while self._sequences and self._sequences[0] < through:
            self._sequences.popleft()
            dropped.append(self.messages.popleft())
        return self._left(dropped)

    def has(self, sequence: int) -> bool:
        """Whether the message of this number is there."""
        return sequence in self._sequences

    def has_equal(self, message: bytes) -> bool:
        """Whether an equal message is there."""
        return untraced(message) in map(untraced, self.messages)

    def drop_one(self, sequence: int) -> bytes | None:
        """Drop the message of this number, where there is one."""
        if sequence not in self._sequences:
            return None
        index = self._sequences.index(sequence)
        message = self.messages[index]
        del self._sequences[index], self.messages[index]
        self._left([message])
        return message

    def drop_equal(self, unwanted: set[bytes], token: int) -> list[bytes]:
        """Drop messages equal to these, which are without trace contexts, but for those in the hands of the holder of
        `token`, the thread's current claim.
        """
        in_hand_below = self._in_hand_below(token)
        kept: list[tuple[int, bytes]] = []
        dropped = []
        for sequence, message in zip(self._sequences, self.messages, strict=True):
            if untraced(message) in unwanted and sequence >= in_hand_below:
                dropped.append(message)
            else:
                kept.append((sequence, message))
        self._sequences = deque(sequence for sequence, _ in kept)
        self.messages = deque(message for _, message in kept)
        return self._left(dropped)

    def _left(self, dropped: list[bytes]) -> list[bytes]:
        """Messages have left: take them off the counts of equal ones."""
        if self._equal is not None:
            for message in map(untraced, dropped):
                self._equal[message] -= 1
                if not self._equal[message]:
                    del self._equal[message]
        return dropped

    def in_hand(self, token: int) -> int:
        """How many messages the holder of the token has."""
        below = self._in_hand_below(token)
        return sum(1 for _ in takewhile(below.__gt__, self._sequences))

    def _in_hand_below(self, token: int) -> int:
        return self._handed_through if token and token == self._handed_to else 0
