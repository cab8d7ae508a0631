"""How many cores this process can keep busy: those it may run on, within the quota of its control group.

A container that may use two cores of a machine with 64 sees all 64. The kernel stops its processes when they have used
up the time of two. That quota is in the files of its control group, of version 2 (`cpu.max`) or 1 (`cpu.cfs_quota_us`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple


def usable_cores(process: Path = Path("/proc/self")) -> int:
    """How many, at least 1. `process`: the folder in /proc that describes this process."""
    return max(1, min(_allowed_cores(), *_quotas(process)))


class _Mount(NamedTuple):
    """A mount with files of control groups."""

    point: Path
    root: PurePosixPath
    """The control group whose files are at `point`."""
    second: bool
    """Whether the files are of version 2."""


def _allowed_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        with suppress(OSError):
            return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(process: Path) -> list[int]:
    """Quotas of this process's control group and of those around it, in whole cores, rounded up. The last number stands
    for no quota.
    """
    found: list[int] = []
    with suppress(OSError, ValueError):
        groups = dict(_groups((process / "cgroup").read_text("utf-8", "surrogateescape")))
        for mount in _mounts((process / "mountinfo").read_text("utf-8", "surrogateescape")):
            group = groups.get(mount.second)
            found += [] if group is None else _quotas_of(mount, group)
    return [*found, 1 << 62]


def _groups(text: str) -> Iterator[tuple[bool, PurePosixPath]]:
    """The control group that bounds the processor, for version 2 (True) and 1."""
    for line in _lines(text):
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            yield not controllers, PurePosixPath(path)


def _mounts(text: str) -> Iterator[_Mount]:
    for line in _lines(text):
        # Fields in front of the dash: numbers, the root of the mount, its point, options; behind it: type, source.
        before, _, after = (part.split(" ") for part in line.partition(" - "))
        kind, _, options = after[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            yield _Mount(Path(_plain(before[4])), PurePosixPath(_plain(before[3])), kind == "cgroup2")


def _lines(text: str) -> Iterator[str]:
    """Names have characters that end a line or a word elsewhere, and a mount may have a source without a name."""
    return filter(None, text.split("\n"))


def _plain(path: str) -> str:
    """The kernel writes spaces and the like as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _quotas_of(mount: _Mount, group: PurePosixPath) -> list[int]:
    # A container may see the path of its group on the host, which is outside of the mount: then take the mount's root.
    inside = group.is_relative_to(mount.root) and ".." not in group.parts
    below = group.relative_to(mount.root) if inside else PurePosixPath()
    folders = [mount.point / part for part in (below, *below.parents)]
    return [cores for folder in folders if (cores := _quota_in(folder, second=mount.second)) is not None]


def _quota_in(folder: Path, *, second: bool) -> int | None:
    """The quota in a folder, in whole cores. None: there is none, or it cannot be read."""
    try:
        if second:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return None if quota == "max" or int(quota) < 0 else math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None
