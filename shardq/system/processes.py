"""What the system tells of a process: whether it is stopped, its memory, its age, and its parent."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from shardq.lazy import Lazy

if TYPE_CHECKING:
    import psutil
else:
    psutil = Lazy("psutil")


class Memory(NamedTuple):
    """Memory that a process has in use, in bytes."""

    resident: int
    shared: int
    """How much of it may be used by other processes, too: files and shared segments."""


class Glance(NamedTuple):
    """What one read tells of a process."""

    stopped: bool
    """As `is_stopped` says."""
    resident: int
    """As `memory` says."""


def pid_namespace() -> str:
    """Where the pids of this process count: the same text for the processes of one pid namespace, until the machine
    boots again. Empty where the system does not tell.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def glance(pid: int) -> Glance:
    """For those who look at many processes. Raises as `is_stopped` does. Needs /proc."""
    try:
        state, *fields = _stat(pid)
    except FileNotFoundError as error:
        raise ProcessLookupError(f"there is no process {pid}") from error
    if state in ("Z", "X"):
        raise ProcessLookupError(f"process {pid} has ended")
    return Glance(state in ("T", "t"), int(fields[20]) * os.sysconf("SC_PAGE_SIZE"))


def is_stopped(pid: int) -> bool:
    """Whether the process does not run until it is told to, by a signal or by a debugger. Raises `ProcessLookupError`
    where there is no such process, and `OSError` where the system refuses the look.
    """
    with _refusals_told():
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


def memory(pid: int) -> Memory:
    """Raises as `is_stopped` does."""
    with _refusals_told():
        found = psutil.Process(pid).memory_info()
        return Memory(found.rss, found.shared)


def age_s(pid: int) -> float:
    """How long the process has been there, seconds. 0 where the system does not say."""
    try:
        words = _stat(pid)
    except OSError:
        return 0.0
    started_s = int(words[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)


def parent(pid: int) -> int:
    """Pid of the parent of a process; 0 where there is no such process."""
    try:
        return int(_stat(pid)[1])
    except OSError:
        return 0


def _stat(pid: int) -> list[str]:
    """The words of /proc/PID/stat from the third one on: the state comes first. See proc(5)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].decode().split()


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except ImportError as error:  # no descriptor was left to find it with
        raise OSError(str(error)) from error
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(str(error)) from error
    except psutil.Error as error:
        raise OSError(str(error)) from error
