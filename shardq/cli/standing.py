"""What `shardq status` says of a storage whose content is elsewhere, or on its way."""

from __future__ import annotations

from shardq.model import KEPT_PIPE, Standing
from shardq.protocols import Knowing
from shardq.text.printable import printable


async def standing_lines(storage: Knowing) -> list[str]:
    """A line, or none where all is as usual."""
    facts = await storage.facts(KEPT_PIPE)  # of each pipe it is the same
    to = facts.goes_to
    said = {
        Standing.LEFT: f"moved:    to {to}, with all that was left: look there",
        Standing.LEAVING: f"moving:   to {to}; only batches in hand are still done here",
        Standing.ARRIVING: "moving:   here, from another storage; nothing is handed out before all of it is there",
    }
    return [printable(said[facts.standing])] if facts.standing in said else []
