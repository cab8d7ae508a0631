"""A lock that is independent of what is tested: a file that says who holds it. It may be left by the dead."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tests.faults.kit.fsck import runs


class TwoHolders(AssertionError):
    """Something was given to one while another that lives held it."""


def take_lock_file(folder: Path, key: str) -> Path:
    """Take the lock of this name; unlink the path to release it. Raises `TwoHolders`."""
    lock, mine = folder / f"lock-{key.replace('/', '-')}", folder / f"pid-{os.getpid()}"
    mine.write_text(str(os.getpid()))
    for _ in range(2):
        with suppress(FileExistsError):
            os.link(mine, lock)
            return lock
        holder = int(lock.read_text())
        if runs(holder):
            raise TwoHolders(f"{key} was given to {os.getpid()} while {holder} holds it")
        lock.unlink()
    raise TwoHolders(f"{key} was given to two at the same time")
