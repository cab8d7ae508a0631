"""Which processes sleep, and which to ring once the guard is left.

The sleep map has one byte per slot, changed inside the guard like everything else. A process looks for work and marks
itself asleep in one section, so it cannot miss work.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardq.shm import words as at
from shardq.shm.counters import none_queued
from shardq.shm.processes.bells import Bells
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment

_ASLEEP, _CALLED = bytes((at.ASLEEP,)), bytes((at.CALLED,))
_WAITING = b"\1"


class Sleepers:
    """Sleeping and waiting processes, and calling them. All methods want the guard held."""

    def __init__(self, segment: Segment, slots: Slots) -> None:
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._slots = slots
        self.bells = Bells(segment, slots)

    def sleep(self) -> None:
        """Say that this process sleeps: it will be rung when there is work."""
        if not self._words[self._slots.word(self._slots.mine) + at.SLOT_WORKER]:
            # It may be called and die before it acts on that. Of a worker's death its supervisor tells the others.
            self.make_known()
        self._bytes[self._layout.sleep_map + self._slots.mine] = at.ASLEEP

    def wake(self, *, others_sleep: bool) -> bool:
        """Say that this process is awake, unless others in it still sleep. Returns whether it was called."""
        place = self._layout.sleep_map + self._slots.mine
        called = self._bytes[place] == at.CALLED
        self._bytes[place] = at.ASLEEP if others_sleep else at.AWAKE
        return called

    def sleeps(self, slot: int) -> bool:
        """Whether the process in the slot sleeps, called or not."""
        return self._bytes[self._layout.sleep_map + slot] in (at.ASLEEP, at.CALLED)

    def above(self, slot: int = -1) -> Iterator[int]:
        """Slots of the sleeping processes above that slot, the lowest first. Then those of processes that were called
        and have not woken: the process that called them may have died before it rang.
        """
        start, end = self._layout.sleep_map, self._layout.sleep_map + self._layout.slots
        for state in (_ASLEEP, _CALLED):
            place = self._bytes.find(state, start + slot + 1, end)
            while place >= 0:
                if self._slots.occupied(place - start):
                    yield place - start
                else:
                    self._bytes[place] = at.ABSENT  # it was killed in its sleep
                place = self._bytes.find(state, place + 1, end)

    def call(self, slot: int) -> None:
        """Call this sleeping process."""
        self.bells.call(slot)

    def call_worker(self) -> None:
        """Call any sleeping process, to look at the clock."""
        for slot in self.above():
            self.call(slot)
            return

    def call_all(self) -> None:
        """Call all sleeping processes, to look again."""
        for slot in self.above():
            self.call(slot)

    def wake_all(self) -> None:
        """Have every process look again that sleeps or waits for anything, and the supervisor."""
        self.call_all()
        for byte_map in (self._layout.room_map, self._layout.quiet_map):
            self.ring_waiting(byte_map)
        if self.supervised():
            self.bells.add(self._words[at.SUPERVISOR_SLOT] - 1)

    def make_known(self) -> None:
        """At its first claim or sleep a process makes itself known, so that sleeping processes notice its death."""
        word = self._slots.word(self._slots.mine)
        if self._words[word + at.SLOT_SERVES]:
            return
        start = self._layout.sleep_map
        for slot, state in enumerate(self._bytes[start : start + self._layout.slots]):
            if state in (at.ASLEEP, at.CALLED):
                self.bells.add(slot)
        self._words[at.SERVERS] += 1
        # Last: where an exception cuts this short, the process does it all again.
        self._words[word + at.SLOT_SERVES] = 1

    def supervised(self) -> bool:
        """Whether a supervisor is there, which sets a timer for the first due time."""
        slot = self._words[at.SUPERVISOR_SLOT] - 1
        # The slot of a supervisor that ended may be another process's by now.
        its = slot >= 0 and self._words[self._slots.word(slot) + at.SLOT_PID] == self._words[at.SUPERVISOR_PID]
        return its and self._slots.occupied(slot)

    def call_timer(self, due_us: int) -> None:
        """The first due time is earlier now: have a process awake at that time."""
        if not self.supervised():
            self.call_worker()  # one sleeping process has to wake earlier
        elif not self._words[at.ARMED_US] or due_us < self._words[at.ARMED_US]:
            self._words[at.ARMED_US] = due_us  # for a later due time the supervisor need not be rung
            self.bells.add(self._words[at.SUPERVISOR_SLOT] - 1)

    def await_(self, byte_map: int) -> None:
        """Ask to be rung once: on quiet or on room, as the map says."""
        self._bytes[byte_map + self._slots.mine] = 1

    def messages_left(self) -> None:
        """Ring the processes that wait for room; and where nothing is queued any more, those that wait for that."""
        self.ring_waiting(self._layout.room_map)
        if none_queued(self._words):
            self.ring_waiting(self._layout.quiet_map)

    def ring_waiting(self, byte_map: int) -> None:
        """Ring the processes that asked for it in this map."""
        end = byte_map + self._layout.slots
        place = self._bytes.find(_WAITING, byte_map, end)
        while place >= 0:
            self._bytes[place] = 0
            self.bells.add(place - byte_map)
            place = self._bytes.find(_WAITING, place + 1, end)
