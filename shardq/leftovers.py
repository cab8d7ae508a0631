"""What is left in a segment: figures for a log, words for who is asked what is to become of it."""

from __future__ import annotations

from typing import NamedTuple

from shardq.printable import counted
from shardq.shm.store import Store


class Leftovers(NamedTuple):
    """What would be lost with the segment. The names are those of the fields in a log."""

    queued: int
    dead_letters: int
    deferred: int
    recurrent: int

    @property
    def words(self) -> list[str]:
        """`3 requests`, `1 dead letter`: a text for each kind of which there are any."""
        kinds = {
            "request": self.queued,
            "deferred request": self.deferred,
            "recurrent request": self.recurrent,
            "dead letter": self.dead_letters,
        }
        return [counted(number, kind, f"{kind}s") for kind, number in kinds.items() if number]


def leftovers(store: Store) -> Leftovers:
    """What is left at this instant."""
    counts = store.counts()
    return Leftovers(counts.accepted - counts.handled, counts.dead, counts.deferred, counts.recurrent)
