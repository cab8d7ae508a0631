"""What is left in a segment: figures for a log, and words for messages that say what to do with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shardq.shm.store import Store
from shardq.text.wording import counted


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
        return [counted(number, kind) for kind, number in kinds.items() if number]


def leftovers(store: Store) -> Leftovers:
    """What is left at this instant. It needs no guard, so it works also while a process is stopped inside it."""
    view = store.inspection.overview()
    return Leftovers(view.queued, view.dead, view.deferred, view.recurrent)


def what_stays(url: str, targets: Sequence[str], left: Leftovers, pids: Sequence[int]) -> str:
    """Says why a segment stays when its supervisor ends, and what to do with it. It stays because something is left in
    it, or because these other processes are attached to it.
    """
    again = f"`python -m shardq.supervise {' '.join(targets)} --url {url}` goes on with it"
    if left.words:
        return f"{', '.join(left.words)} {'stays' if sum(left) == 1 else 'stay'} in {url}: {again}"
    users = counted(len(pids), "process", "processes")
    which = f" ({', '.join(map(str, pids))})" if pids else ""
    later = f"`python -m shardq destroy --url {url}` removes it afterwards"
    return f"{url} is empty and stays for {users}{which} attached to it: {again}, {later}"
