"""The frequent case of some verbs in C, where the extension is there: see `shardq._core`.

Verbs ask it first, and go on in Python where it leaves them the work. By their names it finds those threads and tubes
alone that Python has found, or that it has handed out itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from shardq._core.choice import PYTHON, C, extension
from shardq.errors import SegmentBusy
from shardq.model import EMPTY, Batch, Hand, Part, split_key
from shardq.shm import words as at
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.death_watch import DeathWatch
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.processes.guard import Guard
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.directory import NOT_FOUND
from shardq.shm.tubes.handler_table import Served
from shardq.shm.tubes.parts import TubeParts
from shardq.shm.verbs.waiting import Waiting

if TYPE_CHECKING:
    from shardq._core.engine import Core as Engine
    from shardq._core.engine import Turn, TurnWithCalls


class Core:
    """What is done in C for one store. Without an engine, it is nothing, and Python does all."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        guard: Guard,
        tubes: TubeParts,
        extents: Extents,
        waiting: Waiting,
        watch: DeathWatch,
        doorbell: Doorbell,
        section: AbstractContextManager[None],
    ) -> None:
        self._words = segment.words
        self._layout = segment.layout
        self._claims = tubes.claims
        self._doorbell = doorbell
        self._section = section
        self.engine = _engine(segment, slots, guard, tubes, extents, waiting, watch)
        self._aside: Engine | None = None
        if self.engine is not None:
            doorbell.before_close = self.engine.forget_bell
            watch.on_end = self.engine.learn_death

    def append(self, parts: Sequence[Part], share: int) -> bool:
        """Add messages to tubes, all of them. False: this is not the frequent case, and nothing was changed."""
        engine = self.engine
        if engine is None:
            return False
        due = engine.append(parts, share)
        if due is None:
            return False
        if due is False:
            # A process that enters mends what stands: this one, or the next one where this one cannot enter now.
            with suppress(SegmentBusy), self._section:
                pass
            return True
        if due:
            self._ring(due)
        return True

    def called(self, turned: TurnWithCalls) -> Turn:
        """Ring the processes that a turn called, and pass on a call where this process has to."""
        hand, done, lies_down, due, passes_on = turned
        self._ring(due)
        if passes_on:
            # Where it cannot be passed on now, the processes that sleep look for work at their safety net's time.
            with suppress(SegmentBusy), self._section:
                self._claims.pass_on(NOT_FOUND)
        return hand, done, lies_down

    def learn_thread(self, thread: int, key: str) -> None:
        """The thread has this key. Wants the guard held."""
        if self.engine is not None:
            generation = self._words[self._layout.thread_word(thread) + at.THREAD_GENERATION]
            self.engine.learn_thread(thread, generation, key, split_key(key)[0])

    def learn_served(self, names: frozenset[str] | None, served: Served) -> None:
        """These handlers have these numbers, and this process is known to serve them."""
        # Those without a number of their own may get one.
        if self.engine is not None and (names is None or not served.bits & 1 << at.UNNUMBERED):
            self.engine.learn_served(names, served.bits.to_bytes(at.SERVED_BYTES, "little"))

    def learn(self, pipe: str, thread: int, tube: int) -> None:
        """The pipe has this tube. Wants the guard held."""
        if self.engine is not None:
            generation = self._words[self._layout.thread_word(thread) + at.THREAD_GENERATION]
            self.engine.learn(pipe, thread, generation, tube)

    def set_aside(self) -> None:
        """In a forked child: the engine is its parent's, and Python does all. `close` lets go of what it has: to close
        a semaphore here could wait for a lock of the C library, which another thread of the parent had.
        """
        self._aside, self.engine = self.engine or self._aside, None

    def close(self) -> None:
        """Let go of the mapping."""
        for engine in (self.engine, self._aside):
            if engine is not None:
                engine.close()

    def _ring(self, due: Sequence[int]) -> None:
        for slot in due:
            if self._doorbell.ring(slot) and (engine := self.engine):
                engine.rang(slot, self._doorbell.way_to(slot))


def engine_name() -> str:
    """What does the frequent case in this process, C or PYTHON. Raises `ConfigurationError`."""
    return PYTHON if _class() is None else C


def _class() -> type[Engine] | None:
    """The extension's class. None: there is none that fits, or none is wanted. Raises `ConfigurationError`."""
    found = extension()
    engine: type[Engine] | None = None if found is None else found.Core
    return engine


def _engine(
    segment: Segment,
    slots: Slots,
    guard: Guard,
    tubes: TubeParts,
    extents: Extents,
    waiting: Waiting,
    watch: DeathWatch,
) -> Engine | None:
    """The engine for this process's part of a segment."""
    chosen = _class()
    if chosen is None:
        return None
    try:
        engine = chosen(
            mapping=segment.bytes,
            layout=segment.layout,
            token=f"/{segment.system_name}",
            segment_file=segment.descriptor,
            lock_file=slots.descriptor,
            slot=slots.mine,
            identity=slots.identity,
            guard=guard,
            threads=guard.threads,
            blocks=tubes.claims.tallies.blocks,
            waiting=waiting,
            watch=watch,
            reserve_least=extents.reserve.least,
            reserve_half=extents.reserve.half,
            piece_bytes=tubes.writer.piece_bytes,
            surely_fits=tubes.writer.surely_fits,
            growth_class=at.LARGEST_GROWTH_CLASS,
            hand=Hand,
            batch=Batch,
            ends=array,
            empty=EMPTY,
            failed=tubes.delivery.failed,
        )
    except OSError:  # the semaphore is gone, or is not this user's any more
        return None
    # The name may be another segment's by now, and so may the semaphore. While the segment has its name, it is its own.
    if segment.removed:
        engine.close()
        return None
    return engine
