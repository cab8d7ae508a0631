"""The threads of the in-memory storage, without waiting, locking or asyncio.

Tubes live under their thread (`module/Handler/thread`), because a claim covers all priorities of a thread. Messages
that are put in front of a tube are kept in a second `Fifo` of the same pipe, since the numbers of a tube only grow. A
thread with messages and without a claim also stands in the ready order, in which `wait` offers it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from math import inf

from shardq.drivers.memory.fifo import Fifo
from shardq.drivers.memory.pauses import Pauses
from shardq.drivers.memory.ready import Ready
from shardq.errors import FencedError
from shardq.model import EMPTY, Batch, Ending, Hand, Terms, in_turn, key_of, split_key
from shardq.protocols import Served


class Thread:
    """The tubes of one thread by pipe, and what is in front of each; how many messages they hold, the token under which
    the thread is claimed (0: free), and how many batches were taken from it.
    """

    __slots__ = ("batches", "fronts", "queued", "token", "tubes")

    def __init__(self) -> None:
        self.tubes: dict[str, Fifo] = {}
        self.fronts: dict[str, Fifo] = {}
        self.queued = 0
        self.token = 0
        self.batches = 0

    def of(self, pipe: str) -> list[Fifo]:
        """The tubes of a pipe, as far as there are any: what is in front first."""
        return [its[pipe] for its in (self.fronts, self.tubes) if pipe in its]

    @property
    def all(self) -> list[Fifo]:
        return [*self.fronts.values(), *self.tubes.values()]


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
        self._ready = Ready()
        self.pauses = Pauses(now_us)
        self._lease_ends: dict[str, float] = {}
        self._pause_ends: dict[str, float] = {}
        self._none_ends_before = inf
        """None of these ends before that: until then, nothing looks at each of them."""
        # Where the numbers of a new tube start: above those of every tube that was forgotten.
        self._first_sequence = 1
        self._last_token = 0

    def tubes(self, pipe: str) -> list[Fifo]:
        """The tubes of a pipe, as far as there are any: what is in front first."""
        thread = self._threads.get(key_of(pipe))
        return thread.of(pipe) if thread else []

    def handed_from(self, hand: Hand) -> Fifo | None:
        """The tube that the batch in the hand is from."""
        thread, batch = self._threads[hand.key], hand.batch
        return (thread.fronts if batch.front else thread.tubes).get(batch.pipe)

    def equal(self, pipe: str) -> list[Collection[bytes]]:
        """The messages of each tube of a pipe, those handed out included. Finding one in it takes as long however many
        there are.
        """
        return [tube.equal for tube in self.tubes(pipe)]

    def pipes(self) -> Iterator[str]:
        """Pipes of the tubes that are not empty."""
        for thread in self._threads.values():
            for pipe in dict.fromkeys((*thread.tubes, *thread.fronts)):
                if any(tube.messages for tube in thread.of(pipe)):
                    yield pipe

    def add(self, pipe: str, messages: Sequence[bytes], *, front: bool = False) -> None:
        key = key_of(pipe)
        thread = self._threads.setdefault(key, Thread())
        tubes = thread.fronts if front else thread.tubes
        if pipe not in tubes:
            tubes[pipe] = Fifo(self._first_sequence)
        tubes[pipe].add(messages)
        thread.queued += len(messages)
        if thread.queued == len(messages):
            self._got_work(key, thread)

    def stands_below(self, hand: Hand, through: int) -> bool:
        """Whether there are messages below that number where the batch in the hand is from."""
        tube = self.handed_from(hand)
        return tube is not None and bool(tube.messages) and tube.head_sequence < through

    def drop_below(self, hand: Hand, through: int) -> list[bytes]:
        tube = self.handed_from(hand)
        return self._dropped(hand.key, tube.drop_below(through)) if tube else []

    def drop_equal(self, pipe: str, unwanted: set[bytes]) -> list[bytes]:
        self._free_expired()
        key, dropped = key_of(pipe), list[bytes]()
        for tube in self.tubes(pipe):
            dropped += tube.drop_equal(unwanted, self._threads[key].token)
        return self._dropped(key, dropped) if dropped else []

    def next_ready(self, served: Served, bound: str | None) -> str | None:
        """`bound` if it has messages, else the thread of these handlers that waited longest for its turn, else None."""
        self._free_expired()
        thread = self._threads.get(bound) if bound else None
        if bound and thread and thread.queued and not self._is_paused(bound):
            return bound
        return self._ready.next(served, self.pauses.handlers)

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

    def known(self, key: str) -> tuple[Thread | None, float]:
        """The thread, where there is one, and for how many seconds it is still not offered."""
        self._free_expired()
        return self._threads.get(key), max(0.0, self._pause_ends.get(key, 0.0) - self._clock())

    def claimed(self, key: str) -> bool:
        self._free_expired()
        thread = self._threads.get(key)
        return thread is not None and thread.token > 0

    def unclaim(self, key: str, token: int, pause_s: float) -> bool:
        if not self._holds(key, token):
            return False
        if pause_s > 0:
            self._note_end(self._pause_ends, key, pause_s)
        self._free(key)
        return True

    def lease(self, key: str, token: int, seconds: float | None) -> bool:
        """Let the claim end so many seconds from now (None: as it is). Returns whether the token is its current one."""
        held = self._holds(key, token)
        if held and seconds is not None:
            self._note_end(self._lease_ends, key, seconds)
        return held

    def lease_left_s(self, key: str, token: int) -> float | None:
        """How long the claim still lives; None: `token` is not the current claim on `key`."""
        return self._lease_ends.get(key, inf) - self._clock() if self._holds(key, token) else None

    def next_end_s(self) -> float | None:
        """Seconds until the first lease or pause ends, None where there is none."""
        first = min((*self._lease_ends.values(), *self._pause_ends.values()), default=None)
        return None if first is None else first - self._clock()

    def take(self, key: str, token: int, terms: Terms) -> Batch:
        """From the first tube of the thread that has messages, each priority in its turn."""
        if self._is_paused(key):
            return EMPTY
        thread = self._threads[key]
        for priority in in_turn(terms.priorities, thread.batches, terms.starvation_limit):
            pipe = f"{key}/{priority}"
            for tube in thread.of(pipe):
                batch = tube.take(terms.limit, token)
                if batch.count:
                    batch.pipe, batch.front = pipe, tube is thread.fronts.get(pipe)
                    batch.taken_us = self._now_us()
                    thread.batches += 1
                    return batch
        return EMPTY

    def others_ready(self, served: Served) -> bool:
        """Whether a thread of these handlers is ready. It keeps its turn."""
        self._free_expired()
        return self._ready.any(served, self.pauses.handlers)

    def check(self, key: str, token: int) -> None:
        """Raise `FencedError` unless `token` is the current claim on `key`."""
        if not self._holds(key, token):
            raise FencedError(
                f"token {token} is not the current claim on {key}: another worker may have the thread, so stop working "
                "on it"
            )

    def _holds(self, key: str, token: int) -> bool:
        self._free_expired()
        thread = self._threads.get(key)
        return thread is not None and thread.token == token > 0

    def _got_work(self, key: str, thread: Thread) -> None:
        if not thread.token and key not in self._pause_ends:
            self._ready.add(key)
        if not self._is_paused(key):
            self._on_work()

    def _dropped(self, key: str, dropped: list[bytes]) -> list[bytes]:
        thread = self._threads[key]
        thread.queued -= len(dropped)
        if not thread.queued and not thread.token:
            self._forget(key, thread)
        return dropped

    def _is_paused(self, key: str) -> bool:
        return bool(self.pauses.handlers) and split_key(key)[0] in self.pauses.handlers

    def _free_expired(self) -> None:
        if self.pauses.handlers and self.pauses.end_over():
            self._on_work()
        if self._none_ends_before == inf or (now := self._clock()) < self._none_ends_before:
            return
        for key in [key for key, end in self._lease_ends.items() if end <= now]:
            thread = self._threads[key]
            for tube in thread.all:
                tube.fail(thread.token, self._now_us(), Ending())  # its holder is as good as dead
            self._free(key)
        for key in [key for key, end in self._pause_ends.items() if end <= now]:
            del self._pause_ends[key]
            paused = self._threads.get(key)
            if paused and paused.queued:
                self._got_work(key, paused)
        self._none_ends_before = min((*self._lease_ends.values(), *self._pause_ends.values()), default=inf)

    def _note_end(self, ends: dict[str, float], key: str, seconds: float) -> None:
        end = ends[key] = self._clock() + seconds
        self._none_ends_before = min(self._none_ends_before, end)

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
        used = [tube.next_sequence for tube in thread.all]
        self._first_sequence = max([self._first_sequence, *used])
        self._ready.discard(key)
        del self._threads[key]
