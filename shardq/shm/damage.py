"""Contents that no death can leave behind: another program wrote into the segment. One error says so.

Walks over words of the segment are bounded by what can exist, and each value found is checked before it is used. Where
a bad value slips through, an index that leads nowhere for instance, Python raises an error of its own: where a verb
leaves the guard, that is replaced by the one for damage.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from shardq.errors import SegmentForeign, ShardqError

#: How Python says that a number from the segment cannot be what it is used for.
_SIGNS = (
    ArithmeticError,
    AssertionError,
    IndexError,
    MemoryError,
    RuntimeError,
    StopIteration,
    ValueError,
    struct.error,
)
_SYSTEM_SIGNS = (errno.EINVAL, errno.EFBIG, errno.EFAULT)


def damaged(name: str, what: str) -> SegmentForeign:
    """The error to raise for the segment of that name."""
    return SegmentForeign(
        f"segment {name!r} is damaged: {what}; another program wrote into it: drain what can be read and destroy it"
    )


def damage_in(name: str, error: BaseException | None) -> SegmentForeign | None:
    """What to raise instead of an error that came out of a verb; None where it is no sign of damage."""
    if error is None or isinstance(error, ShardqError) or not _is_sign(error) or not _raised_here(error.__traceback__):
        return None
    return damaged(name, f"what was read from it led to {type(error).__name__}")


@contextmanager
def damage_told(name: str) -> Iterator[None]:
    """Raise `SegmentForeign` for signs of damage within."""
    try:
        yield
    except Exception as error:
        damage = damage_in(name, error)
        if damage is None:
            raise
        raise damage from error


def _is_sign(error: BaseException) -> bool:
    if isinstance(error, RecursionError):  # the caller's own stack is too deep: no walk over a segment recurs
        return False
    return isinstance(error, _SIGNS) or (isinstance(error, OSError) and error.errno in _SYSTEM_SIGNS)


def _raised_here(trace: TracebackType | None) -> bool:
    """Whether this package raised it, and not a callback that it called."""
    last = None
    while trace:
        last, trace = trace, trace.tb_next
    return last is not None and f"{last.tb_frame.f_globals.get('__package__')}.".startswith("shardq.shm.")
