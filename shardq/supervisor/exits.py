"""Exit codes of `python -m shardq.supervise` and of its workers."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    """Drained, or stopped as asked."""
    USAGE = 2
    """The command line or a setting cannot be used."""
    BOOT = 3
    """A module does not import, a handler does not exist or cannot be served, or what `--init` names raised."""
    RUNNING = 4
    """Another supervisor serves this segment."""
    SEGMENT = 5
    """The segment cannot be created or attached to, or the system refuses what the supervisor or a worker needs; or the
    server of the storage cannot be reached when it starts, or does not let it in.
    """
    UNSERVED = 6
    """Drained as far as possible: what is left belongs to handlers that this supervisor does not serve, or that are
    paused."""
    KILLED = 7
    """Stopped, but workers had to be killed at the deadline; the requests that they had in hand stay queued."""
    DEAD_LETTERS = 8
    """Drained, but some requests failed for good: they are dead letters now."""
    MOVED = 9
    """What the storage held is elsewhere, or on its way there: a line of the log says where, and that is to be served.
    A worker that is told so first ends with it as well.
    """
    WORKER_FAILED = 70
    """A worker process ended with an exception."""
