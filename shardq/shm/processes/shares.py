"""Which slots are for which processes: some are kept for those that must find one however many programs are attached.

general | for visitors | for the family
"""

from __future__ import annotations

from enum import IntEnum

#: Kept for a supervisor with the most workers there are, and for its successor.
FAMILY_SLOTS = 130
#: Kept for commands that look in, or put something right, for a moment.
VISITOR_SLOTS = 8
KEPT_SLOTS = FAMILY_SLOTS + VISITOR_SLOTS


class Share(IntEnum):
    """For what a process takes a slot. A general one will do for each of them."""

    GENERAL = 0
    VISITORS = 1
    FAMILY = 2


def slots_of(share: Share, slots: int) -> range:
    """The numbers of a share, of so many slots in all."""
    general = max(0, slots - KEPT_SLOTS)
    visitors = general + VISITOR_SLOTS
    return (range(general), range(general, visitors), range(visitors, slots))[share]
