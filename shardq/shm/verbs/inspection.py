"""Figures of a segment for the processes that work in it."""

from __future__ import annotations

from contextlib import AbstractContextManager

from shardq.model import Counts
from shardq.shm import words as at
from shardq.shm.counters import counts_in
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.handler_table import HandlerTable
from shardq.shm.verbs.overview import Overviews


class Inspection(Overviews):
    """The overview, and what is known for sure only inside the guard."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        handlers: HandlerTable,
        directory: Directory,
        sleepers: Sleepers,
        section: AbstractContextManager[None],
    ) -> None:
        super().__init__(segment, slots, sleepers, directory.name)
        self._handlers = handlers
        self._section = section

    def counts(self) -> Counts:
        """The totals of one instant, with replies apart, which are counted beside them."""
        return self._replies.counted_apart(self._totals)

    def _totals(self) -> Counts:
        with self._section:
            return counts_in(self._words)

    def accepted(self) -> int:
        """How many messages were ever accepted."""
        return self._words[at.ACCEPTED]

    def at_work(self) -> int:
        """How many processes have a batch in hand."""
        first, behind = self._layout.slot_word(0), self._layout.slot_word(self._layout.slots)
        counts = self._words[first + at.SLOT_BATCH_COUNT : behind : at.SLOT_WORDS].tolist()
        return len(counts) - counts.count(0)

    def serving(self, name: str) -> int:
        """How many living processes look for work of the handler. One where a supervisor may begin one that does."""
        with self._section:
            number, slots = self._handlers.number(name), range(self._layout.slots)
            looking = [slot for slot in slots if self._handlers.looks(slot) and self._slots.occupied(slot)]
            count = sum(self._handlers.serves(slot, number) for slot in looking)
            # All workers of a family serve the same: one that looks for work shows what the next one will look for.
            begins = self._sleepers.supervised() and not any(map(self._in_family, looking))
            return count or int(begins and (not looking or self._handlers.ever_served(number)))

    def _in_family(self, slot: int) -> bool:
        """Whether the process of that slot is a worker of a supervisor."""
        return bool(self._words[self._layout.slot_word(slot) + at.SLOT_WORKER])
