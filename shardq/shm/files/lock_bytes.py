"""Record locks on bytes of a segment's lock file. One process has a byte at a time, and loses it when it dies.

The kernel would let a process wait for a byte without an end. But the process that has the byte may be stopped. So here
a waiting process gives up where another one keeps the byte for too long. The error names that one.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time

from shardq.errors import SegmentBusy

#: Byte of the lock file that is held while the segment is created or removed and while a process takes a slot.
REGISTER_BYTE = 0
#: Byte of the lock file that the process in slot 0 holds, and so on.
FIRST_SLOT_BYTE = 64
#: For how many seconds one process may keep a byte that others wait for. What it does meanwhile takes milliseconds.
PATIENCE_S = 3.0
_SHORTEST_NAP_S, _LONGEST_NAP_S = 0.0005, 0.01
#: struct flock of Linux on 64-bit machines: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")


def try_byte(descriptor: int, byte: int) -> bool:
    """Take a byte for this process, if no other has it. Raises `OSError`."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):
        return False
    return True


def take_byte(descriptor: int, byte: int, name: str, patience_s: float = PATIENCE_S) -> None:
    """Take a byte of the lock file of segment `name` once no other process has it. Waits as long as processes come and
    go; raises `SegmentBusy` where one of them keeps it for `patience_s` seconds, and `OSError`.
    """
    holder, since, nap_s = None, time.monotonic(), _SHORTEST_NAP_S
    while not try_byte(descriptor, byte):
        former, holder = holder, holder_of(descriptor, byte)
        if holder is None or holder != former:
            since = time.monotonic()
        elif time.monotonic() - since >= patience_s:
            raise SegmentBusy(
                f"segment {name!r} cannot be entered, left or removed now: {_named(holder)} is doing so, and is "
                f"stopped perhaps: let that go on (kill -CONT), or end it"
            )
        time.sleep(min(nap_s, patience_s))
        nap_s = min(2 * nap_s, _LONGEST_NAP_S)


def release_byte(descriptor: int, byte: int) -> None:
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)


def holder_of(descriptor: int, first: int, count: int = 1) -> int | None:
    """Pid of another process that holds one of these bytes of a lock file (0 bytes: all from there), 0 for one of
    another pid namespace. None: no process does.
    """
    question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, count, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    return None if kind == fcntl.F_UNLCK else int(pid)


def _named(pid: int) -> str:
    return f"process {pid}" if pid > 0 else "a process of another pid namespace"
