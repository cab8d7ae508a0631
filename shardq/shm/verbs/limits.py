"""What a segment could never store, whatever is in it."""

from __future__ import annotations

from collections.abc import Sequence

from shardq.model import Part
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Tubes


class Limits:
    """Neither needs a slot nor enters the guard."""

    def __init__(self, directory: Directory, tubes: Tubes) -> None:
        self._directory = directory
        self._tubes = tubes

    def check(self, parts: Sequence[Part]) -> None:
        """Raise what appending would always raise for these messages. Waits for no other process."""
        for pipe, messages in parts:
            self._directory.check_name(pipe)
            self._tubes.check_size(messages)
