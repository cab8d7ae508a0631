"""A system that refuses things, for real: processes by a limit of their number, descriptors by a limit of theirs."""

from __future__ import annotations

import ctypes
import os
import resource
import secrets
from contextlib import suppress
from itertools import count

import pytest

from tests.support.programs import Supervise

_PR_CAPBSET_DROP = 24
#: Those that are exempt from the limit of processes.
_CAP_SYS_ADMIN, _CAP_SYS_RESOURCE = 21, 24

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who has no other processes")


def limit_processes(most: int) -> None:
    """Before exec: let this process and its children be so many at most. It becomes a user who has no other ones, but
    for what it may do with files; the segment has the name that it has for that user.
    """
    libc = ctypes.CDLL(None)
    for capability in (_CAP_SYS_ADMIN, _CAP_SYS_RESOURCE):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    os.setresuid(1_000_000 + secrets.randbelow(1 << 28), 0, 0)


class NoDescriptors:
    """While entered, a running supervisor gets no further descriptors; nor do processes that it starts. With `reusable`
    it may use those again that it closes.
    """

    def __init__(self, program: Supervise, *, reusable: bool = False) -> None:
        self._pid = program.pid
        self._reusable = reusable
        self._former = resource.prlimit(self._pid, resource.RLIMIT_NOFILE)

    def __enter__(self) -> None:
        used = set(map(int, os.listdir(f"/proc/{self._pid}/fd")))
        first_free = next(number for number in count() if number not in used)
        # Whatever is open stays open.
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (first_free if self._reusable else 3, self._former[1]))

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(self._pid, resource.RLIMIT_NOFILE, self._former)
