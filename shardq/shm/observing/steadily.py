"""Taking what others may change meanwhile: copy it, look again at the words that would have moved, repeat where they
did. After some tries a look gives up.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import TypeVar

from shardq.shm.damage import damaged

_Found = TypeVar("_Found")

#: How often a look is repeated that found something moving.
TRIES = 16
#: How words tell that they lead nowhere: they are damaged, or were changed in the middle of a look.
NOWHERE = (ArithmeticError, IndexError, ValueError, OSError, struct.error)


class Moving(Exception):
    """It changed as often as it was looked at. Callers within this folder count it as missed."""


def steadily(name: str, look: Callable[[], _Found], watched: Callable[[], object]) -> _Found:
    """What `look` finds while `watched` stays the same; it may raise `Moving` itself. Raises `Moving`, and
    `SegmentForeign` for the segment of that name where nothing moves and what there is leads nowhere.
    """
    unmoved: Exception | None = None
    for _ in range(TRIES):
        before = watched()
        try:
            found = look()
        except Moving:
            unmoved = None
        except NOWHERE as error:
            unmoved = error if watched() == before else None
        else:
            if watched() == before:
                return found
            unmoved = None
        os.sched_yield()  # the process that changes it may wait for this core
    if unmoved:
        raise damaged(name, str(unmoved)) from unmoved
    raise Moving
