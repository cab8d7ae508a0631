"""Reading tubes, as a look: each verb is one guarded section and changes nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager

from shardq.model import EMPTY, Batch
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Tubes


class Reading:
    """Verbs that read tubes by their pipes. An unknown tube is an empty one."""

    def __init__(self, directory: Directory, tubes: Tubes, section: AbstractContextManager[None]) -> None:
        self._directory = directory
        self._tubes = tubes
        self._section = section

    def read(self, pipe: str, limit: int) -> Batch:
        """At most `limit` messages from the head of a tube, those in front of it first."""
        with self._section:
            found = EMPTY
            for tube in self._directory.tubes(pipe)[1]:
                found = found.followed_by(self._tubes.read(tube, limit - found.count))
            return found

    def contains(self, pipe: str, message: bytes) -> bool:
        """Whether an equal message is in the tube, in hand or not."""
        with self._section:
            return any(self._tubes.contains(tube, message) for tube in self._directory.tubes(pipe)[1])

    def length(self, pipe: str) -> int:
        """How many messages the tube has, those in hand included."""
        with self._section:
            return sum(map(self._tubes.length, self._directory.tubes(pipe)[1]))

    def pipes(self) -> list[str]:
        """Names of the tubes that are not empty, without dead letters."""
        with self._section:
            return [
                pipe
                for thread in self._directory.threads()
                if not self._directory.apart(thread)
                for pipe, tubes in self._directory.pipes_of(thread)
                if not all(map(self._tubes.is_empty, tubes))
            ]
