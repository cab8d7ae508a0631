"""Files of the layouts before the fifth, which put `.lock` and `.bell.SLOT` behind a segment's name.

A segment NAME.lock could then be the lock file of NAME. Those files are still in use while such a segment exists.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

from shardq.errors import SegmentError, SegmentVersionError
from shardq.shm import words as at
from shardq.shm.files.lock_bytes import FIRST_SLOT_BYTE, holder_of
from shardq.shm.files.names import SHM_DIRECTORY, full_name, segment_path
from shardq.shm.files.own_files import open_own

_FIRST_OTHER_LAYOUT = 5
_VERSION = struct.Struct("QQ")
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def check_name(name: str) -> None:
    """Raise `SegmentVersionError` where a segment's file would be one of an earlier segment beside it."""
    match = re.fullmatch(r"(.+)\.(?:lock|bell\.\d+)", name)
    if match and is_earlier(match[1]):
        raise SegmentVersionError(
            f"{segment_path(full_name(name))} is a file of segment {match[1]!r}, which an earlier shardq made: drain "
            f"that with the shardq that made it, destroy it, or choose another name than {name!r}"
        )


def is_earlier(name: str) -> bool:
    """Whether the segment that has this name is of an earlier layout."""
    try:
        descriptor = os.open(segment_path(full_name(name)), os.O_RDONLY | _SAFELY)
        try:
            magic, version = _VERSION.unpack(os.read(descriptor, _VERSION.size))
        finally:
            os.close(descriptor)
    except (OSError, struct.error):
        return False
    return bool(magic == at.MAGIC_NUMBER) and 0 < version < _FIRST_OTHER_LAYOUT


def check_unused(name: str) -> None:
    """Raise `SegmentError` while a process is attached to an earlier segment."""
    try:
        descriptor = open_own(SHM_DIRECTORY / f"{full_name(name)}.lock")
    except FileNotFoundError:
        return
    try:
        pid = holder_of(descriptor, FIRST_SLOT_BYTE, 0)
    finally:
        os.close(descriptor)
    if pid is not None:
        raise SegmentError(
            f"segment {name!r}, which an earlier shardq made, is in use by process {pid}: end that first"
        )


def files_of(name: str) -> list[Path]:
    """The files that an earlier segment has beside it."""
    system_name = full_name(name)
    bells = [
        entry for entry in os.listdir(SHM_DIRECTORY) if re.fullmatch(rf"{re.escape(system_name)}\.bell\.\d+", entry)
    ]
    return [SHM_DIRECTORY / entry for entry in (*bells, f"{system_name}.lock")]
