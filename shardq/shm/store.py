"""All verbs on a segment, each in one guarded section: what a driver needs, without asyncio.

A forked child takes a slot of its own at its first verb.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from types import TracebackType
from weakref import WeakSet

from shardq.errors import SegmentMissing, StorageClosed
from shardq.model import EMPTY, Batch, Limits, Part
from shardq.pages import PAGE_ITEMS, Page
from shardq.shm import words as at
from shardq.shm.assembly import Parts
from shardq.shm.counters import Counts, counts_in
from shardq.shm.damage import damage_in
from shardq.shm.files.lock_bytes import PATIENCE_S
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.processes.patience import Patience
from shardq.shm.processes.shares import Share
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.directory import NOT_FOUND
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.dead_letters import Letters
from shardq.shm.verbs.deferring import Timing
from shardq.shm.verbs.delivering import Delivering
from shardq.shm.verbs.inspection import Inspection
from shardq.shm.verbs.supervision import Supervision
from shardq.shm.verbs.waiting import Waiting

#: Stores of this process, which a forked child has to tell of the fork.
_stores: WeakSet[Store] = WeakSet()


class Store:
    """A segment this process is attached to. Get one from `registry`."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.patience = Patience()
        self._slots = Slots(segment)
        self._stale = False
        """Whether the slot is not this process's: inherited from its parent, or given back."""
        self._forked = threading.Lock()
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
        self._own_slot()
        return self._slots.descriptor, self._slots.mine

    def _assemble(self) -> None:
        self._section = _Section(self)
        parts = self._parts = Parts(self.segment, self._slots, self._section, self._check_open, self.patience)
        self._guard, self._journal, self._repair = parts.guard, parts.journal, parts.repair
        self._directory, self._tubes = parts.directory, parts.tubes
        self._attempts, self._bindings = parts.attempts, parts.bindings
        parts.handlers.begin()
        self._slot_word = self._slots.word(self._slots.mine)
        _stores.add(self)

    @property
    def slot(self) -> int:
        """Number of this process's slot."""
        self._own_slot()
        return self._slots.mine

    @property
    def limits(self) -> Limits:
        """How much one append takes, and how much a message may be. Waits for no other process."""
        if self._left:
            self._check_not_left()
        return self._parts.extents.limits

    def append(self, parts: Sequence[Part], *, share: int = at.GENERAL) -> bool:
        """Add messages to tubes, all or none; no pipe may be there twice. False: there is no room now."""
        parts = [part for part in parts if part[1]]
        return not parts or self.appending.append(parts, share=share)

    def read(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        """Messages from the head of a tube, or behind that of a number."""
        with self._section:
            _, tube = self._directory.tube(pipe)
            if tube == NOT_FOUND:
                return EMPTY
            return self._tubes.read(tube, limit) if after is None else self._tubes.read_on(tube, limit, after)

    def remove(self, pipe: str, messages: Sequence[bytes]) -> int:
        """Take out equal messages that were not handed out. Returns how many."""
        with self._section:
            thread, tube = self._directory.tube(pipe)
            if tube == NOT_FOUND:
                return 0
            self._journal.declare(thread)
            taken = self._tubes.cancel(tube, messages, handed_stay=self._bindings.owner(thread) != 0)
            self._bindings.refresh(thread)
            self._journal.clear()
            self._bindings.messages_left()
            return taken

    def contains(self, pipe: str, message: bytes) -> bool:
        with self._section:
            _, tube = self._directory.tube(pipe)
            return tube != NOT_FOUND and self._tubes.contains(tube, message)

    def length(self, pipe: str) -> int:
        with self._section:
            _, tube = self._directory.tube(pipe)
            return 0 if tube == NOT_FOUND else self._tubes.length(tube)

    def pipes(self, after: int | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        """Names of tubes that are not empty, of the threads behind `after`."""
        page = Page[str]()
        with self._section:
            for thread in self._directory.living(after):
                if len(page) >= limit:
                    return page
                page += [pipe for pipe, tube in self._directory.pipes_of(thread) if not self._tubes.is_empty(tube)]
                page.after = thread
        page.after = None
        return page

    def counts(self) -> Counts:
        with self._section:
            return counts_in(self.segment.words)

    def take_worker_slot(self) -> None:
        """Take a slot that is kept for workers. A forked worker calls this before any other verb."""
        self._own_slot(Share.FAMILY)

    def mark_worker(self, number: int) -> None:
        """Say that this process is a worker, to its supervisor and to observers."""
        self._own_slot(Share.FAMILY)
        self.segment.words[self._slot_word + at.SLOT_WORKER] = number
        self._parts.supervision.ring_supervisor()

    def ask_renewal(self) -> None:
        """Ask the supervisor to replace this worker by a fresh process."""
        self._own_slot()
        self.segment.words[self._slot_word + at.SLOT_RENEWAL] = 1
        self._parts.supervision.ring_supervisor()

    @property
    def appending(self) -> Appending:
        """Adding to tubes."""
        self._own_slot()
        return self._parts.appending

    @property
    def delivering(self) -> Delivering:
        """Claiming threads, handing out and acknowledging."""
        self._own_slot()
        return self._parts.delivering

    @property
    def timing(self) -> Timing:
        """Verbs on messages that wait for their time."""
        self._own_slot()
        return self._parts.timing

    @property
    def waiting(self) -> Waiting:
        """Looking for work, and sleeping until there is some."""
        self._own_slot()
        return self._parts.waiting

    @property
    def letters(self) -> Letters:
        """The dead letters."""
        self._own_slot()
        return self._parts.letters

    @property
    def supervision(self) -> Supervision:
        """The segment as its supervisor sees it."""
        self._own_slot()
        return self._parts.supervision

    @property
    def inspection(self) -> Inspection:
        """Views of the segment."""
        self._own_slot()
        return self._parts.inspection

    @property
    def doorbell(self) -> Doorbell:
        """This process's bell."""
        self._own_slot()
        return self._parts.doorbell

    def leave(self) -> None:
        """Give back the slot and unmap."""
        _stores.discard(self)
        inherited, self._stale, self._left = self._stale, True, True
        if inherited:
            self._drop_inherited()
        else:
            self._parts.watch.close()
            self._parts.doorbell.close()
            self._slots.leave()
        self.segment.close()

    def note_fork(self) -> None:
        """In a forked child: the inherited slot is the parent's. Before its first use the child takes another."""
        self._stale = True
        self._forked = threading.Lock()

    def begin_section(self) -> None:
        if self._stale:
            self._own_slot()
        if self._guard.mine:
            self._guard.check_not_inside()
        try:
            self._guard.acquire()
            if self._journal.standing:
                self._repair.mend()
        except BaseException as error:
            if self._guard.mine:
                self._guard.release()
            if damage := damage_in(self.segment.name, error):
                raise damage from error
            raise

    def end_section(self) -> None:
        try:
            bells = tuple(self._bindings.bells)
            self._bindings.bells.clear()
        finally:
            self._guard.release()
        for slot in bells:
            self._parts.doorbell.ring(slot)

    def _check_open(self) -> None:
        if self.segment.words[at.CLOSED]:
            raise SegmentMissing(
                f"segment {self.segment.name!r} was closed by its supervisor, which ended: nothing was stored; start a "
                f"supervisor and connect again"
            )

    def _own_slot(self, share: Share = Share.GENERAL) -> None:
        """Take a slot of its own for a process that inherited another's by fork. Raises `StorageClosed`, `SegmentBusy`,
        `SlotsExhausted`.
        """
        self._check_not_left()
        if self._stale:
            with self._forked:
                if self._stale:
                    self._drop_inherited()
                    self._slots = Slots(self.segment)
                    self.enter(share, min(PATIENCE_S, self.patience.limit_s() or PATIENCE_S))
                    # Last: where taking a slot failed, the next verb must not go on with the parent's.
                    self._stale = False

    def _check_not_left(self) -> None:
        if self._left:
            raise StorageClosed(f"the storage on segment {self.segment.name!r} was closed: attach to it again")

    def _drop_inherited(self) -> None:
        self._slots.forget()
        self._parts.doorbell.forget()
        self._parts.watch.close()


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
    for store in _stores:
        store.note_fork()


os.register_at_fork(after_in_child=_note_fork)
