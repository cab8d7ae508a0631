"""What the kernel tells of a process in /proc: whether it is stopped, and its memory."""

from __future__ import annotations

import os
from typing import NamedTuple

#: Letters of the states in which a process does not run until it is told to: by a signal, and by a debugger.
_STOPPED = "Tt"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Memory(NamedTuple):
    """Memory that a process has in use, in bytes."""

    resident: int
    shared: int
    """How much of it may be used by other processes, too: files and shared segments."""


def is_stopped(pid: int) -> bool:
    """Raises `ProcessLookupError` where there is no such process, and `OSError` where the system refuses the look."""
    # The name of the program is in brackets before the state, and may have brackets and spaces itself.
    return _read(pid, "stat").rpartition(") ")[2][:1] in _STOPPED


def memory(pid: int) -> Memory:
    """Raises as `is_stopped` does."""
    _, resident, shared, *_ = map(int, _read(pid, "statm").split())
    return Memory(resident * _PAGE_BYTES, shared * _PAGE_BYTES)


def _read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        raise ProcessLookupError(f"there is no process {pid}") from None
