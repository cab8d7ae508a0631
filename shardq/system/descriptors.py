"""How many file descriptors this process has left, and what the last ones are kept for.

A process that rings others or watches them is quicker with a descriptor for each of them, and works without. So the
last ones are not used for that. They are kept for the code of handlers and applications, for imports, and for short
looks into /proc.
"""

from __future__ import annotations

import fcntl
import resource

from shardq.errors import SegmentUnavailable

#: How many are kept for other uses.
KEPT = 8


def left(at_most: int) -> int:
    """How many descriptors this process may still open, counted up to `at_most`. Opens none."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return at_most
    free = 0
    for descriptor in range(limit - 1, -1, -1):  # the system gives out the lowest ones first
        if free == at_most:
            break
        free += not _is_open(descriptor)
    return free


def only_last_ones_left() -> bool:
    """Whether a descriptor that was just opened, and is not needed, should be closed again at once."""
    return left(KEPT) < KEPT


def check_left(needed: int, what: str, kept: int = KEPT) -> None:
    """Raise `SegmentUnavailable` where this process cannot open so many descriptors and still have `kept` ones left.
    `what` is what it needs them for.
    """
    found = left(needed + kept)
    if found < needed + kept:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise SegmentUnavailable(
            f"cannot {what}: this process may have {limit} files open and has {limit - found}, which leaves too few: "
            f"raise `ulimit -n` to at least {limit - found + needed + kept}"
        )


def _is_open(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_GETFD)
    except OSError:
        return False
    return True
