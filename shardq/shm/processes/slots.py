"""Which processes are attached to a segment, and whether they are alive.

Each process owns one slot, marked by a kernel record lock on the slot's byte of the lock file, held for life. The
kernel keeps the lock while the process is stopped and drops it at death, also while the corpse waits to be reaped; a
forked child does not inherit it. The lock is lost, though, if the process closes *any* descriptor of that file. So
there is one descriptor per process and segment, and a free lock counts as death only if in the same pid namespace no
live process has that pid and those start ticks. Of a process of another pid namespace the lock alone tells.

A dying process loses its locks first and becomes a corpse some time later. In between it runs none of its own
instructions, so it uses the segment no more. But only a corpse has given back all that it held elsewhere (locks on
other files, ports). So its claims are handed on only once it is a corpse.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, filterfalse

from shardq.errors import SegmentForeign, SegmentMissing, SlotsExhausted
from shardq.shm import words as at
from shardq.shm.files import lock_bytes
from shardq.shm.files.lock_bytes import FIRST_SLOT_BYTE, PATIENCE_S, REGISTER_BYTE, holder_of
from shardq.shm.files.own_files import open_lock_file
from shardq.shm.files.refusals import told
from shardq.shm.processes.namespaces import pid_namespace, runs, start_ticks
from shardq.shm.processes.shares import Share, slots_of
from shardq.shm.segment import Segment
from shardq.text.wording import counted

# Bytes of the lock file, beside the one that `files` uses. The slots' come last because their number is the segment's.
SUPERVISOR_BYTE = 1
RESCUE_BYTE = 2
LEAVE_BYTE = 3


class Slots:
    """This process's slot, and its view of the others'."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._descriptor = -1
        self._observes = False
        self._namespace: int | None = None
        """That of this process, while many slots are looked at."""
        self.mine = -1
        self.identity = 0
        """incarnation << 16 | slot + 1: what owner words hold while they are mine."""

    def enter(self, share: Share = Share.GENERAL, patience_s: float = PATIENCE_S) -> None:
        """Take a free or a dead process's slot: a general one, else one that is kept for this share. Raises
        `SlotsExhausted`, `SegmentBusy` where another process is stopped while it takes one, for `patience_s`, and
        `SegmentMissing`.
        """
        name = self._segment.name
        self._descriptor = open_lock_file(name)
        try:
            # The lock file is the last to go, so it is this segment's as long as that has its name.
            if self._segment.removed:
                raise SegmentMissing(f"segment {name!r} was removed just now: create it again")
            with told(f"take a slot of segment {name!r}"):
                lock_bytes.take_byte(self._descriptor, REGISTER_BYTE, name, patience_s)
                try:
                    self._take_slot(share)
                finally:
                    self.unlock(REGISTER_BYTE)
        except BaseException:
            self.forget()
            raise

    def observe(self, descriptor: int | None = None) -> None:
        """See which processes live, without a slot. `descriptor`: one of the lock file that is open already."""
        self._descriptor = open_lock_file(self._segment.name, flags=os.O_RDONLY) if descriptor is None else descriptor
        self._observes = True

    def resume(self, descriptor: int, slot: int) -> None:
        """Go on with the slot that this very process had before it executed itself anew; it kept the descriptor, and
        with it the locks. Raises `SegmentForeign`.
        """
        word = self.word(slot)
        if self._words[word + at.SLOT_PID] != os.getpid():
            raise SegmentForeign(
                f"slot {slot} of segment {self._segment.name!r} is not this process's: start it afresh"
            )
        os.set_inheritable(descriptor, False)
        self._descriptor, self.mine = descriptor, slot
        self.identity = self.owner_of(slot)

    @property
    def descriptor(self) -> int:
        """The descriptor of the lock file. Closing it, or any other descriptor of that file, gives the slot up."""
        return self._descriptor

    def leave(self) -> None:
        """Give the slot back. The process's other locks on the file go with it."""
        self._segment.bytes[self._layout.sleep_map + self.mine] = at.ABSENT
        self._words[self.word(self.mine) + at.SLOT_PID] = 0
        os.close(self._descriptor)
        self.mine, self.identity = -1, 0

    def forget(self) -> None:
        """Drop the lock file. What a forked child inherited stays its parent's: record locks do not cross a fork."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def word(self, slot: int) -> int:
        return self._layout.slot_word(slot)

    def try_lock(self, byte: int) -> bool:
        """Take a byte of the lock file for this process, if no other process has it."""
        return lock_bytes.try_byte(self._descriptor, byte)

    def wait_for(self, byte: int, patience_s: float = PATIENCE_S) -> None:
        """Take a byte of the lock file once no other process has it. Raises `SegmentBusy`."""
        lock_bytes.take_byte(self._descriptor, byte, self._segment.name, patience_s)

    def unlock(self, byte: int) -> None:
        lock_bytes.release_byte(self._descriptor, byte)

    def alive(self, owner: int) -> bool:
        """Whether the process behind an owner word still lives. It counts as alive however long it is stopped."""
        if owner == self.identity:
            return True
        slot, incarnation = (owner & 0xFFFF) - 1, owner >> 16
        if not 0 <= slot < self._layout.slots:
            return False
        if self._words[self.word(slot) + at.SLOT_INCARNATION] != incarnation:
            return False
        return self.occupied(slot)

    def occupied(self, slot: int) -> bool:
        """Whether a live process holds the slot."""
        if slot == self.mine or holder_of(self._descriptor, FIRST_SLOT_BYTE + slot) is not None:
            return True
        return self._same_process_lives(slot)

    def in_use(self, slot: int) -> bool:
        """Whether a live process holds the slot that may still touch the segment: not one that is dying."""
        if slot == self.mine or holder_of(self._descriptor, FIRST_SLOT_BYTE + slot) is not None:
            return True
        return self._same_process_lives(slot, dying=False)

    def owner_of(self, slot: int) -> int:
        """The owner word of the process that holds the slot now."""
        return self._words[self.word(slot) + at.SLOT_INCARNATION] << 16 | slot + 1

    def in_my_namespace(self, slot: int) -> bool:
        """Whether the process of the slot is in this process's pid namespace, so that its pid is valid here."""
        mine = pid_namespace() if self._namespace is None else self._namespace
        return self._words[self.word(slot) + at.SLOT_PID_NAMESPACE] == (mine or -1)

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Look at many slots. The pid namespace of this process is read once for all of them: not more seldom, since
        what /proc tells may change.
        """
        self._namespace = pid_namespace()
        try:
            yield
        finally:
            self._namespace = None

    def pid_of(self, slot: int) -> int:
        """Pid of the live process that holds the slot, there where it counts. While a process takes a slot, the former
        one's stands there, so the kernel is asked first.
        """
        return holder_of(self._descriptor, FIRST_SLOT_BYTE + slot) or self._words[self.word(slot) + at.SLOT_PID]

    def pid_here(self, slot: int) -> int:
        """Pid of the live process that holds the slot, 0 where there is none, or none that this one can see. One that
        is dying still counts: its end can be waited for.
        """
        return self._words[self.word(slot) + at.SLOT_PID] if self._same_process_lives(slot) else 0

    def _take_slot(self, share: Share) -> None:
        slots = self._layout.slots
        shares = (Share.GENERAL,) if share == Share.GENERAL else (Share.GENERAL, share)
        if not any(self._take_one_of(slots_of(one, slots)) for one in shares):
            count = sum(len(slots_of(one, slots)) for one in shares)
            raise SlotsExhausted(
                f"segment {self._segment.name!r} has {counted(count, 'general slot')}, and each is taken by a process "
                f"that is attached: let some close it, or create it with more (SharedStorage.create(name, slots=...)); "
                f"others are kept for its supervisor and workers"
            )

    def _take_one_of(self, slots: range) -> bool:
        # Slots of dead workers last: their supervisor has still to read there which worker ended.
        for slot in chain(filterfalse(self._was_a_worker, slots), slots):
            if not self.try_lock(FIRST_SLOT_BYTE + slot):
                continue
            if self._same_process_lives(slot):
                self.unlock(FIRST_SLOT_BYTE + slot)
                continue
            self._settle(slot)
            return True
        return False

    def _was_a_worker(self, slot: int) -> bool:
        word = self.word(slot)
        return self._words[word + at.SLOT_PID] != 0 and self._words[word + at.SLOT_WORKER] != 0

    def _settle(self, slot: int) -> None:
        word = self.word(slot)
        # The incarnation comes before the pid: until then everything of the former holder counts as dead.
        self._words[word + at.SLOT_INCARNATION] += 1
        self._words[word + at.SLOT_ATTEMPT] = (self._words[word + at.SLOT_ATTEMPT] >> 16) + 1 << 16
        for field in range(at.SLOT_BATCH_SINCE_NS, at.SLOT_WORDS):
            self._words[word + field] = 0
        self._words[word + at.SLOT_START_TICKS] = start_ticks(os.getpid()) or 0
        self._words[word + at.SLOT_PID_NAMESPACE] = pid_namespace()
        self._words[word + at.SLOT_PID] = os.getpid()
        for byte_map in (self._layout.sleep_map, self._layout.quiet_map, self._layout.room_map):
            self._segment.bytes[byte_map + slot] = 0
        self._segment.bytes[self._layout.sleep_map + slot] = at.AWAKE
        self.mine = slot
        self.identity = self.owner_of(slot)

    def _same_process_lives(self, slot: int, *, dying: bool = True) -> bool:
        word = self.word(slot)
        pid = self._words[word + at.SLOT_PID]
        if pid == 0 or not self.in_my_namespace(slot):
            return False
        if pid == os.getpid() and not self._observes:
            return False  # a former process had this one's pid, or this one had that slot
        try:
            return start_ticks(pid, dying=dying) == self._words[word + at.SLOT_START_TICKS]
        except OSError:  # this process has no descriptor left to read it with
            return runs(pid)
