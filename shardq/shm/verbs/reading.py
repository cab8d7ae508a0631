"""Reading tubes, as a look: each verb is one guarded section and changes nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager

from shardq.model import EMPTY, Batch
from shardq.shm.tubes.directory import NOT_FOUND, Directory
from shardq.shm.tubes.fifo import Tubes


class Reading:
    """Verbs that read tubes by their pipes. An unknown tube is an empty one."""

    def __init__(self, directory: Directory, tubes: Tubes, section: AbstractContextManager[None]) -> None:
        self._directory = directory
        self._tubes = tubes
        self._section = section

    def read(self, pipe: str, limit: int) -> Batch:
        """At most `limit` messages from the head of a tube."""
        with self._section:
            _, tube = self._directory.tube(pipe)
            return EMPTY if tube == NOT_FOUND else self._tubes.read(tube, limit)

    def contains(self, pipe: str, message: bytes) -> bool:
        """Whether an equal message is in the tube, in hand or not."""
        with self._section:
            _, tube = self._directory.tube(pipe)
            return tube != NOT_FOUND and self._tubes.contains(tube, message)

    def length(self, pipe: str) -> int:
        """How many messages the tube has, those in hand included."""
        with self._section:
            _, tube = self._directory.tube(pipe)
            return 0 if tube == NOT_FOUND else self._tubes.length(tube)

    def pipes(self) -> list[str]:
        """Names of the tubes that are not empty, without dead letters."""
        with self._section:
            return [
                pipe
                for thread in self._directory.threads()
                if not self._directory.apart(thread)
                for pipe, tube in self._directory.pipes_of(thread)
                if not self._tubes.is_empty(tube)
            ]
