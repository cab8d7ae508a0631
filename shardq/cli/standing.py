"""What is said of a storage whose content is elsewhere, or on its way."""

from __future__ import annotations

from shardq.protocols import Overviewed
from shardq.text.printable import printable


def standing_lines(view: Overviewed) -> list[str]:
    """A line, or none where all is as usual."""
    said = {
        "left": f"moved:    to {view.goes_to}, with all that was left: look there",
        "leaving": f"moving:   to {view.goes_to}; only batches in hand are still done here",
        "arriving": "moving:   here, from another storage; nothing is handed out before all of it is there",
    }
    return [printable(said[view.standing])] if view.standing in said else []
