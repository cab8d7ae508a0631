"""Reasons that hold for each pipe of a storage."""

from __future__ import annotations

from shardq.model import PipeFacts, Standing
from shardq.reasons.reason import Reason


def whole(facts: PipeFacts) -> list[Reason]:
    """Where the storage itself hands out nothing, or no process can change it."""
    found = list[Reason]()
    to = facts.goes_to
    if facts.standing is Standing.LEFT:
        found.append(Reason("moved", f"The content of the storage was moved to {to}.", f"Ask there: --url {to}"))
    elif facts.standing is Standing.LEAVING:
        text = f"The content of the storage is being moved to {to}: only batches in hand are still done here."
        found.append(Reason("leaving", text, "Wait for `shardq move`; where it was cut off, give it again."))
    elif facts.standing is Standing.ARRIVING:
        text = "The content of another storage is being moved here: nothing is handed out before all of it is there."
        found.append(Reason("arriving", text, "Wait for `shardq move`; where it was cut off, give it again."))
    if facts.guard:
        text = f"No process can change the storage: {facts.guard}."
        found.append(Reason("guard", text, "Let that process go on (kill -CONT PID), or end it."))
    if facts.moving:
        text = "The thread changes faster than it can be looked at: its requests are being handled."
        found.append(Reason("moving", text, "Look again."))
    return found
