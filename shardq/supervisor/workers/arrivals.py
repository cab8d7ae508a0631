"""When a family serves: once its first workers have attached to the storage, so that a look at the storage shows them
all. And when it never will, because they cannot attach.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from shardq.supervised import LastSeen, Supervised
from shardq.supervisor.exits import Exit
from shardq.supervisor.workers.deaths import Death


class Arrivals:
    """Calls `tell` once the family serves. It does not wait for a worker that dies before it attaches, nor for one that
    cannot be forked now. `served`: whether the family served before, with its former code.
    """

    def __init__(self, storage: Supervised, tell: Callable[[], None], *, served: bool = False) -> None:
        self._storage = storage
        self._tell = tell
        self._told = False
        self._served = served
        self._awaited: set[int] | None = None
        """Pids of the first workers that have not attached yet; None: they are not forked yet."""

    def look(self, members: Collection[int]) -> None:
        """Called after workers were forked, and whenever one may have attached or ended. `members`: pids of all."""
        if self._told:
            return
        self._awaited = set(members) if self._awaited is None else self._awaited.intersection(members)
        self._awaited.difference_update(self._storage.arrived())
        if not self._awaited:
            self._told = True
            self._tell()

    def verdict(self, death: Death, seen: LastSeen, members: Collection[int]) -> Exit | None:
        """How the family has to end because a worker died; None: it goes on. What the system refused to the worker it
        may give to the next one. So only a family that has never served ends because of a refusal.
        """
        self._served = self._served or seen.attached or not set(members).isdisjoint(self._storage.arrived())
        if seen.attached:
            return None  # its exit code may come from a handler
        if death.at_boot:
            return Exit.BOOT
        return Exit.SEGMENT if death.refused and not self._served else None
