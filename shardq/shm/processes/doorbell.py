"""Waking a sleeping process: one named FIFO per slot, rung by writing a byte.

A FIFO works between processes that are no relatives, is an ordinary descriptor for any event loop, and coalesces by
itself. The sleeper opens it for reading and writing, so that it never reads end-of-file.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shardq.errors import SegmentError
from shardq.shm.files.names import bell_path
from shardq.shm.files.own_files import check_mode, open_own, unlink
from shardq.shm.files.pipes import write
from shardq.shm.files.refusals import told
from shardq.shm.segment import Segment
from shardq.system.descriptors import only_last_ones_left


class Doorbell:
    """This process's own bell, and the way to the others'."""

    def __init__(self, segment: Segment, slot: int) -> None:
        self._segment = segment
        self._slot = slot
        self._own = -1
        self._others: dict[int, int] = {}
        self.before_close: Callable[[int], object] = _nothing
        """Is told of each slot to whose bell the way is about to be closed."""
        # Rings come from any thread, outside the guard; reentrant for a signal handler that rings as well.
        self._lock = threading.RLock()

    def open(self) -> int:
        """Make this process's bell ring-able. Returns the descriptor to wait on. Raises `SegmentNoRoom`,
        `SegmentUnavailable`, `SegmentUntrusted`.
        """
        with self._lock:
            return self._open()

    def silence(self) -> None:
        """Take in all rings so far."""
        if self._own < 0:
            return
        try:
            while len(os.read(self._own, 4096)) == 4096:
                continue
        except BlockingIOError:
            return

    def ring(self, slot: int) -> bool:
        """Wake the process of a slot, if that can be done: returns whether it could. What it is to look at is in the
        segment already. So this raises nothing where the bell cannot be reached, for want of a descriptor for instance:
        the caller would take that for a refusal of its verb. A file in the place of a bell that is not this user's is
        not touched.
        """
        try:
            with self._lock:
                return self._ring(slot) if slot in self._others else self._ring_first(slot)
        except (OSError, SegmentError):
            return False

    def way_to(self, slot: int) -> int:
        """The descriptor by which another process's bell is rung, -1: none is open."""
        return self._others.get(slot, -1)

    def close(self) -> None:
        """Remove this process's FIFO and close all descriptors."""
        with self._lock:
            if self._own >= 0:
                unlink(self._path(self._slot))
            self.forget()

    def forget(self) -> None:
        """Close all descriptors; the FIFO stays, as it must for the parent of a forked child."""
        for slot in self._others:
            self.before_close(slot)
        descriptors, self._others, self._own = (*self._others.values(), self._own), {}, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                # Code that closes descriptors it does not know, as daemons do, may have closed this one.
                with suppress(OSError):
                    os.close(descriptor)

    def _open(self) -> int:
        if self._own < 0:
            path = self._path(self._slot)
            made = False
            with told(f"make {path}", path), suppress(FileExistsError):
                os.mkfifo(path, 0o600)
                made = True
                path.chmod(0o600)  # the umask may have taken some of it away
            try:
                self._own = self._opened(path, os.O_RDWR)
            except SegmentError:
                if made:
                    unlink(path)
                raise
        return self._own

    def _opened(self, path: Path, flags: int) -> int:
        descriptor = open_own(path, flags, stat.S_IFIFO)
        try:
            check_mode(path, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _ring_first(self, slot: int) -> bool:
        """As `_ring`, of a bell that is not open. It does not stay open where hardly a descriptor is left."""
        rung = self._ring(slot)
        with suppress(OSError):
            if slot in self._others and only_last_ones_left():
                self._close(slot)
        return rung

    def _ring(self, slot: int) -> bool:
        for _ in range(2):
            descriptor = self._descriptor(slot)
            try:
                write(descriptor, b"!")
            except BlockingIOError:
                return True  # full of rings that its process has not taken in yet
            except BrokenPipeError:
                # The slot's FIFO was made anew by a later process.
                self._close(slot)
                continue
            return True
        return False

    def _close(self, slot: int) -> None:
        """Close the way to another process's bell."""
        self.before_close(slot)
        os.close(self._others.pop(slot))

    def _descriptor(self, slot: int) -> int:
        if slot == self._slot:
            return self._open()
        if slot not in self._others:
            # Fails where no process has the FIFO open for reading.
            self._others[slot] = self._opened(self._path(slot), os.O_WRONLY)
        return self._others[slot]

    def _path(self, slot: int) -> Path:
        return bell_path(self._segment.system_name, slot)


def _nothing(_: int) -> None:
    pass
