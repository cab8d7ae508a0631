"""What a store consists of, put together for one process and one segment."""

from __future__ import annotations

from contextlib import AbstractContextManager

from shardq.shm.actions import Actions
from shardq.shm.core import Core
from shardq.shm.deferred.records import PendingRecords
from shardq.shm.gate import Gate
from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.death_watch import DeathWatch
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.processes.guard import Guard
from shardq.shm.processes.patience import Patience
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.parts import TubeParts
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.arriving import Arriving
from shardq.shm.verbs.burying import Burying
from shardq.shm.verbs.checking import Checking
from shardq.shm.verbs.deferrals import Deferrals
from shardq.shm.verbs.deferring import Deferring
from shardq.shm.verbs.delivering import Delivering
from shardq.shm.verbs.equal_messages import EqualMessages
from shardq.shm.verbs.handing import Handing
from shardq.shm.verbs.inspection import Inspection
from shardq.shm.verbs.leaving import Leaving
from shardq.shm.verbs.membership import Membership
from shardq.shm.verbs.outputs import Outputs
from shardq.shm.verbs.pausing import Pausing
from shardq.shm.verbs.pending_pages import PendingPages
from shardq.shm.verbs.reading import Reading
from shardq.shm.verbs.recording import Recording
from shardq.shm.verbs.recovery import Recovery
from shardq.shm.verbs.removing import Removing
from shardq.shm.verbs.supervision import Supervision
from shardq.shm.verbs.transfer import Transfer
from shardq.shm.verbs.waiting import Waiting


class Assembly:
    """All parts over a slot that was taken. `section` is the guarded section of the store."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        section: AbstractContextManager[None],
        gate: Gate,
        patience: Patience,
    ) -> None:
        self.guard = Guard(segment, slots, limit_s=patience.limit_s)
        self.journal = journal = Journal(segment)
        self.extents = extents = Extents(segment)
        self.doorbell, self.watch = Doorbell(segment, slots.mine), DeathWatch(segment, slots)
        self.sleepers = sleepers = Sleepers(segment, slots)
        exit_log = ExitLog(segment)
        self.tubes = TubeParts.over(segment, slots, sleepers, journal, extents, exit_log)
        handlers, directory, fifos, writer, delivery, claims, graves = self.tubes
        records = PendingRecords(segment, journal, extents)
        self.equals = equals = EqualMessages(segment, journal, extents, fifos, records)
        transfer = Transfer(segment, journal, extents, directory, fifos, writer, claims, records, equals, sleepers)
        self.recovery = recovery = Recovery(segment, journal, directory, fifos, claims, transfer, equals)
        self.waiting = Waiting(
            segment, slots, handlers, directory, claims, recovery, self.watch, sleepers, section, gate
        )
        self.core = core = Core(
            segment, slots, self.guard, self.tubes, extents, self.waiting, self.watch, self.doorbell, section
        )

        self.appending = appending = Appending(
            segment, journal, directory, fifos, writer, claims, transfer, equals, core, section, gate
        )
        pages = PendingPages(records, section)
        self.deferring = Deferring(
            segment, slots, directory, transfer, records, equals, appending, pages, sleepers, section, gate
        )
        self.deferrals = Deferrals(segment, records, transfer, appending, pages, sleepers, section, gate)
        self.reading = Reading(directory, fifos, section)
        self.removing = Removing(journal, directory, fifos, claims, equals, sleepers, section, gate)
        outputs = Outputs(
            segment, journal, extents, directory, fifos, writer, claims, graves, transfer, equals, appending, core
        )
        handing = Handing(segment, journal, directory, fifos, delivery, claims, equals, outputs, sleepers, core)
        self.delivering = Delivering(
            segment, directory, fifos, delivery, claims, handlers, self.waiting, outputs, handing, core, section, gate
        )
        self.burying = Burying(
            segment, journal, directory, fifos, writer, claims, graves, equals, sleepers, section, gate
        )
        self.pausing = Pausing(claims.pauses, section, gate)
        self.recording = Recording(Actions(segment), section)
        self.supervision = Supervision(segment, slots, self.doorbell, exit_log, section, gate)
        self.membership = Membership(segment, slots, self.supervision)
        self.inspection = Inspection(segment, slots, handlers, directory, sleepers, section)
        self.checking = Checking(segment, claims, recovery, section)
        self.leaving = Leaving(
            segment,
            journal,
            directory,
            fifos,
            delivery,
            claims,
            graves,
            records,
            transfer,
            equals,
            recovery,
            sleepers,
            section,
            gate,
        )
        self.arriving = Arriving(
            segment, journal, directory, fifos, writer, claims, transfer, appending, exit_log, sleepers, section, gate
        )
