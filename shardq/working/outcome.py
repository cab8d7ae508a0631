"""How a batch ends for the stay that handled it."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from shardq.model import Batch, Hand


class Done(Struct, frozen=True):
    """The batch left its tube, and the stay goes on."""

    # A Struct, since one is made for each batch: a NamedTuple takes 0.4 us, this 0.06 us.

    buried: int = 0
    """How many of its requests became dead letters instead."""
    more: Batch | None = None
    """What the storage handed out of the thread in the same step. None: it was not asked."""


class Leave(NamedTuple):
    """The worker has to release the thread, with what is in it."""

    pause_s: float = 0.0
    """For how long no worker should come back to the thread."""
    for_room: bool = False
    """Whether the thread got no further for lack of room. It rests longer each time in a row."""


class MovedOn(NamedTuple):
    """The storage released the thread, in the step that acknowledged the batch or later."""

    hand: Hand | None
    """The thread that it claimed instead, if any."""


Outcome = Done | Leave | MovedOn
#: How a stay ends.
End = Leave | MovedOn
