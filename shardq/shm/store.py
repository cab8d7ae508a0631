"""All verbs on a segment, each in one guarded section: what a driver needs, without asyncio.

A forked child takes a slot of its own at its first verb.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple
from weakref import WeakSet

from shardq.errors import FencedError, SegmentMissing, SegmentNoRoom, StorageClosed
from shardq.model import EMPTY, Batch, key_of
from shardq.shm import layout as at
from shardq.shm.binding import Bindings
from shardq.shm.directory import NO_ROOM, NOT_FOUND, Directory
from shardq.shm.doorbell import Doorbell
from shardq.shm.extents import Extents
from shardq.shm.guard import Guard
from shardq.shm.inspection import Inspection
from shardq.shm.intent import Intent
from shardq.shm.repair import Repair
from shardq.shm.segment import Segment
from shardq.shm.slots import Slots
from shardq.shm.supervision import Supervision
from shardq.shm.tube import Tubes

#: How often a busy process looks for threads whose worker died; one that is about to sleep always does.
ORPHAN_INTERVAL_S = 0.01

#: What a forked child has to be told about.
_stores: WeakSet[Store] = WeakSet()


class Counts(NamedTuple):
    """Totals of a segment at one instant."""

    accepted: int
    handled: int


class Store:
    """A segment this process is attached to. Get one from `attachments`."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._slots = Slots(segment)
        self._sleepers = 0
        self._last_served = -1
        self._stale = False
        """Whether the slot is not ours: inherited from the parent, or given back."""
        self._left = False
        self._orphans_due = 0.0

    def enter(self) -> None:
        """Take a slot and put the parts together."""
        self._slots.enter()
        segment = self.segment
        self._guard = Guard(segment, self._slots)
        self._intent = Intent(segment)
        self._extents = Extents(segment)
        self._directory = Directory(segment, self._intent, self._extents)
        self._tubes = Tubes(segment, self._intent, self._extents)
        self._bindings = Bindings(segment, self._slots, self._directory, self._tubes)
        self._repair = Repair(segment, self._intent, self._directory, self._tubes, self._bindings)
        self._doorbell = Doorbell(segment, self._slots.mine)
        self._slot_word = self._slots.word(self._slots.mine)
        self._section = _Section(self)
        self._supervision = Supervision(segment, self._slots, self._doorbell, self._section)
        self._inspection = Inspection(segment, self._directory, self._tubes, self._bindings, self._section)
        _stores.add(self)

    @property
    def slot(self) -> int:
        """Number of this process's slot."""
        self._own_slot()
        return self._slots.mine

    def check(self, pipe: str, messages: Sequence[bytes]) -> None:
        """Raise what `append` would always raise for these messages."""
        self._own_slot()
        self._directory.check_name(pipe)
        self._tubes.check_size(messages)

    def append(self, pipe: str, messages: Sequence[bytes], *, reserve: bool = False) -> bool:
        """Add messages to a tube, all or none. False: there is no room now."""
        if not messages:
            return True
        with self._section:
            self._check_open()
            thread, tube = self._directory.tube(pipe)
            if tube == NOT_FOUND:
                thread, tube = self._directory.add_tube(pipe, reserve=reserve)
            if tube == NO_ROOM:
                self._intent.clear()
                return False
            self._intent.declare(thread)
            stored = self._tubes.append(tube, messages, time.time_ns() // 1000, reserve=reserve)
            if stored:
                self._bindings.work_arrived(thread)
            self._intent.clear()
            return stored

    def read(self, pipe: str, limit: int, token: int = 0) -> Batch:
        """Messages from the head of a tube. With a token they count as handed to the caller's worker."""
        with self._section:
            thread, tube = self._directory.tube(pipe)
            if tube == NOT_FOUND:
                return EMPTY
            if token:
                self._check(pipe, thread, token)
            batch = self._tubes.read(tube, limit)
            if token and batch.count:
                self._tubes.note_handed(tube, batch.through)
                self._note_batch(thread, batch.count)
            return batch

    def pop(self, pipe: str, through: int, token: int) -> None:
        """Acknowledge messages below `through`. Raises `FencedError`."""
        with self._section:
            thread, tube = self._directory.tube(pipe)
            self._check(pipe, thread, token)
            if tube == NOT_FOUND:
                return
            self._intent.declare(thread)
            self._tubes.pop(tube, through)
            self._intent.clear()
            self._note_batch(-1, 0)
            self._messages_left()

    def remove(self, pipe: str, messages: Sequence[bytes]) -> int:
        """Take out equal messages that were not handed out. Returns how many."""
        with self._section:
            thread, tube = self._directory.tube(pipe)
            if tube == NOT_FOUND:
                return 0
            self._intent.declare(thread)
            taken = self._tubes.cancel(tube, messages, handed_stay=self._bindings.owner(thread) != 0)
            self._bindings.refresh(thread)
            self._intent.clear()
            self._messages_left()
            return taken

    def contains(self, pipe: str, message: bytes) -> bool:
        with self._section:
            _, tube = self._directory.tube(pipe)
            return tube != NOT_FOUND and self._tubes.contains(tube, message)

    def length(self, pipe: str) -> int:
        with self._section:
            _, tube = self._directory.tube(pipe)
            return 0 if tube == NOT_FOUND else self._tubes.length(tube)

    def pipes(self) -> list[str]:
        """Names of the tubes that are not empty."""
        with self._section:
            return [
                f"{self._directory.name(thread)}/{self._directory.priority(tube)}"
                for thread in self._directory.threads()
                for tube in reversed(self._directory.tubes_of(thread))
                if not self._tubes.is_empty(tube)
            ]

    def claim(self, key: str) -> int:
        """Bind the thread to this process. Returns the fencing token, 0 where somebody alive is bound."""
        with self._section:
            thread = self._directory.thread(key)
            if thread == NOT_FOUND:
                thread = self._directory.add_thread(key, reserve=True)
            if thread == NO_ROOM:
                raise SegmentNoRoom(f"segment {self.segment.name!r} has no room to note a claim on {key!r}")
            self._intent.declare(thread)
            token = self._bindings.claim(thread)
            self._intent.clear()
            return token

    def claimed(self, key: str) -> bool:
        with self._section:
            thread = self._directory.thread(key)
            return thread != NOT_FOUND and self._bindings.owner(thread) != 0

    def unclaim(self, key: str, token: int, pause_s: float = 0.0) -> bool:
        """End the binding with this token; for `pause_s` the thread is offered to nobody. False: it was over before."""
        with self._section:
            thread = self._directory.thread(key)
            if thread == NOT_FOUND or not self._bindings.current(thread, token):
                return False
            self._intent.declare(thread)
            self._bindings.release(thread, time.time_ns() // 1000 + int(pause_s * 1e6) if pause_s > 0 else 0)
            self._intent.clear()
            self._note_batch(-1, 0)
            return True

    def find_work(self, serves: Callable[[str], bool], bound: str | None = None) -> str | None:
        """Key of a thread to serve now: `bound` if it has messages, else a ready one that `serves` accepts."""
        with self._section:
            if time.monotonic() > self._orphans_due:
                self._adopt_orphans()
            self._bindings.end_pauses()
            return self._find(serves, bound)

    def lie_down(self, serves: Callable[[str], bool], bound: str | None) -> tuple[str | None, float | None]:
        """As `find_work`; where there is nothing, this process counts as asleep, and will be rung, until `rise`. Also
        tells in how many seconds a pause ends, which rings nobody.
        """
        with self._section:
            self._adopt_orphans()
            pause_ends_us = self._bindings.end_pauses()
            key = self._find(serves, bound)
            self._sleepers += 1
            if key is None:
                self._bindings.sleep()
            return key, None if pause_ends_us is None else max(0.0, pause_ends_us / 1e6 - time.time())

    def rise(self, key: str | None) -> None:
        """Undo one `lie_down`, with the work that was found. A call that was not for that work is passed on to ever
        higher slots: those below were awake when it was made, or looked for themselves before they lay down since.
        """
        with self._section:
            self._sleepers -= 1
            if not self._bindings.wake(others_sleep=self._sleepers > 0):
                return
            found = NOT_FOUND if key is None else self._directory.thread(key)
            if self._bindings.next_ready(found) not in (-1, found):
                self._bindings.call_worker(above=self._slots.mine)

    def asleep(self) -> int:
        """How many processes sleep."""
        start = self.segment.layout.sleep_map
        states = self.segment.bytes[start : start + self.segment.layout.slots]
        return states.count(at.ASLEEP) + states.count(at.CALLED)

    def counts(self) -> Counts:
        with self._section:
            return Counts(self.segment.words[at.ACCEPTED], self.segment.words[at.HANDLED])

    def quiet(self) -> bool:
        """Whether nothing is queued or in hand. If something is, this process will be rung when that changes."""
        with self._section:
            if self.segment.words[at.ACCEPTED] == self.segment.words[at.HANDLED]:
                return True
            self._bindings.await_(self.segment.layout.quiet_map)
            return False

    def await_room(self) -> None:
        """Ask to be rung when messages leave."""
        with self._section:
            self._bindings.await_(self.segment.layout.room_map)

    def mark_worker(self, number: int) -> None:
        """Say that this process is a worker, for who looks at the family."""
        self._own_slot()
        self.segment.words[self._slot_word + at.SLOT_WORKER] = number

    @property
    def supervision(self) -> Supervision:
        """The segment as its supervisor sees it."""
        self._own_slot()
        return self._supervision

    @property
    def inspection(self) -> Inspection:
        """Views of the segment."""
        self._own_slot()
        return self._inspection

    @property
    def doorbell(self) -> Doorbell:
        """This process's bell."""
        self._own_slot()
        return self._doorbell

    def leave(self) -> None:
        """Give back the slot and unmap."""
        _stores.discard(self)
        inherited, self._stale, self._left = self._stale, True, True
        if inherited:
            self._drop_inherited()
        else:
            self._doorbell.close()
            self._slots.leave()
        self.segment.close()

    def note_fork(self) -> None:
        """In a forked child: the inherited slot is the parent's. Before its first use the child takes another."""
        self._stale = True

    def begin_section(self) -> None:
        if self._stale:
            self._own_slot()
        try:
            self._guard.acquire()
            if self._intent.thread >= 0:
                self._repair.mend()
        except BaseException:
            if self._guard.mine:
                self._guard.release()
            raise

    def end_section(self) -> None:
        try:
            bells = tuple(self._bindings.bells)
            self._bindings.bells.clear()
        finally:
            self._guard.release()
        for slot in bells:
            self._doorbell.ring(slot)

    def _find(self, serves: Callable[[str], bool], bound: str | None) -> str | None:
        if bound is not None:
            thread = self._directory.thread(bound)
            if thread != NOT_FOUND and self._bindings.has_work(thread):
                return bound
        thread, first = self._bindings.next_ready(self._last_served), -1
        while thread >= 0 and thread != first:
            key = self._directory.name(thread)
            if serves(key):
                self._last_served = thread
                return key
            first = thread if first < 0 else first
            thread = self._bindings.next_ready(thread)
        return None

    def _adopt_orphans(self) -> None:
        self._repair.adopt_orphans()
        self._orphans_due = time.monotonic() + ORPHAN_INTERVAL_S

    def _check_open(self) -> None:
        if self.segment.words[at.CLOSED]:
            raise SegmentMissing(
                f"segment {self.segment.name!r} was closed by its supervisor, which ended: nothing was stored; start a "
                f"supervisor and connect again"
            )

    def _check(self, pipe: str, thread: int, token: int) -> None:
        if thread == NOT_FOUND or not self._bindings.current(thread, token):
            raise FencedError(
                f"the claim on {key_of(pipe)!r} with token {token} is over: another worker may have the thread, so "
                f"nothing was changed; stop working on it"
            )

    def _note_batch(self, thread: int, count: int) -> None:
        words, word = self.segment.words, self._slot_word
        words[word + at.SLOT_BATCH_THREAD] = thread + 1
        words[word + at.SLOT_BATCH_COUNT] = count
        words[word + at.SLOT_BATCH_SINCE_NS] = time.clock_gettime_ns(time.CLOCK_BOOTTIME) if count else 0

    def _messages_left(self) -> None:
        self._bindings.ring_waiting(self.segment.layout.room_map)
        if self.segment.words[at.ACCEPTED] == self.segment.words[at.HANDLED]:
            self._bindings.ring_waiting(self.segment.layout.quiet_map)

    def _own_slot(self) -> None:
        """Take a slot of its own for a process that inherited another's by fork. Raises `StorageClosed`."""
        if self._left:
            raise StorageClosed(f"the storage on segment {self.segment.name!r} was closed: attach to it again")
        if self._stale:
            self._drop_inherited()
            self._stale = False
            self._slots = Slots(self.segment)
            self._sleepers = 0
            self.enter()

    def _drop_inherited(self) -> None:
        self._slots.forget()
        self._doorbell.forget()


class _Section:
    """`with section:` is inside the guard; bells due are rung after it is left."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._store.begin_section()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.end_section()


def _note_fork() -> None:
    for store in _stores:
        store.note_fork()


os.register_at_fork(after_in_child=_note_fork)
