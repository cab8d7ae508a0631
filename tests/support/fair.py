"""Threads that are never empty, for tests of who is served beside them. The folder is that of `tests.support.jobs`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from shardq import Handler, Route
from tests.support.jobs import Note, _write


class Endless(Handler[Note]):
    """Fills its thread again with every batch until there is a file `enough` in the folder. Says so the first time that
    a process serves it.
    """

    begun: ClassVar[set[int]] = set()

    @classmethod
    def route(cls, *notes: Note) -> list[Route]:
        return [Route(note.thread) for note in notes]

    def perform(self, *notes: Note) -> None:
        if notes[0].thread not in self.begun:
            self.begun.add(notes[0].thread)
            _write("flood", notes[0])
        if not Path(notes[0].folder, "enough").exists():
            self.queue.register_sync(Endless, *notes)
