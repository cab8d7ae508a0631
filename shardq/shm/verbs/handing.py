"""The steps of a worker on its thread, of which `Delivering` makes verbs: bind, hand out, acknowledge, take back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from shardq.model import EMPTY, AllTerms, Batch, Hand, Reason, Terms, in_turn, split_key
from shardq.shm import words as at
from shardq.shm.core import Core
from shardq.shm.journal import Journal
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.delivery import Delivery
from shardq.shm.tubes.directory import NOT_FOUND, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.verbs.equal_messages import EqualMessages
from shardq.shm.verbs.outputs import NOTHING, AskedOutputs, Outputs

_Result = TypeVar("_Result")

_NONE: list[tuple[int, int]] = []


class Handing:
    """All methods want the guard held."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        directory: Directory,
        fifos: Fifos,
        delivery: Delivery,
        claims: Claims,
        equals: EqualMessages,
        outputs: Outputs,
        sleepers: Sleepers,
        core: Core,
    ) -> None:
        self._words = segment.words
        self._layout = segment.layout
        self._journal = journal
        self._directory = directory
        self._fifos = fifos
        self._delivery = delivery
        self._claims = claims
        self._equals = equals
        self._outputs = outputs
        self._sleepers = sleepers
        self._core = core

    def claim(self, thread: int) -> int:
        """Bind the thread to this process. Returns the fencing token, 0 where a living process is bound."""
        self._journal.declare(thread)
        token = self._claims.claim(thread)
        self._journal.clear()
        return token

    def release(self, thread: int, pause_s: float) -> None:
        """End the binding; the thread rests for `pause_s`."""
        self._journal.declare(thread)
        self._claims.release(thread, pause_s)
        self._journal.clear()
        self._claims.note_end(thread)

    def take_by(self, key: str, thread: int, terms: AllTerms) -> Batch:
        """As `take`, by the terms of the thread's handler; nothing where there are none."""
        its = terms.get(split_key(key)[0])
        return EMPTY if its is None else self.take(key, thread, its)

    def take(self, key: str, thread: int, terms: Terms) -> Batch:
        """Hand out messages of the thread that this process is bound to: see `Delivering.take`."""
        if self._words[at.PAUSED] and self._claims.is_paused(thread):
            return EMPTY
        self._core.learn_thread(thread, key)
        turn, priorities = self._layout.thread_word(thread) + at.THREAD_TURN, terms.priorities
        if terms.starvation_limit is not None:
            priorities = in_turn(priorities, self._words[turn], terms.starvation_limit)
        there = self._directory.priorities(thread)
        for priority in priorities:
            for tube in there.get(priority, ()):
                batch = self._fifos.find(tube, self._delivery.limit(tube, terms.limit))
                if batch.count:
                    self._words[turn] += 1
                    self._delivery.hand_out(thread, tube, batch.through)
                    # In this very section: a worker that is cut off later must not have a batch without a deadline.
                    deadline_ns = time.monotonic_ns() + int(terms.timeout_s * 1e9) if terms.timeout_s else 0
                    self._claims.note_batch(thread, batch.count, deadline_ns)
                    batch.pipe, batch.failed = f"{key}/{priority}", self._delivery.of(tube)
                    batch.taken_us = time.time_ns() // 1000
                    oldest_us = batch.unread[0][0].accepted_us if batch.unread else self._fifos.oldest_us(tube)
                    self._claims.tallies.handed_out(thread, batch.taken_us - oldest_us)
                    if self._words[self._layout.tube_word(tube) + at.TUBE_FRONT]:
                        batch.front = True
                    else:
                        self._core.learn(batch.pipe, thread, tube)
                    return batch
        return EMPTY

    def pop(self, hand: Hand, through: int, outputs: AskedOutputs | None, most: int) -> int:
        """Acknowledge messages below `through` where the batch in hand is from, with these outputs. Returns the thread;
        NO_ROOM or AGAIN, where nothing changed: see `Outputs.write`.
        """
        thread, tube = self._claims.handed_from(hand)
        if tube == NOT_FOUND:
            return thread
        self._journal.declare(thread)
        written, stores = NOTHING, _NONE
        if outputs and self._fifos.head(tube) < through and not self._fifos.is_empty(tube):
            found = self._outputs.write(thread, outputs, most)
            if isinstance(found, int):
                self._journal.clear()
                return found
            written, stores = found, found.stores
        done = self._fifos.pop(tube, through, stores)
        self._claims.note_progress(thread)
        if stores:
            self._outputs.arrived(written)
        if self._words[at.EQUALITY_STATE]:
            self._equals.forget()
        self._journal.clear()
        if self._delivery.in_hand(tube):
            self._claims.tallies.done(thread, done)
        else:
            self._claims.note_end(thread, done)
        self._sleepers.messages_left()
        return thread

    def taken_back(self, hand: Hand, end: Callable[[int], _Result], reason: Reason | None) -> _Result | None:
        """What `end` returns for the tube whose batch it takes back. None: no batch is in hand."""
        thread, tube = self._claims.handed_from(hand)
        if tube == NOT_FOUND or not self._delivery.in_hand(tube):
            return None
        self._journal.declare(thread)
        result = end(tube)
        self._journal.clear()
        if reason:
            self._claims.tallies.failed(thread, reason)
        self._claims.note_end(thread)
        return result
