"""The content of another storage comes into a segment: see `shardq.protocols.moving`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from shardq.model import KEPT_PIPE, Chunk, Ending, Figures, Place, TubeState
from shardq.shm import words as at
from shardq.shm.counters import nothing_stored
from shardq.shm.gate import Gate
from shardq.shm.journal import Journal
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import NO_ROOM, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.fifo_writer import FifoWriter
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.transfer import Transfer

#: What arrives may use as much of the reserve as handlers could: it was accepted before.
_SHARE = at.HAND_OVER
#: Graves take small extents, as when a letter is buried.
_GRAVE_CLASS = 0
#: Marks what stands for a process that died in the storage that the content comes from.
_ELSEWHERE = 1 << 63


class Arriving:
    """Verbs of a move on its target, each in one guarded section."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        directory: Directory,
        fifos: Fifos,
        writer: FifoWriter,
        claims: Claims,
        transfer: Transfer,
        appending: Appending,
        exit_log: ExitLog,
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
        self._writer = writer
        self._claims = claims
        self._transfer = transfer
        self._appending = appending
        self._exit_log = exit_log
        self._sleepers = sleepers
        self._section = section
        self._gate = gate

    def arrive(self, move: int, come_from: str) -> bool:
        """See `Movable.arrive`. False: it is refused."""
        with self._section:
            return self._gate.arrive(move, come_from, empty=nothing_stored(self._segment))

    def stored(self) -> int:
        """How many messages of the move are stored."""
        with self._section:
            return int(self._words[at.ARRIVED])

    def store(self, move: int, chunk: Chunk) -> bool | None:
        """Store a chunk, unless its first message is there. False: there is no room. None: this move has nothing to do
        with the segment. Raises `DirectoryFull` and `MessageTooLarge`.
        """
        asked = None
        if chunk.place is Place.WAITING:
            [asked] = self._appending.asked([(chunk.pipe, chunk.messages)], distinct=False)
        with self._section:
            if not self._arrives(move):
                return None
            if self._words[at.ARRIVED] > chunk.number:
                return True
            arrived = self._journal.moved(at.ARRIVED, len(chunk.messages))
            if asked:
                due, now_us, also = max(1, chunk.due_us), _now_us(), [arrived]
                return self._transfer.add([asked], chunk.schedule, due, now_us, share=_SHARE, followers=also)
            if chunk.place is Place.GRAVE:
                return self._bury(chunk.grave, chunk.messages, arrived)
            return self._append(chunk, arrived)

    def settle(self, move: int, number: int, figures: Figures) -> None:
        """See `Movable.settle`."""
        with self._section:
            words, moved = self._words, self._journal.moved
            if not self._arrives(move) or words[at.ARRIVED] > number:
                return
            words[at.TOKEN] = max(words[at.TOKEN], figures.token)
            gone = [moved(counter, figures.buried) for counter in (at.BURIED, at.UNBURIED)]
            # They stand in the journal as one: should this process die, the next one that enters looks for an intent.
            self._journal.declare_pending()
            left = self._accepted_and_left(figures.buried)
            self._journal.commit(*gone, *left, moved(at.EVICTED, figures.evicted), moved(at.ARRIVED, 1))
            self._journal.clear_pending()

    def open(self, move: int) -> bool:
        """See `Movable.open`. False: the content did not come by this move."""
        with self._section:
            if self._gate.pass_through(at.ARRIVING, move, at.OPEN):
                self._transfer.note_due()
                self._sleepers.wake_all()
            return bool(self._words[at.ARRIVING_BY] == move)

    def _arrives(self, move: int) -> bool:
        return bool(self._words[at.CLOSED] == at.ARRIVING and self._words[at.ARRIVING_BY] == move)

    def _append(self, chunk: Chunk, arrived: tuple[int, int]) -> bool:
        thread, tube = self._directory.add_tube(chunk.pipe, front=chunk.place is Place.FRONT, share=_SHARE)
        if tube == NO_ROOM:
            self._journal.clear()
            return False
        self._journal.declare(thread)
        known = list(self._known(thread, tube, chunk.state)) if chunk.state else []
        messages = chunk.messages
        stores = self._writer.write_keeping_room([(tube, messages)], _now_us(), share=_SHARE)
        if stores:
            self._journal.commit(*stores, *known, self._journal.moved(at.ACCEPTED, len(messages)), arrived)
            self._claims.work_arrived(thread)
        self._journal.clear()
        if stores:
            self._claims.tallies.accepted_in(thread, len(messages))
        return bool(stores)

    def _known(self, thread: int, tube: int, state: TubeState) -> Iterator[tuple[int, int]]:
        """The stores that write down what is known of the messages which are about to be the first of an empty tube."""
        word, head = self._layout.tube_word(tube), self._fifos.next_sequence(tube)
        if failed := state.failed:
            yield word + at.TUBE_FAILED_SEQUENCE, head
            yield word + at.TUBE_ATTEMPTS, failed.attempts
            yield word + at.TUBE_FIRST_FAILED_US, failed.first_us
            yield word + at.TUBE_LAST_FAILED_US, failed.last_us
            yield word + at.TUBE_FAILED_BY, 0 if failed.ending is None else self._killer(failed.ending)
        if state.isolated:
            yield word + at.TUBE_LIMIT, state.at_most
            yield word + at.TUBE_LIMIT_THROUGH, head + state.isolated
        rests_us = state.rests_until_us - _now_us()
        if rests_us > 0:
            until_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + rests_us * 1000
            yield self._layout.thread_word(thread) + at.THREAD_NOT_BEFORE_NS, until_ns

    def _killer(self, ending: Ending) -> int:
        """What stands for a process that ended like this in the other storage."""
        killer: int = _ELSEWHERE | self._words[at.DEATHS_CURSOR] << 16
        self._exit_log.note(killer, ending)
        return killer

    def _bury(self, grave: str, letters: Sequence[bytes], arrived: tuple[int, int]) -> bool:
        kind = at.RESULTS if grave == KEPT_PIPE else at.LETTERS
        thread, tube = self._directory.add_tube(grave, share=at.ALL, apart=kind)
        if tube == NO_ROOM:
            self._journal.clear()
            return False
        self._journal.declare(thread)
        tail = self._writer.write(tube, letters, _now_us(), share=at.ALL, growth=_GRAVE_CLASS)
        if tail:
            place = self._layout.tube_word(tube) + at.TUBE_TAIL
            count = 0 if grave == KEPT_PIPE else len(letters)
            buried = self._journal.moved(at.BURIED, count)
            self._journal.commit((place, tail), buried, *self._accepted_and_left(count), arrived)
            self._claims.refresh(thread)
        self._journal.clear()
        if not tail:
            self._writer.check_size(letters)
        return bool(tail)

    def _accepted_and_left(self, count: int) -> list[tuple[int, int]]:
        """So many requests were accepted once, and have left their tubes."""
        return [self._journal.moved(counter, count) for counter in (at.ACCEPTED, at.HANDLED)]


def _now_us() -> int:
    return time.time_ns() // 1000
