"""The priorities of a thread, in the order in which a worker looks into them.

A handler lists its priorities, and `register` refuses others. A new version of the handler may list fewer, though,
while requests of a former priority are queued. These were accepted, so they are served too, after all that are listed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from shardq.model import key_of, priority_of
from shardq.pages import each
from shardq.protocols import Storage

log = logging.getLogger("shardq.worker")


class Priorities:
    """The priorities of one thread that a worker serves: `served`."""

    def __init__(self, key: str, listed: Iterable[int]) -> None:
        self._key = key
        self.served = tuple(listed)

    async def find_unlisted(self, storage: Storage) -> None:
        """Add those that have requests and are not listed, the lowest number first."""
        found = {priority_of(pipe): pipe async for pipe in each(storage.pipes) if key_of(pipe) == self._key}
        unlisted = sorted(found.keys() - set(self.served))
        if unlisted:
            pipes = ", ".join(found[priority] for priority in unlisted)
            log.warning("the handler does not list the priority, it is served last", extra={"pipes": pipes})
        self.served += tuple(unlisted)
