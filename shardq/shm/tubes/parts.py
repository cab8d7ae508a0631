"""The parts for threads and tubes, put together over the slot of one process."""

from __future__ import annotations

from typing import NamedTuple

from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.delivery import Delivery
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.fifo_writer import FifoWriter
from shardq.shm.tubes.graves import Graves
from shardq.shm.tubes.handler_table import HandlerTable
from shardq.shm.tubes.pauses import Pauses
from shardq.shm.tubes.tallies import Tallies


class TubeParts(NamedTuple):
    """One of each. All verbs of a store share them."""

    handlers: HandlerTable
    directory: Directory
    fifos: Fifos
    writer: FifoWriter
    delivery: Delivery
    claims: Claims
    graves: Graves

    @classmethod
    def over(
        cls, segment: Segment, slots: Slots, sleepers: Sleepers, journal: Journal, extents: Extents, exit_log: ExitLog
    ) -> TubeParts:
        handlers = HandlerTable(segment, extents, slots.mine)
        directory, fifos = Directory(segment, journal, extents, handlers), Fifos(segment, journal, extents)
        writer = FifoWriter(segment, journal, extents, fifos)
        delivery = Delivery(segment, journal, exit_log)
        tallies, pauses = Tallies(segment, slots.mine), Pauses(segment, handlers, sleepers)
        claims = Claims(
            segment, slots, sleepers, journal, handlers, directory, fifos, delivery, exit_log, tallies, pauses
        )
        graves = Graves(segment, journal, directory, fifos, writer, claims)
        return cls(handlers, directory, fifos, writer, delivery, claims, graves)
