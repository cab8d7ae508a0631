"""Threads and tubes of the in-memory storage, without waiting, locking or asyncio.

Tubes live under their thread (`module/Handler/thread`), because a claim covers all priorities of a thread. A thread
with messages and without a claim also stands in the ready order, in which `wait` offers it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate, islice
from math import inf

from shardq.errors import FencedError
from shardq.model import EMPTY, Batch, Ending, Failed, in_turn, key_of, split_key
from shardq.protocols import Served


class Tube:
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
        """The messages, and how many equal ones there are of each. Kept up to date from the first call on, so that a
        tube whose equal messages are never asked for has no cost.
        """
        if self._equal is None:
            self._equal = Counter(self.messages)
        return self._equal

    def add(self, messages: Sequence[bytes]) -> None:
        first = self.next_sequence
        self.next_sequence += len(messages)
        self._sequences.extend(range(first, self.next_sequence))
        self.messages.extend(messages)
        if self._equal is not None:
            self._equal.update(messages)

    @property
    def head_sequence(self) -> int:
        return self._sequences[0] if self._sequences else self.next_sequence

    def head(self, limit: int) -> Batch:
        """The first messages."""
        messages = list(islice(self.messages, max(limit, 0)))
        if not messages:
            return EMPTY
        numbers = list(islice(self._sequences, len(messages)))
        gaps = numbers[-1] - numbers[0] >= len(numbers)
        ends = list(accumulate(map(len, messages)))
        return Batch(numbers[0], numbers[-1] + 1, ends, b"".join(messages), sequences=numbers if gaps else None)

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

    def fail(self, token: int, now_us: int, *, counts: bool = True, ending: Ending | None = None) -> int:
        """Take back what the holder of the token has in hand, as failed. Returns how often a lone message did."""
        count = sum(sequence < self._in_hand_below(token) for sequence in self._sequences)
        through, self._handed_to = self._handed_through, 0
        if count == 1 and counts:
            before = self.failed or Failed(0, now_us, now_us, None)
            self._failures = self.head_sequence, Failed(before.attempts + 1, before.first_us, now_us, ending)
            return before.attempts + 1
        if count:
            self._limit = 1 if ending else max(1, count // 2)
            self._limit_through = max(self._limit_through, through)
        return 0

    def drop_below(self, through: int) -> list[bytes]:
        dropped = []
        while self._sequences and self._sequences[0] < through:
            self._sequences.popleft()
            dropped.append(self.messages.popleft())
        return self._left(dropped)

    def has(self, sequence: int) -> bool:
        """Whether the message of this number is there."""
        return sequence in self._sequences

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
        """Drop messages equal to these, but for those in the hands of the holder of `token`, the thread's current
        claim.
        """
        in_hand_below = self._in_hand_below(token)
        kept: list[tuple[int, bytes]] = []
        dropped = []
        for sequence, message in zip(self._sequences, self.messages, strict=True):
            if message in unwanted and sequence >= in_hand_below:
                dropped.append(message)
            else:
                kept.append((sequence, message))
        self._sequences = deque(sequence for sequence, _ in kept)
        self.messages = deque(message for _, message in kept)
        return self._left(dropped)

    def _left(self, dropped: list[bytes]) -> list[bytes]:
        """Messages have left: take them off the counts of equal ones."""
        if self._equal is not None:
            for message in dropped:
                self._equal[message] -= 1
                if not self._equal[message]:
                    del self._equal[message]
        return dropped

    def _in_hand_below(self, token: int) -> int:
        return self._handed_through if token and token == self._handed_to else 0


class Thread:
    """The tubes of one thread by pipe, how many messages they hold, the token it is claimed under (0: free), and how
    many batches were taken from it.
    """

    __slots__ = ("batches", "queued", "token", "tubes")

    def __init__(self) -> None:
        self.tubes: dict[str, Tube] = {}
        self.queued = 0
        self.token = 0
        self.batches = 0


class _Ready:
    """Threads to offer, by handler, each in the order of how long ago `wait` offered it."""

    def __init__(self) -> None:
        # A plain dict would be slow in place of the inner ones: to find its first key it walks over the places of all
        # that were deleted before it.
        self._turns: dict[str, OrderedDict[str, int]] = {}
        self._last_turn = 0

    def add(self, key: str) -> None:
        """Offer the thread after all that are there."""
        threads = self._turns.setdefault(split_key(key)[0], OrderedDict())
        if key not in threads:
            self._last_turn += 1
            threads[key] = self._last_turn

    def discard(self, key: str) -> None:
        name = split_key(key)[0]
        threads = self._turns.get(name)
        if threads is None:
            return
        threads.pop(key, None)
        if not threads:
            del self._turns[name]

    def any(self, served: Served) -> bool:
        """Whether there is a thread of these handlers."""
        return bool(self._turns if served is None else self._turns.keys() & served)

    def next(self, served: Served) -> str | None:
        """The thread of these handlers whose turn it is. Its next turn comes after that of all others."""
        names = self._turns.keys() if served is None else self._turns.keys() & served
        first = ((next(iter(self._turns[name].items())), name) for name in names)
        found = min(((turn, key, name) for (key, turn), name in first), default=None)
        if found is None:
            return None
        _, key, name = found
        self._last_turn += 1
        self._turns[name][key] = self._last_turn
        self._turns[name].move_to_end(key)
        return key


class Threads:
    """All threads of a storage: which have messages, which are claimed, which one's turn it is.

    `on_work` is called when a thread got its first message, or has messages and lost its claim. `clock` gives the
    seconds by which leases end, `now_us` the time in Unix microseconds.
    """

    def __init__(self, on_work: Callable[[], None], clock: Callable[[], float], now_us: Callable[[], int]) -> None:
        self._on_work = on_work
        self._clock = clock
        self._now_us = now_us
        self._threads: dict[str, Thread] = {}
        self._ready = _Ready()
        self._lease_ends: dict[str, float] = {}
        self._pause_ends: dict[str, float] = {}
        # Where the numbers of a new tube start: above those of every tube that was forgotten.
        self._first_sequence = 1
        self._last_token = 0

    def tube(self, pipe: str) -> Tube | None:
        thread = self._threads.get(key_of(pipe))
        return thread.tubes.get(pipe) if thread else None

    def equal(self, pipe: str) -> Collection[bytes]:
        """The messages of a tube, those handed out included. Finding one in it takes as long however many there are."""
        tube = self.tube(pipe)
        return tube.equal if tube else ()

    def pipes(self) -> Iterator[str]:
        """Pipes of the tubes that are not empty."""
        for thread in self._threads.values():
            yield from (pipe for pipe, tube in thread.tubes.items() if tube.messages)

    def add(self, pipe: str, messages: Sequence[bytes]) -> None:
        key = key_of(pipe)
        thread = self._threads.setdefault(key, Thread())
        if pipe not in thread.tubes:
            thread.tubes[pipe] = Tube(self._first_sequence)
        thread.tubes[pipe].add(messages)
        thread.queued += len(messages)
        if thread.queued == len(messages):
            self._got_work(key, thread)

    def drop_below(self, pipe: str, through: int) -> list[bytes]:
        tube = self.tube(pipe)
        return self._dropped(key_of(pipe), tube.drop_below(through)) if tube else []

    def drop_equal(self, pipe: str, unwanted: set[bytes]) -> list[bytes]:
        self._free_expired()
        tube = self.tube(pipe)
        if tube is None:
            return []
        key = key_of(pipe)
        return self._dropped(key, tube.drop_equal(unwanted, self._threads[key].token))

    def next_ready(self, served: Served, bound: str | None) -> str | None:
        """`bound` if it has messages, else the thread of these handlers that waited longest for its turn, else None."""
        self._free_expired()
        thread = self._threads.get(bound) if bound else None
        if thread and thread.queued:
            return bound
        return self._ready.next(served)

    def claim(self, key: str) -> int:
        self._free_expired()
        thread = self._threads.setdefault(key, Thread())
        if thread.token:
            return 0
        self._ready.discard(key)
        self._pause_ends.pop(key, None)
        self._last_token += 1
        thread.token = self._last_token
        return thread.token

    def claimed(self, key: str) -> bool:
        self._free_expired()
        thread = self._threads.get(key)
        return thread is not None and thread.token > 0

    def unclaim(self, key: str, token: int, pause_s: float) -> bool:
        if not self._holds(key, token):
            return False
        if pause_s > 0:
            self._pause_ends[key] = self._clock() + pause_s
        self._free(key)
        return True

    def lease(self, key: str, token: int, seconds: float | None) -> bool:
        """Let the claim end so many seconds from now (None: as it is). Returns whether the token is its current one."""
        held = self._holds(key, token)
        if held and seconds is not None:
            self._lease_ends[key] = self._clock() + seconds
        return held

    def lease_left_s(self, key: str, token: int) -> float | None:
        """How long the claim still lives; None: `token` is not the current claim on `key`."""
        return self._lease_ends.get(key, inf) - self._clock() if self._holds(key, token) else None

    def next_end_s(self) -> float | None:
        """Seconds until the first lease or pause ends, None where there is none."""
        first = min((*self._lease_ends.values(), *self._pause_ends.values()), default=None)
        return None if first is None else first - self._clock()

    def take(self, pipes: Sequence[str], limit: int, token: int, starvation_limit: int | None) -> Batch:
        """From the first of these tubes of a thread that has messages, each priority in its turn."""
        thread = self._threads[key_of(pipes[0])]
        for pipe in in_turn(pipes, thread.batches, starvation_limit):
            tube = thread.tubes.get(pipe)
            if tube and tube.messages:
                batch = tube.take(limit, token)
                if batch.count:
                    batch.pipe = pipe
                    thread.batches += 1
                return batch
        return EMPTY

    def others_ready(self, served: Served) -> bool:
        """Whether a thread of these handlers is ready. It keeps its turn."""
        self._free_expired()
        return self._ready.any(served)

    def check(self, key: str, token: int) -> None:
        """Raise `FencedError` unless `token` is the current claim on `key`."""
        if not self._holds(key, token):
            raise FencedError(f"token {token} is not the current claim on {key}")

    def _holds(self, key: str, token: int) -> bool:
        self._free_expired()
        thread = self._threads.get(key)
        return thread is not None and thread.token == token > 0

    def _got_work(self, key: str, thread: Thread) -> None:
        if not thread.token and key not in self._pause_ends:
            self._ready.add(key)
        self._on_work()

    def _dropped(self, key: str, dropped: list[bytes]) -> list[bytes]:
        thread = self._threads[key]
        thread.queued -= len(dropped)
        if not thread.queued and not thread.token:
            self._forget(key, thread)
        return dropped

    def _free_expired(self) -> None:
        if not self._lease_ends and not self._pause_ends:
            return
        now = self._clock()
        for key in [key for key, end in self._lease_ends.items() if end <= now]:
            thread = self._threads[key]
            for tube in thread.tubes.values():
                tube.fail(thread.token, self._now_us(), ending=Ending())  # its holder is as good as dead
            self._free(key)
        for key in [key for key, end in self._pause_ends.items() if end <= now]:
            del self._pause_ends[key]
            paused = self._threads.get(key)
            if paused and paused.queued:
                self._got_work(key, paused)

    def _free(self, key: str) -> None:
        self._lease_ends.pop(key, None)
        thread = self._threads[key]
        thread.token = 0
        if thread.queued:
            self._got_work(key, thread)
        else:
            self._forget(key, thread)

    def _forget(self, key: str, thread: Thread) -> None:
        """Keep nothing of a drained, unclaimed thread but a bound on the sequence numbers it used."""
        used = [tube.next_sequence for tube in thread.tubes.values()]
        self._first_sequence = max([self._first_sequence, *used])
        self._ready.discard(key)
        del self._threads[key]
