"""The content of a segment goes to another storage: see `shardq.protocols.moving`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from shardq.model import Batch, Figures, Place, TubeLeft, TubeState, Waiting, is_inbox
from shardq.pages import Page
from shardq.shm import words as at
from shardq.shm.deferred.due_heap import DueHeap
from shardq.shm.deferred.records import PendingRecords
from shardq.shm.gate import Gate
from shardq.shm.journal import Journal
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.delivery import Delivery
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.graves import Graves
from shardq.shm.verbs.equal_messages import EqualMessages
from shardq.shm.verbs.recovery import Recovery
from shardq.shm.verbs.transfer import Transfer

#: Of how many threads, or records that wait, something is read or dropped in one section.
_AT_ONCE = 32
#: No move has this number: what arrived is being dropped.
_DROPPED = 0
#: How many threads in hand are named at most.
_NAMED = 10


class Leaving:
    """Verbs of a move on its source, each in one guarded section or few."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        directory: Directory,
        fifos: Fifos,
        delivery: Delivery,
        claims: Claims,
        graves: Graves,
        records: PendingRecords,
        transfer: Transfer,
        equals: EqualMessages,
        recovery: Recovery,
        sleepers: Sleepers,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._journal = journal
        self._directory = directory
        self._fifos = fifos
        self._delivery = delivery
        self._claims = claims
        self._graves = graves
        self._records = records
        self._transfer = transfer
        self._equals = equals
        self._recovery = recovery
        self._sleepers = sleepers
        self._section = section
        self._gate = gate

    def leave(self, move: int, to: str) -> None:
        """See `Movable.leave`. Raises `MoveRefused`."""
        with self._section:
            self._gate.leave(move, to)
            self._sleepers.wake_all()

    def stay(self, move: int) -> bool:
        """See `Movable.stay`."""
        with self._section:
            if self._gate.pass_through(at.LEAVING, move, at.OPEN):
                self._sleepers.wake_all()
            return self._words[at.CLOSED] != at.LEFT

    def in_hand(self) -> list[str]:
        """Some of the threads that living processes are bound to. Those of dead ones are freed first."""
        with self._section:
            self._recovery.adopt_orphans()
            bound = (thread for thread in self._directory.living() if self._claims.owner(thread))
            return [self._directory.name(thread) for thread, _ in zip(bound, range(_NAMED), strict=False)]

    def tubes(self, after: int | None = None) -> Page[TubeLeft]:
        """The tubes that are not empty, what is in front of each first, of the threads behind `after`."""
        page, count = Page[TubeLeft](), 0
        with self._section:
            for thread in self._directory.living(after):
                if count == _AT_ONCE:
                    return page
                for pipe, tubes in self._directory.pipes_of(thread):
                    page += [self._left(thread, pipe, tube) for tube in tubes if not self._fifos.is_empty(tube)]
                page.after, count = thread, count + 1
        page.after = None
        return page

    def read(self, pipe: str, limit: int, after: int | None, *, front: bool) -> Batch:
        """Messages of a tube, or of what is in front of one, behind that of a number."""
        with self._section:
            _, tube = self._directory.tube(pipe, front=front)
            return self._fifos.read(tube, limit) if after is None else self._fifos.read_on(tube, limit, after)

    def waiting(self, after: Sequence[int] | None = None) -> Page[Waiting]:
        """The messages that wait for their time, the first due first. `after`: addresses of the records to read."""
        left = self._in_order() if after is None else after
        chosen, page = left[:_AT_ONCE], Page[Waiting]()
        with self._section:
            for address in chosen:
                found = self._records.read(address)
                messages = [message for _, message in self._records.living_messages(found)]
                page.append(Waiting(found.pipe, messages, found.scheduled_us, found.schedule))
        page.after = left[_AT_ONCE:] or None
        return page

    def figures(self) -> Figures:
        """See `Movable.figures`."""
        with self._section:
            words = self._words
            return Figures(words[at.TOKEN], words[at.UNBURIED], words[at.EVICTED])

    def hand_over(self, move: int) -> bool:
        """See `Movable.hand_over`. False: another move has to do with the segment, or none."""
        with self._section:
            self._gate.pass_through(at.LEAVING, move, at.LEFT)
            return bool(self._words[at.CLOSED] == at.LEFT and self._words[at.LEAVING_BY] == move)

    def take_back(self, move: int) -> None:
        """See `Movable.take_back`."""
        with self._section:
            if self._gate.pass_through(at.LEFT, move, at.OPEN):
                self._sleepers.wake_all()

    def forget(self, move: int) -> None:
        """Drop all messages, where this move handed them over."""
        while self._forget_some(at.LEFT, at.LEAVING_BY, move):
            continue
        with self._section:
            if self._words[at.CLOSED] == at.LEFT and self._words[at.LEAVING_BY] == move:
                self._reset()

    def clear(self, move: int) -> None:
        """Drop all messages that came by this move, and open the segment. From the first step on the segment is none
        that this move can open, with a part of them.
        """
        with self._section:
            if self._words[at.CLOSED] == at.ARRIVING and self._words[at.ARRIVING_BY] == move:
                self._words[at.ARRIVING_BY] = _DROPPED
        while self._forget_some(at.ARRIVING, at.ARRIVING_BY, _DROPPED):
            continue
        with self._section:
            if self._words[at.CLOSED] == at.ARRIVING and self._words[at.ARRIVING_BY] == _DROPPED:
                self._reset()
                self._gate.pass_through(at.ARRIVING, _DROPPED, at.OPEN)
                self._sleepers.wake_all()

    def _reset(self) -> None:
        """The storage that has the messages goes on counting, and has the pauses."""
        self._journal.declare_pending()
        self._journal.commit((at.BURIED, 0), (at.UNBURIED, 0), (at.EVICTED, 0), (at.PAUSED, 0))
        self._journal.clear_pending()

    def _left(self, thread: int, pipe: str, tube: int) -> TubeLeft:
        words, word = self._words, self._layout.tube_word(tube)
        isolated = self._fifos.length_below(tube, words[word + at.TUBE_LIMIT_THROUGH])
        rests_s = self._claims.rests_s(thread)
        state = TubeState(
            self._delivery.of(tube),
            words[word + at.TUBE_LIMIT] if isolated else 0,
            isolated,
            time.time_ns() // 1000 + round(rests_s * 1e6) if rests_s else 0,
        )
        place = Place.FRONT if self._directory.front(tube) else Place.TUBE
        return TubeLeft(pipe, place, self._fifos.length(tube), state)

    def _in_order(self) -> list[int]:
        """Addresses of all records that wait, the first due first."""
        heaps = self._records.heaps
        with self._section:
            addresses = [*heaps[at.DEFERRED_HEAP].copied(), *heaps[at.RECURRENT_HEAP].copied()]
        return sorted(addresses, key=heaps[at.DEFERRED_HEAP].key)  # nothing changes them, so it wants no guard

    def _forget_some(self, standing: int, by: int, move: int) -> bool:
        """Drop the messages of some threads, graves and records, while the segment stands like this by this move.
        Returns whether there are more.
        """
        with self._section:
            if self._words[at.CLOSED] != standing or self._words[by] != move:
                return False
            threads = [thread for thread, _ in zip(self._directory.living(), range(_AT_ONCE), strict=False)]
            graves = self._directory.graves()[:_AT_ONCE]
            for thread in threads:
                self._drop(thread, (at.HANDLED,))
            for thread in graves:
                self._drop(thread, self._graves.counters(thread))
            waits = sum(map(self._drop_waiting, self._records.heaps))
            if waits:
                self._transfer.note_due()
            if self._words[at.EQUALITY_STATE]:
                self._equals.forget()
            self._sleepers.messages_left()
            return bool(threads or graves or waits)

    def _drop_waiting(self, heap: DueHeap) -> int:
        """Drop some records of a heap. Returns how many there were."""
        for dropped in range(_AT_ONCE):
            if not heap.count:
                return dropped
            found = self._records.read(heap.first())
            messages = self._records.living_messages(found)
            for number, _ in messages:
                self._transfer.cancel(found, number)
            if not messages:  # a process died after it had taken out the last one
                self._transfer.drop_if_empty(found)
        return _AT_ONCE

    def _drop(self, thread: int, counters: Sequence[int]) -> None:
        self._journal.declare(thread)
        dropped = 0
        for tube in self._directory.tubes_of(thread):
            dropped += self._fifos.pop(tube, self._fifos.next_sequence(tube), counters=counters)
        self._claims.refresh(thread)
        self._journal.clear()
        if is_inbox(self._directory.name(thread)):
            # Only what is counted by handler tells replies from requests.
            self._claims.tallies.cancelled(thread, dropped)
