"""The sections of the core in C: where they lie, what they need to be gone through, and what they change."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from shardq.shm.files.names import segment_path
from shardq.shm.store import Store
from tests.faults.kit.scene import Scene
from tests.faults.machine.stepping import Marks
from tests.support.compiled_core import NAME


def marks() -> Marks:
    """Of the core that this process uses."""
    return Marks.of(ctypes.CDLL(sys.modules[NAME].__file__), "shardq_section_begin", "shardq_section_end")


def teach(store: Store, *, threads: bool = True) -> None:
    """Have the core of this process know all handlers, and have places for what it counts; and `threads`: know all
    threads and tubes, as after it appended to each tube and served each thread.
    """
    store.take_slot()
    parts = store._parts
    directory, core = parts.tubes.directory, parts.core
    core.learn_served(None, parts.tubes.handlers.served(None))
    for thread in directory.threads():
        parts.tubes.claims.tallies.accepted_in(thread, 0)
        if not threads:
            continue
        core.learn_thread(thread, directory.name(thread))
        for pipe, tubes in directory.pipes_of(thread):
            core.learn(pipe, thread, tubes[-1])


def files_of(there: Scene) -> list[Path]:
    """What a section of the core changes: the segment, and the token of its guard."""
    path = segment_path(there.store.segment.system_name)
    return [path, path.with_name(f"sem.{path.name}")]
