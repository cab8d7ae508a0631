"""This process's part of a segment: its slot, the guarded section, and what a fork changes.

The verbs are in `verbs`; a store has one object of each kind of them. A forked child takes a slot of its own at its
first verb, and all of these objects are made anew for it. So a caller gets them from the store for each call.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from weakref import WeakSet

from shardq.model import Limits
from shardq.shm import words as at
from shardq.shm.assembly import Assembly
from shardq.shm.damage import damage_in
from shardq.shm.files.lock_bytes import PATIENCE_S
from shardq.shm.gate import Gate
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.processes.guard import closed
from shardq.shm.processes.patience import Patience
from shardq.shm.processes.shares import Share
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.arriving import Arriving
from shardq.shm.verbs.burying import Burying
from shardq.shm.verbs.checking import Checking
from shardq.shm.verbs.deferrals import Deferrals
from shardq.shm.verbs.deferring import Deferring
from shardq.shm.verbs.delivering import Delivering
from shardq.shm.verbs.inspection import Inspection
from shardq.shm.verbs.leaving import Leaving
from shardq.shm.verbs.membership import Membership
from shardq.shm.verbs.pausing import Pausing
from shardq.shm.verbs.reading import Reading
from shardq.shm.verbs.recording import Recording
from shardq.shm.verbs.removing import Removing
from shardq.shm.verbs.supervision import Supervision
from shardq.shm.verbs.waiting import Waiting

#: Stores of this process, which a forked child has to tell of the fork.
_stores: WeakSet[Store] = WeakSet()


class Store:
    """A segment this process is attached to. Get one from `registry`."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.gate = Gate(segment)
        self.patience = Patience()
        self._slots = Slots(segment)
        self._stale = False
        """Whether the slot is not this process's: inherited from its parent, or given back. Where a verb is called for
        each batch, this is looked at before `take_slot` is called, which would cost more."""
        self._forked = threading.RLock()
        self._left = False

    def enter(self, share: Share = Share.GENERAL, patience_s: float = PATIENCE_S) -> None:
        """Take a slot and put the parts together."""
        self._slots.enter(share, patience_s)
        self._assemble()

    def resume(self, descriptor: int, slot: int) -> None:
        """As `enter`, with the slot that this process had before it executed itself anew."""
        self._slots.resume(descriptor, slot)
        self._assemble()

    @property
    def hold(self) -> tuple[int, int]:
        """What `resume` takes: the descriptor that holds this process's slot, and its number."""
        self.take_slot()
        return self._slots.descriptor, self._slots.mine

    def _assemble(self) -> None:
        self._section = _Section(self)
        parts = self._parts = Assembly(self.segment, self._slots, self._section, self.gate, self.patience)
        self.core, self._guard, self._journal, self._recovery = parts.core, parts.guard, parts.journal, parts.recovery
        self._sleepers = parts.sleepers
        parts.tubes.handlers.begin()
        _stores.add(self)

    @property
    def slot(self) -> int:
        """Number of this process's slot."""
        self.take_slot()
        return self._slots.mine

    def take_slot(self, share: Share = Share.GENERAL) -> None:
        """Take a slot of that share where this process inherited another's by fork. A forked worker calls this before
        any verb. Raises as all verbs do then: `StorageClosed`, `SegmentBusy`, `SlotsExhausted`.
        """
        if self._left:
            self._check_not_left()
        if self._stale:
            with self._forked:
                if self._stale:
                    self._drop_inherited()
                    self._slots = Slots(self.segment)
                    self.enter(share, min(PATIENCE_S, self.patience.limit_s() or PATIENCE_S))
                    # Last: where taking a slot failed, the next verb must not go on with the parent's.
                    self._stale = False

    @property
    def waits(self) -> int:
        """How often this process found another one inside the guard."""
        return self._guard.waits

    @property
    def limits(self) -> Limits:
        """How much one append takes, and how much a message may be. Waits for no other process."""
        if self._left:
            self._check_not_left()
        return self._parts.extents.limits

    @property
    def appending(self) -> Appending:
        """Adding to tubes."""
        if self._stale:
            self.take_slot()
        return self._parts.appending

    @property
    def reading(self) -> Reading:
        """Looking into tubes."""
        self.take_slot()
        return self._parts.reading

    @property
    def removing(self) -> Removing:
        """Taking messages out of tubes."""
        self.take_slot()
        return self._parts.removing

    @property
    def delivering(self) -> Delivering:
        """Claiming threads, handing out and acknowledging."""
        if self._stale:
            self.take_slot()
        return self._parts.delivering

    @property
    def may_be_due(self) -> bool:
        """Whether a message should be in its tube by now. A hint, without the guard."""
        # Mostly nothing waits for its time, and this is asked for each batch: then no more is looked at.
        return self._stale or (self.segment.words[at.NEXT_DUE_US] > 0 and self._parts.deferring.due())

    @property
    def deferring(self) -> Deferring:
        """Verbs on messages that wait for their time."""
        if self._stale:
            self.take_slot()
        return self._parts.deferring

    @property
    def deferrals(self) -> Deferrals:
        """Verbs on single messages that wait for their time."""
        self.take_slot()
        return self._parts.deferrals

    @property
    def waiting(self) -> Waiting:
        """Looking for work, and sleeping until there is some."""
        if self._stale:
            self.take_slot()
        return self._parts.waiting

    @property
    def burying(self) -> Burying:
        """Burying, putting back, and dropping dead letters."""
        self.take_slot()
        return self._parts.burying

    @property
    def pausing(self) -> Pausing:
        """Keeping workers off handlers."""
        self.take_slot()
        return self._parts.pausing

    @property
    def recording(self) -> Recording:
        """Remembering what operators did."""
        self.take_slot()
        return self._parts.recording

    @property
    def supervision(self) -> Supervision:
        """The segment as its supervisor sees it."""
        self.take_slot()
        return self._parts.supervision

    @property
    def membership(self) -> Membership:
        """Being a worker, in a slot that is kept for workers."""
        self.take_slot(Share.FAMILY)
        return self._parts.membership

    @property
    def leaving(self) -> Leaving:
        """The content going elsewhere."""
        self.take_slot()
        return self._parts.leaving

    @property
    def arriving(self) -> Arriving:
        """The content of another storage coming."""
        self.take_slot()
        return self._parts.arriving

    @property
    def inspection(self) -> Inspection:
        """Views of the segment."""
        if self._stale:
            self.take_slot()
        return self._parts.inspection

    @property
    def checking(self) -> Checking:
        """Whether the segment is whole."""
        self.take_slot()
        return self._parts.checking

    @property
    def doorbell(self) -> Doorbell:
        """This process's bell."""
        if self._stale:
            self.take_slot()
        return self._parts.doorbell

    def leave(self) -> None:
        """Give back the slot and unmap."""
        _stores.discard(self)
        inherited, self._stale, self._left = self._stale, True, True
        if inherited:
            self._drop_inherited()
            self.segment.close()
            return
        # A thread that is inside must not go on once the slot may be another process's, and the semaphore is unmapped.
        with self._guard.closing():
            # First: another thread that has begun a verb must not go on in C.
            self.core.close()
            self._parts.watch.close()
            self._parts.doorbell.close()
            self._slots.leave()
            self.segment.close()

    def disown(self) -> None:
        """In a forked child: the inherited slot is the parent's. Before its first use the child takes another."""
        self._stale = True
        # A verb that was interrupted by the fork must not go on in C with the parent's slot.
        self.core.set_aside()

    def let_go(self) -> None:
        """In a forked child, with the slot disowned: let go of what else is the parent's."""
        self._parts.membership.note_fork()
        # While a process has the parent's bell open, rings for the next process of its slot can be lost there.
        self._parts.doorbell.forget()
        self._forked = threading.RLock()

    def begin_section(self) -> None:
        if self._stale:
            self.take_slot()
        if self._guard.mine:
            self._guard.check_not_inside()
            self._guard.forget()
        try:
            self._guard.acquire()
            if self._journal.standing:
                self._recovery.mend()
        except BaseException as error:
            if self._guard.mine:
                self._guard.release()
            if damage := damage_in(self.segment.name, error):
                raise damage from error
            raise

    def end_section(self) -> None:
        try:
            bells = self._sleepers.bells.take()
        finally:
            self._guard.release()
        for slot, attempt in bells.items():
            if self._parts.doorbell.ring(slot):
                self._sleepers.bells.rang(slot, attempt)

    def _check_not_left(self) -> None:
        if self._left:
            raise closed(self.segment.name)

    def _drop_inherited(self) -> None:
        self._slots.forget()
        self._parts.doorbell.forget()
        self._parts.watch.close()
        self.core.close()


class _Section:
    """`with section:` is inside the guard. Once the guard is left, the bells that are due are rung."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._store.begin_section()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.end_section()
        if error is not None and (damage := damage_in(self._store.segment.name, error)):
            raise damage from error


def _note_fork() -> None:
    stores = list(_stores)
    # All of them first. With its parent's slot a child would be taken for its parent, and get into the guard beside it:
    # so this must not be left out where something of another store cannot be let go.
    for store in stores:
        store.disown()
    for store in stores:
        store.let_go()


os.register_at_fork(after_in_child=_note_fork)
