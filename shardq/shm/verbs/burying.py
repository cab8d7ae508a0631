"""Dead letters: each handler's are one tube, in a thread of its own that no worker serves.

A letter is written in the same commit in which its request leaves its tube. A request that is put back comes into its
tube in the commit in which its letter leaves. So a process that is killed anywhere leaves the request in one place,
never in both or in none.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from shardq.model import Hand, Reason
from shardq.pages import PAGE_ITEMS, Page
from shardq.shm import words as at
from shardq.shm.gate import Gate
from shardq.shm.journal import Journal
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import NO_ROOM, NOT_FOUND, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.fifo_writer import FifoWriter
from shardq.shm.tubes.graves import Graves, Place
from shardq.shm.verbs.equal_messages import EqualMessages


class Burial(NamedTuple):
    """What became of a burial."""

    buried: bool
    """False: there was no room."""
    evicted: int
    """Letters that went to make room."""


class Burying:
    """Verbs on dead letters, each in one guarded section. `grave` is the pipe of a handler's dead letters."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        directory: Directory,
        fifos: Fifos,
        writer: FifoWriter,
        claims: Claims,
        graves: Graves,
        equals: EqualMessages,
        sleepers: Sleepers,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._words = segment.words
        self._layout = segment.layout
        self._journal = journal
        self._directory = directory
        self._fifos = fifos
        self._writer = writer
        self._claims = claims
        self._graves = graves
        self._equals = equals
        self._sleepers = sleepers
        self._section = section
        self._gate = gate

    def bury(
        self, hand: Hand, sequence: int, grave: str, letter: bytes, most: int, reason: Reason | None = None
    ) -> Burial:
        """Put a letter in the place of the message at the head of where the batch in hand is from. Where there are more
        than `most` letters then, or no room, the oldest are dropped. Nothing changes where another message is at the
        head. `reason`: why this attempt failed, if it did.
        """
        with self._section:
            before = self._words[at.EVICTED]
            buried = self._bury_head(hand, sequence, grave, letter, most)
            if buried and reason:
                self._claims.tallies.failed(self._claims.held(hand.key, hand.token), reason)
            return Burial(buried, self._words[at.EVICTED] - before)

    def requeue(self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool = False) -> bool | None:
        """Put a message at the end of a tube, or of what is in front of it, in the place of its letter. False: there is
        no room; None: the letter is gone.
        """
        with self._section:
            if not self._gate.takes():
                return False
            grave_thread, grave_tube = self._directory.tube(grave)
            letter = None if grave_tube == NOT_FOUND else self._fifos.place_of(grave_tube, sequence)
            if letter is None:
                return None
            thread, tube = self._directory.add_tube(pipe, front=front)
            if tube == NO_ROOM:
                self._journal.clear()
                return False
            self._journal.keep(grave_thread)
            self._journal.declare(thread)
            # No room is kept for the burial of a letter, so room is kept for its message as for a new one.
            stores = self._writer.write_keeping_room([(tube, [message])], _now_us(), share=at.GENERAL)
            if stores:
                moved = self._journal.moved
                self._journal.commit(*stores, moved(at.ACCEPTED, 1), letter, moved(at.UNBURIED, 1))
                self._fifos.settle(grave_tube)
                self._claims.refresh(grave_thread)
                self._claims.work_arrived(thread)
                self._sleepers.ring_waiting(self._layout.room_map)
            self._journal.clear()
            if stores:
                self._claims.tallies.accepted_in(thread, 1)
            return bool(stores)

    def drop(self, grave: str, sequences: Sequence[int]) -> int:
        """Forget letters, or results that are kept. Returns how many there were."""
        with self._section:
            grave_thread, grave_tube = self._directory.tube(grave)
            if grave_tube == NOT_FOUND or not self._gate.takes():
                return 0
            self._journal.declare(grave_thread)
            counters = self._graves.counters(grave_thread)
            dropped = sum(self._fifos.cancel_one(grave_tube, sequence, counters) for sequence in sequences)
            self._claims.refresh(grave_thread)
            self._journal.clear()
            self._sleepers.ring_waiting(self._layout.room_map)
            return dropped

    def make_room(self, grave: str, letters: Sequence[bytes], most: int, before_us: int) -> bool:
        """Drop what came before that time, and the oldest where there were more than `most` with these letters, or too
        many bytes. Returns whether there is more to drop. Nothing goes from a segment whose content moves.
        """
        with self._section:
            thread, tube = self._directory.tube(grave)
            if tube == NOT_FOUND or not self._gate.may_go:
                return False
            self._journal.declare(thread)
            more = self._graves.drop_older((thread, tube), before_us)
            if not more:
                self._graves.bound((thread, tube), letters, most)
            self._claims.refresh(thread)
            self._journal.clear()
            self._sleepers.ring_waiting(self._layout.room_map)
            return more

    def graves(self, after: int | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        """Pipes of dead letters that are not empty, of the threads behind `after`."""
        with self._section:
            threads = [
                thread for thread in self._directory.graves(after) if self._directory.apart(thread) != at.RESULTS
            ]
            chosen = threads[: max(1, limit)]
            pipes = (pipe for thread in chosen for pipe, _ in self._directory.pipes_of(thread))
            return Page(pipes, chosen[-1] if len(threads) > len(chosen) else None)

    def _bury_head(self, hand: Hand, sequence: int, grave: str, letter: bytes, most: int) -> bool:
        thread, tube = self._claims.handed_from(hand)
        if tube == NOT_FOUND or self._fifos.head(tube) != sequence or self._fifos.is_empty(tube):
            return True
        self._journal.keep(thread)  # which also keeps it from being given up for the grave's sake
        grave_thread, grave_tube = self._graves.place(grave, at.LETTERS)
        if grave_tube == NO_ROOM:
            self._journal.clear()
            return False
        self._journal.declare(grave_thread)
        buried = self._bury(tube, sequence, (grave_thread, grave_tube), letter, most)
        self._claims.refresh(grave_thread)
        self._equals.forget()
        self._journal.clear()
        if buried:
            self._claims.tallies.buried(thread)
            self._claims.note_end(thread)
            self._sleepers.messages_left()
        return buried

    def _bury(self, tube: int, sequence: int, grave: Place, letter: bytes, most: int) -> bool:
        if not self._graves.could_hold(grave, [letter]):
            return False
        self._graves.bound(grave, [letter], most)
        tail = self._graves.write(grave, [letter])
        if not tail:
            return False
        head = self._layout.tube_word(tube) + at.TUBE_HEAD_SEQUENCE
        place, moved = self._layout.tube_word(grave[1]) + at.TUBE_TAIL, self._journal.moved
        self._journal.commit((place, tail), moved(at.BURIED, 1), (head, sequence + 1), moved(at.HANDLED, 1))
        self._fifos.settle(tube)
        return True


def _now_us() -> int:
    return time.time_ns() // 1000
