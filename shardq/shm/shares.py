"""Whose slots are whose: some are kept for those who must find one however many programs are attached.

for everybody | for visitors | for the family
"""

from __future__ import annotations

from enum import IntEnum

#: Kept for a supervisor with the most workers there are, and for its successor.
FAMILY_SLOTS = 130
#: Kept for who looks in, or puts something right, for a moment.
VISITOR_SLOTS = 8
KEPT_SLOTS = FAMILY_SLOTS + VISITOR_SLOTS


class Share(IntEnum):
    """For what a process takes a slot. One for everybody will do for each of them."""

    GENERAL = 0
    VISITORS = 1
    FAMILY = 2


def slots_of(share: Share, slots: int) -> range:
    """The numbers of a share, of so many slots in all."""
    everybody = max(0, slots - KEPT_SLOTS)
    visitors = everybody + VISITOR_SLOTS
    return (range(everybody), range(everybody, visitors), range(visitors, slots))[share]
