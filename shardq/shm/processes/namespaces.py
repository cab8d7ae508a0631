"""Which process ids and clocks a process shares with others.

Containers can share a /dev/shm and still have process ids of their own, and clocks that are some time ahead.
"""

from __future__ import annotations

import os

_PROC = "/proc"
#: Flag of /proc/PID/stat: the kernel is ending the process. See proc(5) and the kernel's include/linux/sched.h.
_PF_EXITING = 0x4
_CLOCKS = ("monotonic", "boottime")


def pid_namespace() -> int:
    """A number of the name space to which this process's id belongs; 0 where /proc does not tell, or is that of another
    name space: then nothing can be found out about other processes by their ids.
    """
    try:
        if os.readlink(f"{_PROC}/self") != str(os.getpid()):
            return 0
        return os.stat(f"{_PROC}/self/ns/pid").st_ino
    except OSError:
        return 0


def clock_offsets_ns() -> tuple[int, int]:
    """How far CLOCK_MONOTONIC and CLOCK_BOOTTIME of this process are ahead of the machine's, in nanoseconds."""
    try:
        with open(f"{_PROC}/self/timens_offsets") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:  # a kernel without time name spaces, or no /proc
        return 0, 0
    offsets = {clock: int(seconds) * 10**9 + int(ns) for clock, seconds, ns in map(str.split, lines)}
    return offsets.get(_CLOCKS[0], 0), offsets.get(_CLOCKS[1], 0)


def start_ticks(pid: int, *, dying: bool = True) -> int | None:
    """When a process started, in clock ticks since boot. None where there is no such process, or only its corpse, or,
    unless `dying`, where it is about to become one. Raises `OSError` where no descriptor is left to read it with.
    """
    try:
        with open(f"{_PROC}/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat[stat.rindex(b")") + 2 :].split()
    if state in (b"Z", b"X") or (not dying and int(fields[5]) & _PF_EXITING):
        return None
    return int(fields[18])


def runs(pid: int) -> bool:
    """Whether there is a process of this number that is no corpse. Needs no descriptor, and cannot tell it from a later
    process of that number.
    """
    try:
        os.readlink(f"{_PROC}/{pid}/exe")
    except PermissionError:
        return True
    except OSError:
        return False
    return True
