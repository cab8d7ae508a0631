"""How large a segment is that was given no capacity: a part of the memory that this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shardq.errors import SegmentNoRoom
from shardq.shm.files.names import SHM_DIRECTORY
from shardq.shm.files.refusals import told
from shardq.shm.words import SMALLEST_CAPACITY_BYTES

DEFAULT_CAPACITY_BYTES = 512 << 20
#: Files that say how much memory the processes of a control group may have, by the kind of its file system.
_LIMITS = {"cgroup2": ("memory.max", "memory.high"), "cgroup": ("memory.limit_in_bytes",)}


def default_capacity_bytes() -> int:
    """The least of 512 MiB, half of what /dev/shm has free, and half of what the control group may have: its processes
    need memory beside the segment, whose pages count as theirs. Raises `SegmentNoRoom` where no segment is so small.
    """
    with told(f"see how much room {SHM_DIRECTORY} has"):
        room = os.statvfs(SHM_DIRECTORY)
    free_bytes, limit = room.f_bavail * room.f_frsize, memory_limit_bytes()
    capacity_bytes = min(DEFAULT_CAPACITY_BYTES, free_bytes // 2, *([] if limit is None else [limit // 2]))
    if capacity_bytes < SMALLEST_CAPACITY_BYTES:
        # A limit that is larger does not matter, and one of the first kind that is none is a number of 19 digits.
        matters = limit is not None and limit <= free_bytes
        group = f", and the control group may have {limit} bytes of memory" if matters else ""
        raise SegmentNoRoom(
            f"there is too little memory for a segment, which has at least {SMALLEST_CAPACITY_BYTES} bytes and is to "
            f"leave as much: {SHM_DIRECTORY} has {free_bytes} bytes free{group}"
        )
    return capacity_bytes


def memory_limit_bytes(process: Path = Path("/proc/self")) -> int | None:
    """The least limit of memory of this process's control groups, of those above them too. None: there is none."""
    try:
        groups = dict(_groups(process))
        mounts = list(_mounts(process))
    except OSError:
        return None
    limits = [
        limit
        for kind, root, place in mounts
        if kind in groups
        for folder in _upwards(groups[kind], root, place)
        for file in _LIMITS[kind]
        if (limit := _limit(folder / file)) is not None
    ]
    return min(limits, default=None)


def _groups(process: Path) -> Iterator[tuple[str, str]]:
    """Which group the process is in, by the kind of file system: lines like `4:memory:/a/b`, `0::/a/b`."""
    for line in _lines(process / "cgroup"):
        number, controllers, group = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield "cgroup", group
        elif number == "0" and not controllers:
            yield "cgroup2", group


def _mounts(process: Path) -> Iterator[tuple[str, str, Path]]:
    """Where such file systems are mounted: kind, which group is the root of what is seen there, and the place."""
    for line in _lines(process / "mountinfo"):
        before, _, after = line.partition(" - ")
        root, place = before.split(" ")[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            yield kind, root, Path(place.replace(r"\040", " "))


def _lines(file: Path) -> Iterator[str]:
    """Names in it may be of any bytes, and have characters that end a line elsewhere."""
    return filter(None, file.read_text("utf-8", "surrogateescape").split("\n"))


def _upwards(group: str, root: str, place: Path) -> Iterator[Path]:
    """The folder of a group and those above it, as far as they can be seen from here."""
    inside = group.removeprefix(root.rstrip("/")).strip("/")
    folder = place / inside if ".." not in inside.split("/") else place
    while folder != place:
        yield folder
        folder = folder.parent
    yield place


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" is none
