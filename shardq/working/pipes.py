"""The pipes of a thread, in the order in which a worker looks into them.

A handler lists its priorities, and `register` refuses others. A new version of the handler may list fewer, though,
while requests of a former priority are queued. These were accepted, so they are served too, after all that are listed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from shardq.model import ahead_of, plain
from shardq.pages import each
from shardq.protocols import Storage

log = logging.getLogger("shardq.worker")


class Pipes:
    """The pipes of one thread. `names` has two for each priority."""

    def __init__(self, key: str, priorities: Iterable[int]) -> None:
        self._key = key
        self.names: list[str] = []
        for priority in priorities:
            self._add(f"{key}/{priority}")

    async def find_unlisted(self, storage: Storage) -> None:
        """Add those of other priorities that have requests."""
        of_thread = {plain(pipe) async for pipe in each(storage.pipes) if pipe.rpartition("/")[0] == self._key}
        if found := sorted(of_thread.difference(self.names)):
            log.warning("the handler does not list the priority, it is served last", extra={"pipes": ", ".join(found)})
        for pipe in found:
            self._add(pipe)

    def _add(self, pipe: str) -> None:
        self.names += (ahead_of(pipe), pipe)
