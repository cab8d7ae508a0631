"""Noticing the death of other processes without polling: one descriptor becomes readable when a serving process ends.

A process that sleeps on a segment watches all processes that have bound a thread of it. It also watches those that have
slept and may have been called to a thread. So a death wakes a sleeping process also where there is no supervisor. The
set of watched processes changes rarely; a counter in the header says when.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

from shardq.shm import words as at
from shardq.shm.files.refusals import told
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.system.descriptors import only_last_ones_left


class DeathWatch:
    """The processes that serve threads of a segment, as one descriptor."""

    def __init__(self, segment: Segment, slots: Slots) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._slots = slots
        self.seen = 0
        """What SERVERS said when it looked last which processes serve."""
        self.on_end: Callable[[int], object] = _nothing
        """Called with the owner word of each process that is seen to have ended."""
        self._lock = threading.RLock()
        self._ends: select.epoll | None = None
        self._watched: dict[int, int] = {}
        """Descriptors of processes by their owner words."""

    def open(self) -> int:
        """The descriptor to wait on. From any thread, outside the guard. Raises `SegmentUnavailable`."""
        with self._lock:
            if self._ends is None:
                with told(f"watch over the processes that serve segment {self._segment.name!r}"):
                    self._ends = select.epoll()
            return self._ends.fileno()

    def update(self) -> None:
        """Watch the processes that serve now. Wants the guard held. A process that begins to serve later rings all that
        sleep by then.
        """
        if self._words[at.SERVERS] == self.seen or self._ends is None:
            return
        with self._lock:
            self.seen = self._words[at.SERVERS]
            serving = {self._slots.owner_of(slot): slot for slot in self._serving()}
            for owner in self._watched.keys() - serving.keys():
                self._drop(owner)
            for owner in serving.keys() - self._watched.keys():
                self._add(owner, serving[owner])

    def clear(self) -> None:
        """Forget those that ended. Wants no guard: what it tells is each process's own affair."""
        with self._lock:
            if self._ends is None:
                return
            ended = {descriptor for descriptor, _ in self._ends.poll(0)}
            for owner in [owner for owner, descriptor in self._watched.items() if descriptor in ended]:
                self._drop(owner)
                self.on_end(owner)

    def close(self) -> None:
        """Close all descriptors; a forked child's copies are its own to close."""
        for descriptor in self._watched.values():
            os.close(descriptor)
        self._watched.clear()
        if self._ends is not None:
            self._ends.close()
            self._ends = None
        self.seen = 0

    def _serving(self) -> list[int]:
        """Slots of the other processes that serve."""
        first, behind = self._slots.word(0), self._slots.word(self._layout.slots)
        serves = self._words[first + at.SLOT_SERVES : behind : at.SLOT_WORDS].tolist()
        return [slot for slot, word in enumerate(serves) if word == 1 and slot != self._slots.mine]

    def _add(self, owner: int, slot: int) -> None:
        pid = self._slots.pid_here(slot)
        if not pid:
            return  # of another pid namespace, or gone: the safety net finds its threads
        with suppress(OSError):  # it is gone, or this process has no descriptor left: the safety net again
            descriptor = os.pidfd_open(pid)
            try:
                assert self._ends is not None
                # Else a later process has that pid, or only the last descriptors are left: the safety net has to do.
                if self._slots.pid_here(slot) == pid and not only_last_ones_left():
                    self._ends.register(descriptor, select.EPOLLIN)
                    self._watched[owner] = descriptor
            finally:
                if owner not in self._watched:
                    os.close(descriptor)

    def _drop(self, owner: int) -> None:
        # Closing alone would do, were there no forked child that has a copy.
        descriptor = self._watched.pop(owner)
        assert self._ends is not None
        self._ends.unregister(descriptor)
        os.close(descriptor)


def _nothing(_: int) -> None:
    pass
