"""Reaps orphans: the kernel gives each orphan to the first process of a container, and only that one can reap it."""

from __future__ import annotations

import os
from collections.abc import Container
from contextlib import suppress

from shardq.supervisor.workers.interpreter import started_by_modules

#: The process that orphans are given to.
_FIRST = 1


def inherits_orphans() -> bool:
    """Whether this process is the first one of its pid namespace."""
    return os.getpid() == _FIRST


def bury(known: Container[int]) -> None:
    """Reap all children that have ended, except `known` ones and those that modules started with `multiprocessing`: the
    code that started these reaps them itself.
    """
    others = started_by_modules()
    for pid in _dead_children():
        if pid not in known and pid not in others:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def _dead_children() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and _is_dead_child(name)]


def _is_dead_child(name: str) -> bool:
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]  # a program's name may have any bytes in it
    except OSError:
        return False
    return state == b"Z" and int(parent) == os.getpid()
