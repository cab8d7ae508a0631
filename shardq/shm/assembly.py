"""What a store consists of, put together for one process and one segment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from shardq.shm.deferred.records import PendingRecords
from shardq.shm.deferred.transfer import Pending
from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.death_watch import Watch
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.processes.exit_log import Deaths
from shardq.shm.processes.guard import Guard
from shardq.shm.processes.patience import Patience
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.parts import TubeParts
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.dead_letters import Letters
from shardq.shm.verbs.deferring import Timing
from shardq.shm.verbs.delivering import Delivering
from shardq.shm.verbs.equal_messages import Alike
from shardq.shm.verbs.inspection import Inspection
from shardq.shm.verbs.membership import Membership
from shardq.shm.verbs.reading import Reading
from shardq.shm.verbs.recovery import Repair
from shardq.shm.verbs.removing import Removing
from shardq.shm.verbs.supervision import Supervision
from shardq.shm.verbs.waiting import Waiting


class Parts:
    """All parts over a slot that was taken. `section` is the guarded section of the store, `check_open` raises where
    nothing is accepted any more.
    """

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        section: AbstractContextManager[None],
        check_open: Callable[[], None],
        patience: Patience,
    ) -> None:
        self.guard = Guard(segment, slots, limit_s=patience.limit_s)
        self.journal = journal = Journal(segment)
        self.extents = extents = Extents(segment)
        self.doorbell, self.watch = Doorbell(segment, slots.mine), Watch(segment, slots)
        deaths = Deaths(segment)
        self.tubes = TubeParts.over(segment, slots, journal, extents, deaths)
        handlers, directory, tubes, attempts, bindings = self.tubes
        records = PendingRecords(segment, journal, extents)
        self.alike = alike = Alike(segment, journal, extents, tubes, records)
        pending = Pending(segment, journal, extents, directory, tubes, bindings, records, alike)
        self.repair = repair = Repair(segment, journal, directory, tubes, bindings, pending)

        self.appending = appending = Appending(
            segment, journal, directory, tubes, bindings, pending, alike, section, check_open
        )
        self.timing = Timing(segment, slots, directory, bindings, pending, records, alike, appending, section)
        self.reading = Reading(directory, tubes, section)
        self.removing = Removing(journal, directory, tubes, bindings, section)
        self.waiting = Waiting(segment, slots, handlers, directory, bindings, repair, self.watch, section)
        self.delivering = Delivering(
            segment, journal, directory, tubes, attempts, bindings, alike, handlers, self.waiting, section
        )
        self.letters = Letters(segment, journal, directory, tubes, bindings, section)
        self.supervision = Supervision(segment, slots, self.doorbell, deaths, section)
        self.membership = Membership(segment, slots, self.supervision)
        self.inspection = Inspection(segment, slots, handlers, directory, tubes, bindings, attempts, section)
