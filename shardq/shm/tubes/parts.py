"""The parts for threads and tubes, put together over the slot of one process."""

from __future__ import annotations

from typing import NamedTuple

from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.exit_log import Deaths
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Bindings
from shardq.shm.tubes.delivery import Attempts
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Tubes
from shardq.shm.tubes.handler_table import Handlers


class TubeParts(NamedTuple):
    """One of each. All verbs of a store share them."""

    handlers: Handlers
    directory: Directory
    tubes: Tubes
    attempts: Attempts
    bindings: Bindings

    @classmethod
    def over(cls, segment: Segment, slots: Slots, journal: Journal, extents: Extents, deaths: Deaths) -> TubeParts:
        handlers = Handlers(segment, extents, slots.mine)
        directory, tubes = Directory(segment, journal, extents, handlers), Tubes(segment, journal, extents)
        attempts = Attempts(segment, journal, deaths)
        bindings = Bindings(segment, slots, journal, handlers, directory, tubes, attempts, deaths)
        return cls(handlers, directory, tubes, attempts, bindings)
