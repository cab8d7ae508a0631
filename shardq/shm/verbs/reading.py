"""Reading tubes, as a look: each verb is one guarded section and changes nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager

from shardq.model import EMPTY, Batch
from shardq.pages import PAGE_ITEMS, Page
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Fifos


class Reading:
    """Verbs that read tubes by their pipes. An unknown tube is an empty one."""

    def __init__(self, directory: Directory, fifos: Fifos, section: AbstractContextManager[None]) -> None:
        self._directory = directory
        self._fifos = fifos
        self._section = section

    def read(self, pipe: str, limit: int, after: int | None = None) -> Batch:
        """At most `limit` messages from the head of a tube, those in front of it first; with `after` those of the tube
        behind the message of that number.
        """
        with self._section:
            tubes, found = self._directory.tubes(pipe)[1], EMPTY
            if after is not None:
                return self._fifos.read_on(tubes[-1], limit, after) if tubes else EMPTY
            for tube in tubes:
                found = found.followed_by(self._fifos.read(tube, limit - found.count))
            return found

    def contains(self, pipe: str, message: bytes) -> bool:
        """Whether an equal message is in the tube, in hand or not."""
        with self._section:
            return any(self._fifos.contains(tube, message) for tube in self._directory.tubes(pipe)[1])

    def length(self, pipe: str) -> int:
        """How many messages the tube has, those in hand included."""
        with self._section:
            return sum(map(self._fifos.length, self._directory.tubes(pipe)[1]))

    def pipes(self, after: int | None = None, limit: int = PAGE_ITEMS) -> Page[str]:
        """Names of tubes that are not empty, of the threads behind `after`, without dead letters."""
        page = Page[str]()
        with self._section:
            for thread in self._directory.living(after):
                if len(page) >= limit:
                    return page
                its = self._directory.pipes_of(thread)
                page += [pipe for pipe, tubes in its if not all(map(self._fifos.is_empty, tubes))]
                page.after = thread
        page.after = None
        return page
