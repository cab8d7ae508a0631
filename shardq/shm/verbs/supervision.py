"""The segment as its supervisor sees it: which process supervises it, which ones use it, when it may be removed. It
touches no messages.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import AbstractContextManager, suppress

from shardq.errors import SegmentBusy
from shardq.model import DIED, Died, Ending
from shardq.shm import words as at
from shardq.shm.counters import nothing_stored
from shardq.shm.gate import Gate
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.processes.slots import LEAVE_BYTE, SUPERVISOR_BYTE, Slots
from shardq.shm.segment import Segment

#: Longer than any processor keeps a store to itself.
_SETTLED_S = 0.002


class Supervision:
    """Taking and leaving a segment."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        doorbell: Doorbell,
        exit_log: ExitLog,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._slots = slots
        self._doorbell = doorbell
        self._exit_log = exit_log
        self._section = section
        self._gate = gate
        self._unnoticed = False
        """Whether this process supervises, and the sleeping processes do not watch it yet."""

    def become_supervisor(self, *, again: bool = False) -> bool:
        """Whether this process is now the one supervisor of the segment, until it ends. `again`: it was that before it
        executed itself anew.
        """
        if not self._slots.try_lock(SUPERVISOR_BYTE):
            return False
        self._gate.reopen()  # a supervisor may have died between closing and removing it
        self._words[at.SUPERVISOR_PID] = os.getpid()
        self._words[at.SUPERVISOR_SLOT] = self._slots.mine + 1
        self._words[at.WATCHED] = self._words[at.AWAITED] = self._words[at.ARMED_US] = 0
        for slot in range(self._layout.slots):
            # Only their supervisor could write down how these workers ended, and it is dead as well. This process has
            # still to find out about those that were its own, and that they had attached.
            if not again and self._field(slot, at.SLOT_WORKER) and not self._slots.occupied(slot):
                self._words[self._layout.slot_word(slot) + at.SLOT_WORKER] = 0
        self._unnoticed = True
        self.have_my_death_noticed()
        return True

    def ring_supervisor(self) -> None:
        """Have the supervisor look at its workers."""
        slot = self._words[at.SUPERVISOR_SLOT]
        if slot:
            self._doorbell.ring(slot - 1)

    def supervisor_pid(self) -> int:
        """Pid of the process that supervises the segment, or did so last."""
        return self._words[at.SUPERVISOR_PID]

    @property
    def private(self) -> bool:
        """Whether the segment ends with its supervisor, whatever is in it."""
        return bool(self._words[at.PRIVATE])

    def others(self) -> list[int]:
        """Slots of the other living processes that are attached."""
        return [slot for slot in range(self._layout.slots) if slot != self._slots.mine and self._slots.in_use(slot)]

    def other_pids(self) -> list[int]:
        """Their process ids."""
        return [self._slots.pid_of(slot) for slot in self.others()]

    def close_if_unused(self, *, lose_requests: bool = False) -> bool:
        """Accept nothing any more, provided that no other process is attached and nothing is queued, in hand, dead,
        deferred, recurrent or kept, no handler is paused, and no move has to do with it. With `lose_requests` it does
        not matter what is stored. Returns whether it closed.
        """
        with self._section:
            is_empty = nothing_stored(self._segment) and not self._words[at.PAUSED]
            if self.others() or not (lose_requests or (self._gate.may_go and is_empty)):
                return False
            self._gate.shut()
            return True

    def last_to_leave(self) -> bool:
        """As `close_if_unused`, provided also that there is no supervisor. Of several processes that ask, each waits
        until the one before has left. A process that gets False must leave then, so that the last one is alone.
        """
        self._slots.wait_for(LEAVE_BYTE)
        return self._slots.try_lock(SUPERVISOR_BYTE) and self.close_if_unused()

    def ring_sleepers(self) -> None:
        """Wake all sleepers to look for themselves, without the guard: for a supervisor that saw a death."""
        for slot in range(self._layout.slots):
            if self._bytes[self._layout.sleep_map + slot] in (at.ASLEEP, at.CALLED):
                self._doorbell.ring(slot)

    def note_death(self, pid: int, ending: Ending) -> tuple[bool, bool]:
        """Write down how a worker ended, for the process that finds what it had in hand. Returns whether it had come so
        far as to say that it is a worker, and whether it had a batch in hand.
        """
        slots = self._slots_of(pid)
        arrived = any(self._field(slot, at.SLOT_WORKER) for slot in slots)
        had_batch = any(self._field(slot, at.SLOT_BATCH_COUNT) for slot in slots)
        for slot in slots:
            self._exit_log.note(self._slots.owner_of(slot), ending)
            self._words[self._layout.slot_word(slot) + at.SLOT_WORKER] = 0
        return arrived, had_batch

    def count_death(self, how: Died) -> None:
        """Count that a worker died. Only the supervisor writes these words, so it takes no guard."""
        self._words[at.DIED + DIED.index(how)] += 1

    def excuse(self, pid: int) -> None:
        """Write down that a worker is ended on purpose: its batch in hand is not to blame. Called before the kill."""
        for slot in self._slots_of(pid):
            self._exit_log.note(self._slots.owner_of(slot), Ending(signal=signal.SIGKILL), excused=True)

    def condemn(self, pid: int) -> None:
        """Write down that a worker is ended because its batch takes too long. Called before the kill."""
        for slot in self._slots_of(pid):
            self._exit_log.note(self._slots.owner_of(slot), Ending(signal=signal.SIGKILL, timed_out=True))

    def deadlines(self) -> dict[int, int]:
        """When the batches in hand of living workers must be done, in nanoseconds of CLOCK_MONOTONIC, by pid. While
        this finds a batch with a deadline, workers that take further ones do not ring this process. Once it has found
        none, the next worker that takes such a batch rings it.
        """
        found = self._deadlines()
        if found or not self._words[at.WATCHED]:
            return found
        self._words[at.WATCHED] = 0
        # After this time the deadline of a worker that took a batch before it could see the 0 is visible here.
        time.sleep(_SETTLED_S)
        return self._deadlines()

    def renewals(self) -> list[int]:
        """Pids of the workers in this process's pid namespace that want to be replaced."""
        return [
            self._field(slot, at.SLOT_PID)
            for slot in range(self._layout.slots)
            if self._wants_renewal(slot) and self._slots.in_my_namespace(slot)
        ]

    def workers(self) -> list[int]:
        """Pids of all living processes that are some supervisor's workers."""
        return [
            self._field(slot, at.SLOT_PID)
            for slot in range(self._layout.slots)
            if self._field(slot, at.SLOT_WORKER) and self._slots.pid_here(slot)
        ]

    def have_my_death_noticed(self) -> None:
        """Have all sleeping processes watch this supervisor: they rely on its timer for messages that become due. Where
        another process does not leave the guard nothing happens; then this has to be called again later.
        """
        if not self._unnoticed:
            return
        with suppress(SegmentBusy):
            with self._section:
                word = self._layout.slot_word(self._slots.mine) + at.SLOT_SERVES
                if not self._words[word]:
                    self._words[at.SERVERS] += 1
                    self._words[word] = 1
            self._unnoticed = False
            self.ring_sleepers()

    def _deadlines(self) -> dict[int, int]:
        return {
            self._field(slot, at.SLOT_PID): deadline
            for slot in range(self._layout.slots)
            if (deadline := self._field(slot, at.SLOT_DEADLINE_NS))
            and self._field(slot, at.SLOT_WORKER)
            and self._slots.pid_here(slot)
        }

    def _wants_renewal(self, slot: int) -> bool:
        return self._field(slot, at.SLOT_RENEWAL) == 1 and self._field(slot, at.SLOT_WORKER) != 0

    def _slots_of(self, pid: int) -> list[int]:
        return [
            slot
            for slot in range(self._layout.slots)
            if self._field(slot, at.SLOT_PID) == pid and self._slots.in_my_namespace(slot)
        ]

    def _field(self, slot: int, field: int) -> int:
        return self._words[self._layout.slot_word(slot) + field]
