"""What a storage hands out to a worker: batches of encoded messages, and how they failed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from signal import Signals
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace


class Ending(NamedTuple):
    """How a worker process ended that had a batch in hand. Neither signal nor exit code: no supervisor saw its end."""

    signal: int | None = None
    exit_code: int | None = None
    timed_out: bool = False
    """Whether its supervisor killed it because the batch took longer than `Handler.timeout_s`."""


def signal_name(number: int) -> str:
    """`SIGKILL`, or `signal 40`: most real-time signals have no name of their own."""
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


class Failed(NamedTuple):
    """What happened to the message at the head of a batch before, while it stood alone."""

    attempts: int
    """How often it failed."""
    first_us: int
    """When for the first time, Unix microseconds of the storage's clock."""
    last_us: int
    """When for the last time."""
    ending: Ending | None
    """How its worker ended the last time; None where the worker lived on."""


#: Where no message failed alone.
NOT_ALONE = Failed(0, 0, 0, None)


class Batch(Struct):
    """Messages of one tube, in order, still in the concatenation they were stored in.

    Nothing is sliced until `messages` is called: a codec decodes `payload` as a whole.
    """

    sequence: int
    """Sequence number of the first message. Counted per tube, never reused."""
    through: int
    """One past the sequence number of the last message."""
    count: int
    """How many messages there are."""
    ends: Sequence[int]
    """For each message, where it ends in `payload`, in bytes, counted from `base`."""
    payload: bytes
    """The messages, back to back."""
    base: int = 0
    """What `ends` are counted from: ends that stand in storage are used as they are."""
    sequences: Sequence[int] | None = None
    """Sequence number of each message, where some between them were removed. None: they follow one another."""
    pipe: str = ""
    """Where it was taken from."""
    front: bool = False
    """Whether it was in front of that tube. For the storage alone: it tells where to acknowledge."""
    failed: Failed | None = None
    """Earlier failures of its only message."""
    taken_us: int = 0
    """When it was handed out, Unix microseconds of the storage's clock."""
    unread: Any = None
    """Where its messages are that are not read yet. For the storage alone, which reads them before it returns it."""

    @classmethod
    def of(cls, messages: Sequence[bytes], sequence: int = 0, sequences: Sequence[int] | None = None) -> Batch:
        """One of these messages, whose numbers follow one another from `sequence` on, or are `sequences`. Without
        messages: `EMPTY`.
        """
        if not messages:
            return EMPTY
        count, ends, payload = len(messages), list(accumulate(map(len, messages))), b"".join(messages)
        if sequences is not None:
            return cls(sequences[0], sequences[-1] + 1, count, ends, payload, sequences=sequences)
        return cls(sequence, sequence + count, count, ends, payload)

    @property
    def numbers(self) -> Sequence[int]:
        """Sequence number of each message."""
        return range(self.sequence, self.through) if self.sequences is None else self.sequences

    @property
    def messages(self) -> list[bytes]:
        """The messages one by one."""
        ends = [end - self.base for end in self.ends]
        return [self.payload[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def through_first(self, count: int) -> int:
        """One past the sequence number of the last of the first `count` messages."""
        if not count:
            return self.sequence
        return self.sequence + count if self.sequences is None else self.sequences[count - 1] + 1

    def first(self, count: int) -> Batch:
        """The first `count` messages, at least one."""
        ends = self.ends[:count]
        sequences = None if self.sequences is None else self.sequences[:count]
        payload = self.payload[: ends[-1] - self.base]
        through = self.through_first(count)
        return replace(self, through=through, count=count, ends=ends, payload=payload, sequences=sequences)

    def with_messages(self, messages: Sequence[bytes]) -> Batch:
        """The same with other messages, as many."""
        # `replace` goes through all fields, which takes three times as long.
        ends, payload, rest = list(accumulate(map(len, messages))), b"".join(messages), (self.failed, self.taken_us)
        numbers = self.sequence, self.through, self.count
        return Batch(*numbers, ends, payload, 0, self.sequences, self.pipe, self.front, *rest)

    def followed_by(self, other: Batch) -> Batch:
        """These messages, and those of another batch behind them."""
        if not self.count or not other.count:
            return self if self.count else other
        shift = len(self.payload) - other.base
        ends = [*(end - self.base for end in self.ends), *(end + shift for end in other.ends)]
        numbers = [*self.numbers, *other.numbers]
        payload = self.payload + other.payload
        return Batch(self.sequence, other.through, len(ends), ends, payload, sequences=numbers)


EMPTY = Batch(0, 0, 0, (), b"")


class Terms(NamedTuple):
    """How a worker takes batches from the threads of a handler."""

    priorities: tuple[int, ...]
    """In the order in which their tubes are looked into."""
    limit: int
    """Most messages of a batch."""
    timeout_s: float | None = None
    """How long the worker has for one: its supervisor may end it after that, where it cannot stop by itself."""
    starvation_limit: int | None = None
    """See `in_turn`."""


#: The terms of several handlers, by their names.
AllTerms = Mapping[str, Terms]


class Hand(NamedTuple):
    """A thread that a worker is bound to, and the batch of it that the worker has in hand."""

    key: str
    token: int
    """The fencing token of the claim."""
    batch: Batch

    def leads_on_from(self, former: Hand | None) -> bool:
        """Whether there is work in it that the hand before it did not have: another claim, or more messages."""
        return former is None or former.token != self.token or self.batch.count > 0


def in_turn(priorities: tuple[int, ...], turn: int, starvation_limit: int | None) -> tuple[int, ...]:
    """The order in which a thread's priorities are looked into for its batch number `turn`.

    As they are given, but for every n-th time: then another priority comes first, each in turn, with n such that each
    is first once in `starvation_limit` batches. None: always as given.
    """
    if starvation_limit is None or len(priorities) < 2:
        return priorities
    every = max(1, starvation_limit // len(priorities))
    if (turn + 1) % every:
        return priorities
    first = turn // every % len(priorities)
    return priorities[first:] + priorities[:first]
