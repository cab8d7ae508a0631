"""What the files of a segment are called.

In /dev/shm, for the segment NAME of the user UID:

    shardq-UID-NAME             the segment itself
    sem.shardq-UID-NAME         its semaphore; the C library puts `sem.` before
    shardq-UID-NAME:lock        its lock file
    shardq-UID-NAME:bell.SLOT   the FIFO of a process that waits

Users choose NAME, and no NAME contains a colon: so no file of a segment is ever called like one of another segment.
"""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

from shardq.errors import ConfigurationError, shown

SHM_DIRECTORY = Path("/dev/shm")
#: Characters of a segment's name.
LONGEST_NAME = 30


def full_name(name: str) -> str:
    """The name as the system knows it, with the user's id. Raises `ConfigurationError` for an impossible name."""
    if not isinstance(name, str) or not re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{LONGEST_NAME}}}", name):
        raise ConfigurationError(
            f"{shown(name)} cannot name a segment: use 1 to {LONGEST_NAME} letters, digits, dots, dashes or underscores"
        )
    # The effective user owns the files that are made: under `sudo` that is root.
    return f"shardq-{os.geteuid()}-{name}"


def segment_path(system_name: str) -> Path:
    return SHM_DIRECTORY / system_name


def semaphore_path(system_name: str) -> Path:
    return SHM_DIRECTORY / f"sem.{system_name}"


def lock_path(system_name: str) -> Path:
    return SHM_DIRECTORY / f"{system_name}:lock"


def bell_path(system_name: str, slot: int) -> Path:
    return SHM_DIRECTORY / f"{system_name}:bell.{slot}"


def bell_paths(system_name: str) -> list[Path]:
    """Paths of the FIFOs that there are."""
    prefix = f"{system_name}:bell."
    return [SHM_DIRECTORY / entry for entry in os.listdir(SHM_DIRECTORY) if entry.startswith(prefix)]


def names_with(prefix: str) -> list[str]:
    """Names of this user's segments that begin so."""
    own = full_name(prefix).removesuffix(prefix)
    entries = os.listdir(SHM_DIRECTORY)
    return [entry.removeprefix(own) for entry in entries if entry.startswith(own + prefix) and ":" not in entry]


def user(uid: int) -> str:
    """A user as messages name it."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (KeyError, OSError):
        return f"uid {uid}"


def other_users_of(name: str) -> list[str]:
    """Other users that have a segment of this name."""
    found = (re.fullmatch(r"shardq-(\d+)-(.*)", entry) for entry in os.listdir(SHM_DIRECTORY))
    return [user(int(match[1])) for match in found if match and match[2] == name and int(match[1]) != os.geteuid()]
