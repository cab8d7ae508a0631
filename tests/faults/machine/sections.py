"""The sections of the core in C: where they lie, and a core that was compiled for a test."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

import shardq._core
from shardq.shm.files.names import segment_path
from tests.faults.kit.scene import Scene
from tests.faults.machine.stepping import Marks

SOURCES = Path(shardq._core.__file__).parent
_NAME = "shardq._core.engine"


def marks() -> Marks:
    """Of the core that this process uses."""
    return Marks.of(ctypes.CDLL(sys.modules[_NAME].__file__), "shardq_section_begin", "shardq_section_end")


def teach(there: Scene) -> None:
    """Have the core of this process know all threads, tubes and handlers, and have places for what it counts: as after
    it appended to each tube and served each thread.
    """
    there.store.take_slot()
    parts = there.store._parts
    directory, core = parts.tubes.directory, parts.core
    core.learn_served(None, parts.tubes.handlers.served(None))
    for thread in directory.threads():
        parts.tubes.claims.tallies.accepted_in(thread, 0)
        core.learn_thread(thread, directory.name(thread))
        for pipe, tubes in directory.pipes_of(thread):
            core.learn(pipe, thread, tubes[-1])


def files_of(there: Scene) -> list[Path]:
    """What a section of the core changes: the segment, and the token of its guard."""
    path = segment_path(there.store.segment.system_name)
    return [path, path.with_name(f"sem.{path.name}")]


def build(directory: Path, sources: Path = SOURCES, options: Sequence[str] = ("-O2",)) -> Path:
    """Compile the core. Raises `AssertionError` with what the compiler says."""
    library = directory / f"engine{sysconfig.get_config_var('EXT_SUFFIX')}"
    strict = (
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fvisibility=hidden",
        "-fPIC",
        "-shared",
        f"-I{sysconfig.get_path('include')}",
    )
    done = subprocess.run(
        ("cc", *strict, *options, *sorted(map(str, sources.glob("*.c"))), "-lm", "-o", str(library)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return library


def use(library: Path) -> None:
    """Have this process use that core, and no other one that it may have loaded before."""
    loader = ExtensionFileLoader(_NAME, str(library))
    spec = importlib.util.spec_from_loader(_NAME, loader)
    assert spec
    engine = importlib.util.module_from_spec(spec)
    loader.exec_module(engine)
    sys.modules[_NAME] = engine
    shardq._core.engine = engine
