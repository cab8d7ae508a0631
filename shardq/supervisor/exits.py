"""Exit codes of `python -m shardq.supervise` and of its workers."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    """Drained, or stopped as asked.

    Next: nothing. Standard error says where something is left in the segment.
    """
    USAGE = 2
    """The command line or a setting cannot be used.

    Next: read the line on standard error, and `python -m shardq.supervise --help`.
    """
    BOOT = 3
    """A module does not import, a handler does not exist or cannot be served, or what `--init` names raised.

    Next: standard error has the traceback: `python -c 'import MODULE'` in the same directory shows the same.
    """
    RUNNING = 4
    """Another supervisor serves this segment.

    Next: `shardq status` shows its pid: stop that one, or serve another `--url`.
    """
    SEGMENT = 5
    """The segment cannot be created or attached to, or the system refuses what that takes: memory, address space,
    descriptors, a /dev/shm that can be written, files that are this user's alone. Or the server of the storage cannot
    be reached, or does not let this user in. A worker ends with it as well, and so does a supervisor if its first
    workers do.

    Next: the message names the limit, the file or the server: see `SegmentError`, `StorageUnavailable`,
    `StorageRefused`.
    """
    UNSERVED = 6
    """Drained as far as possible: what is left belongs to handlers that this supervisor does not serve, or that are
    paused.

    Next: `shardq tubes` shows what is left: serve its module too, `shardq resume` it, or `shardq park` it.
    """
    KILLED = 7
    """Stopped, but workers had to be killed at the deadline; the requests that they had in hand stay queued.

    Next: `shardq stack` shows next time where workers are: give `--shutdown-timeout` more, or handlers a `timeout_s`.
    """
    DEAD_LETTERS = 8
    """Drained, but some requests failed for good and are dead letters now. After 6 there may be new ones as well.

    Next: `shardq dead list` shows them: mend the handler, then `shardq dead requeue`.
    """
    MOVED = 9
    """What the storage held is elsewhere, or on its way there: a line of the log says where, and that is to be served.
    A worker that is told so first ends with it as well.

    Next: start it with the URL that standard error names.
    """
    WORKER_FAILED = 70
    """A worker process ended with an exception.

    Next: nothing, the supervisor replaces it; the log has the traceback.
    """
