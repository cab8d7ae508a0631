"""What is left in a segment: figures for a log, words for who is asked what is to become of it."""

from __future__ import annotations

from typing import NamedTuple

from shardq.shm.store import Store


class Leftovers(NamedTuple):
    """What would be lost with the segment. The names are those of the fields in a log."""

    queued: int
    dead_letters: int
    deferred: int
    recurrent: int

    @property
    def words(self) -> list[str]:
        """`3 requests`, `1 dead letters`: a text for each kind of which there are any."""
        kinds = {
            "requests": self.queued,
            "deferred requests": self.deferred,
            "recurrent requests": self.recurrent,
            "dead letters": self.dead_letters,
        }
        return [f"{number} {kind}" for kind, number in kinds.items() if number]


def leftovers(store: Store) -> Leftovers:
    """What is left at this instant, also where somebody is stopped inside the guard."""
    view = store.inspection.overview()
    return Leftovers(view.queued, view.dead, view.deferred, view.recurrent)
