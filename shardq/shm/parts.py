"""What a store consists of, put together for one process and one segment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from shardq.shm.alike import Alike
from shardq.shm.appending import Appending
from shardq.shm.attempts import Attempts
from shardq.shm.binding import Bindings
from shardq.shm.deaths import Deaths
from shardq.shm.directory import Directory
from shardq.shm.doorbell import Doorbell
from shardq.shm.extents import Extents
from shardq.shm.guard import Guard
from shardq.shm.handlers import Handlers
from shardq.shm.inspection import Inspection
from shardq.shm.intent import Intent
from shardq.shm.letters import Letters
from shardq.shm.patience import Patience
from shardq.shm.pending import Pending
from shardq.shm.pending_records import PendingRecords
from shardq.shm.repair import Repair
from shardq.shm.segment import Segment
from shardq.shm.slots import Slots
from shardq.shm.supervision import Supervision
from shardq.shm.timing import Timing
from shardq.shm.tube import Tubes
from shardq.shm.waiting import Waiting
from shardq.shm.watch import Watch


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
        self.intent = intent = Intent(segment)
        self.extents = extents = Extents(segment)
        self.handlers = handlers = Handlers(segment, extents, slots.mine)
        self.directory = directory = Directory(segment, intent, extents, handlers)
        self.tubes = tubes = Tubes(segment, intent, extents)
        deaths = Deaths(segment)
        self.attempts = attempts = Attempts(segment, intent, deaths)
        self.bindings = bindings = Bindings(segment, slots, intent, handlers, directory, tubes, attempts, deaths)
        records = PendingRecords(segment, intent, extents)
        self.alike = alike = Alike(segment, extents, tubes, records)
        pending = Pending(segment, intent, extents, directory, tubes, bindings, records, alike)
        self.repair = repair = Repair(segment, intent, directory, tubes, bindings, pending)
        self.doorbell = Doorbell(segment, slots.mine)
        self.watch = Watch(segment, slots)
        self.appending = appending = Appending(
            segment, intent, directory, tubes, bindings, pending, alike, section, check_open
        )
        self.timing = Timing(segment, slots, directory, bindings, pending, records, alike, appending, section)
        self.waiting = Waiting(segment, slots, handlers, directory, bindings, repair, self.watch, section)
        self.letters = Letters(segment, intent, directory, tubes, bindings, section)
        self.supervision = Supervision(segment, slots, self.doorbell, deaths, section)
        self.inspection = Inspection(segment, slots, handlers, directory, tubes, bindings, attempts, section)
