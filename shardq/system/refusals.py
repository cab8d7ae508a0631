"""What the system refuses this process, told with what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from shardq.errors import SegmentUnavailable

_ADVICE = {
    errno.EMFILE: "this process has as many files open as it may: let it close some, or raise `ulimit -n`",
    errno.ENFILE: "the machine has as many files open as it can: end some programs, or raise `fs.file-max`",
    errno.ENOMEM: "this process may not have so much address space: raise `ulimit -v`, or give less capacity",
    errno.EFBIG: "this process may not make a file so large: raise `ulimit -f`, or give less capacity",
}


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Raise `SegmentUnavailable` in place of what the system raises where it refuses what an event loop or a process
    needs. `what` is what was to be done.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise SegmentUnavailable(f"cannot {what}: {advice(error) or error}") from error


def advice(error: Exception) -> str | None:
    """What to do where the system refuses this process something that it gives others. None: there is no advice."""
    return _ADVICE.get(error_number(error))


def error_number(error: Exception) -> int:
    """The system's number of an error, 0 where it is not known."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return errno.EMFILE if "files open" in str(error) else 0
