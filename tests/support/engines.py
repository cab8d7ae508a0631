"""Stores whose frequent case is done in C, and such without; and what stands in their segments."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from shardq.drivers.shared.engine import VARIABLE, engine_name
from shardq.model import AllTerms, Hand
from shardq.outputs import Output
from shardq.shm import words as at
from shardq.shm.segment import Segment
from shardq.shm.store import Store
from shardq.shm.words import PAGE
from tests.support.segments import NewStore

if TYPE_CHECKING:
    from shardq._core.engine import Core as Engine

#: Words that differ between two segments in which the same was done: of the header, and of each slot.
_OWN = (at.CREATED_US, at.EQUALITY_KEY, at.EQUALITY_KEY_END)
_OWN_OF_SLOTS = (at.SLOT_ATTEMPT, at.SLOT_BATCH_SINCE_NS, at.SLOT_DEADLINE_NS)
_HOUR_US = 3_600_000_000

needs_c = pytest.mark.skipif(engine_name() == "python", reason="the extension is not there, or is not to be used")


@contextmanager
def using(engine: str) -> Iterator[None]:
    """What attaches within uses this engine."""
    former = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = engine
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if former is not None:
            os.environ[VARIABLE] = former


def store_of(engine: str, new_store: NewStore, *arguments: int) -> Store:
    """A store with a segment of its own."""
    with using(engine):
        return new_store(*arguments)


def turn_in_c(
    store: Store,
    hand: Hand | None,
    names: frozenset[str] | None,
    terms: AllTerms,
    outputs: Sequence[Output] = (),
    *,
    stay: bool,
) -> Any:
    """The hand after a turn, whether it is all done, and whether the process lies down. None: C leaves it to Python."""
    turned = _engine(store).turn(hand, names, terms, stay, outputs)
    return turned if turned is None or len(turned) == 3 else store.core.called(turned)


def rest_in_c(
    store: Store,
    hand: Hand | None,
    names: frozenset[str] | None,
    terms: AllTerms,
    *,
    stay: bool,
    asleep: bool,
    may_sleep: bool,
) -> Any:
    """As `turn_in_c`, of a rest."""
    turned = _engine(store).rest(hand, names, terms, stay, asleep, may_sleep)
    return turned if turned is None or len(turned) == 3 else store.core.called(turned)


def watch_engine(store: Store, verb: str, note: Callable[[tuple[Any, ...], Any], None]) -> None:
    """From now on a function is told of each call of this verb of the engine: its arguments, and what it returned."""
    store.core.engine = _Watched(_engine(store), verb, note)  # type: ignore[assignment]


class _Watched:
    def __init__(self, engine: Engine, verb: str, note: Callable[[tuple[Any, ...], Any], None]) -> None:
        self._engine, self._verb, self._note = engine, verb, note

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name != self._verb:
            return found

        def watched(*arguments: Any) -> Any:
            returned = found(*arguments)
            self._note(arguments, returned)
            return returned

        return watched


def _engine(store: Store) -> Engine:
    assert store.core.engine is not None
    return store.core.engine


class Words:
    """Words that are the same as others where all but times are."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and (self._content == other._content or self._timeless == other._timeless)

    __hash__ = None  # type: ignore[assignment]

    @property
    def _timeless(self) -> list[int]:
        now_us = time.time_ns() // 1000
        words = memoryview(self._content).cast("Q").tolist()
        return [0 if now_us - _HOUR_US < word <= now_us else word for word in words]


def stands_in(segment: Segment) -> dict[str, object]:
    """All that has to be the same where the same was done, in C or in Python. Times are left out."""
    layout, words = segment.layout, segment.words
    fixed = memoryview(bytearray(segment.bytes[: layout.fixed_bytes])).cast("Q")
    for word in _OWN:
        fixed[word] = 0
    for slot in range(layout.slots):
        for word in _OWN_OF_SLOTS:
            fixed[layout.slot_word(slot) + word] = 0
    return {
        "fixed part": fixed.tobytes(),
        "threads": segment.copied(layout.thread_table, words[at.THREADS_BACKED]),
        "tubes": Words(segment.copied(layout.tube_table, words[at.TUBES_BACKED])),
        "extents": _extents(segment),
        "memory": segment.taken_bytes,
        "counted": _counted(segment),
    }


def _extents(segment: Segment) -> dict[int, Words]:
    """The words of each extent that has memory."""
    layout, words, found = segment.layout, segment.words, dict[int, Words]()
    for group in layout.classes:
        for n in range(group.count):
            nbytes = words[layout.extent_backed_word + group.first + n] // PAGE * PAGE
            start = group.base + n * group.size
            if nbytes:
                found[group.first + n] = Words(segment.bytes[start : start + nbytes])
    return found


def _counted(segment: Segment) -> dict[tuple[int, int], tuple[int, ...]]:
    """What the processes in the first slots counted of the first handlers, by slot and handler."""
    found = dict[tuple[int, int], tuple[int, ...]]()
    for slot, number in product(range(2), range(3)):
        start = segment.layout.tally_word(slot, number) * at.WORD
        # Copied by the kernel: a look into the mapping would give it memory.
        block = memoryview(segment.copied(start, at.TALLY_WORDS * at.WORD)).cast("Q")
        found[slot, number] = tuple(block[: at.TALLY_FAILED])
    return found
