"""The frequent case of some verbs in C, where the extension is there: see `shardq._core`.

Verbs ask it first, and go on in Python where it leaves them the work. It knows the tubes that Python has found by their
names, and no others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from shardq.errors import ConfigurationError, shown
from shardq.model import Part
from shardq.shm import words as at
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.processes.guard import Guard
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.parts import TubeParts

if TYPE_CHECKING:
    from shardq._core.engine import Core as Engine

#: Says which engine to use: C or PYTHON. Empty: C where it is there.
VARIABLE = "SHARDQ_CORE"
C, PYTHON = "c", "python"


class Core:
    """What is done in C for one store. Without an engine, it is nothing, and Python does all."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        guard: Guard,
        tubes: TubeParts,
        extents: Extents,
        doorbell: Doorbell,
        section: AbstractContextManager[None],
    ) -> None:
        self._words = segment.words
        self._layout = segment.layout
        self._doorbell = doorbell
        self._section = section
        self._engine = _engine(segment, slots, guard, tubes, extents)

    def append(self, parts: Sequence[Part], share: int) -> bool:
        """Add messages to tubes, all of them. False: this is not the frequent case, and nothing was changed."""
        if self._engine is None:
            return False
        due = self._engine.append(parts, share)
        if due is None:
            return False
        if due is False:
            with self._section:
                pass  # a process that enters mends what stands
            return True
        for slot in due:
            if self._doorbell.ring(slot):
                self._engine.rang(slot)
        return True

    def learn(self, pipe: str, thread: int, tube: int) -> None:
        """The pipe has this tube. Wants the guard held."""
        if self._engine is not None:
            generation = self._words[self._layout.thread_word(thread) + at.THREAD_GENERATION]
            self._engine.learn(pipe, thread, generation, tube)

    def close(self) -> None:
        """Let go of the mapping."""
        if self._engine is not None:
            self._engine.close()


def engine_name() -> str:
    """What does the frequent case in this process, C or PYTHON. Raises `ConfigurationError`."""
    return PYTHON if _class() is None else C


def _class() -> type[Engine] | None:
    """The extension's class. None: there is none that fits, or none is wanted. Raises `ConfigurationError`."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", C, PYTHON):
        raise ConfigurationError(f"{VARIABLE}={shown(wanted)} cannot be: set it to {C} or {PYTHON}, or not at all")
    if wanted == PYTHON:
        return None
    try:
        from shardq._core import engine
        from shardq._core.header import WORDS_DIGEST
    except ImportError:
        fits = False
    else:
        # One that was compiled from other words would spoil the segment.
        fits = engine.WORDS_DIGEST == WORDS_DIGEST
    if fits:
        return engine.Core
    if wanted == C:
        raise ConfigurationError(
            f"{VARIABLE}={C}, but the extension is not there, or was compiled from another version of this package: "
            f"install shardq anew where a compiler and Python.h are, or unset {VARIABLE}"
        )
    return None


def _engine(segment: Segment, slots: Slots, guard: Guard, tubes: TubeParts, extents: Extents) -> Engine | None:
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
            reserve_least=extents.reserve.least,
            reserve_half=extents.reserve.half,
            piece_bytes=tubes.writer.piece_bytes,
            surely_fits=tubes.writer.surely_fits,
            growth_class=at.LARGEST_GROWTH_CLASS,
        )
    except OSError:  # the semaphore is gone, or is not this user's any more
        return None
    # The name may be another segment's by now, and so may the semaphore. While the segment has its name, it is its own.
    if segment.removed:
        engine.close()
        return None
    return engine
