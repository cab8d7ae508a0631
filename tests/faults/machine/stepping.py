"""Death after so many machine instructions: a forked child runs an operation under a tracer, which kills it there.

The instructions that count are those between two functions of the library under test, the marks: `tracer/` says how it
finds them. All else of the child runs at its own speed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.kit.points import Action, Child

TRACER = Path(__file__).with_name("tracer")
#: Whose single steps it knows.
MACHINES = ("x86_64", "aarch64")
#: More changes than this a section does not make.
_MOST_CHANGES = 1 << 16
_TRACE_ME = 0


class Marks(NamedTuple):
    """Addresses of the functions at which a section begins and ends: the same in a process and in its forks."""

    begin: int
    end: int
    low: int = 0
    high: int = 0
    """Where the code lies whose instructions count. Both 0: all count."""

    @classmethod
    def of(cls, library: ctypes.CDLL, begin: str, end: str) -> Marks:
        """Of these functions of a library that is loaded."""
        return cls(*(ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in (begin, end)))

    @property
    def own(self) -> Marks:
        """The same, where only instructions of the library count. They are as many each time. Those of others are not:
        a reading of the clock begins anew where it was interrupted.
        """
        code = _code_around(self.begin)
        return self._replace(low=code.start, high=code.stop)


class Stepped(NamedTuple):
    """What became of a child."""

    killed: bool
    """Whether it was killed in a section. Otherwise it came to its end before."""
    instructions: int
    """How many of its sections it carried out."""


class Stepper:
    """The tracer. `build` makes one."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._kill_after = library.shardq_kill_after
        self._kill_after.argtypes = (
            ctypes.c_int,
            *(ctypes.c_void_p,) * 4,
            ctypes.c_long,
            ctypes.POINTER(ctypes.c_long),
            ctypes.POINTER(ctypes.c_int),
        )
        self._interleave = library.shardq_interleave
        self._interleave.restype = ctypes.c_long
        self._interleave.argtypes = (
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_int),
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_uint64,
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_int),
        )
        self._changes = library.shardq_changes
        self._changes.restype = ctypes.c_long
        self._changes.argtypes = (
            ctypes.c_int,
            *(ctypes.c_void_p,) * 4,
            ctypes.POINTER(ctypes.c_int),
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_long),
            ctypes.c_long,
            ctypes.POINTER(ctypes.c_int),
        )

    @classmethod
    def build(cls, directory: Path) -> Stepper:
        """Compile the tracer into the directory, and load it."""
        return cls(ctypes.CDLL(str(compiled(directory / "tracer.so", *sorted(TRACER.glob("*.c"))))))

    def kill_after(self, instructions: int, marks: Marks, ready: Action, act: Action) -> Stepped:
        """Run `ready`, then `act`, in a child, and kill it after so many instructions of its sections.
        Raises `ChildFailed` where the child raises.
        """
        child = Child(_traced(ready, act))
        steps, status = ctypes.c_long(), ctypes.c_int()
        if not child.stopped():
            return Stepped(False, child.end())
        came_to = self._kill_after(child.pid, *marks, instructions, ctypes.byref(steps), ctypes.byref(status))
        if came_to < 0:
            child.kill()
            raise OSError(f"the tracer lost its child after {steps.value} instructions")
        child.was_waited_for(status.value)
        return Stepped(came_to == 1, steps.value)

    def interleave(self, marks: Marks, acts: Sequence[Action], seed: int, kills: int) -> list[Any]:
        """Run each of `acts` in a child of its own. A draw says after which instructions of its sections another one
        goes on, and which ones are killed there, at most so many. Returns what they returned, None of those that were
        killed. Raises `ChildFailed` where a child raises.
        """
        children = [Child(_traced(lambda: None, act)) for act in acts]
        assert all(child.stopped() for child in children)
        pids, statuses = ((ctypes.c_int * len(acts))() for _ in range(2))
        pids[:] = [child.pid for child in children]
        if self._interleave(len(acts), pids, marks.begin, marks.end, seed, kills, statuses) < 0:
            for child in children:
                child.kill()
            raise OSError("the tracer lost one of its children")
        return [child.was_waited_for(status) for child, status in zip(children, statuses, strict=True)]

    def count(self, marks: Marks, ready: Action, act: Action) -> int:
        """Of how many instructions the sections of `act` consist. Raises `ChildFailed` where the child raises."""
        return self.kill_after(1 << 62, marks, ready, act).instructions

    def changes(self, files: Sequence[Path], marks: Marks, ready: Action, act: Action) -> list[int]:
        """After how many instructions of its sections the child has changed one of these files: to die between two of
        them leaves the same. Raises `ChildFailed` where the child raises.
        """
        child = Child(_traced(ready, act))
        status = ctypes.c_int()
        found = (ctypes.c_long * _MOST_CHANGES)()
        with ExitStack() as opened:
            descriptors = [opened.enter_context(file.open("rb", buffering=0)).fileno() for file in files]
            watched = (ctypes.c_int * len(files))(*descriptors)
            if not child.stopped():
                child.end()
                return []
            count = self._changes(child.pid, *marks, watched, len(files), found, _MOST_CHANGES, ctypes.byref(status))
        if count < 0:
            child.kill()
            raise OSError("the tracer lost its child")
        child.was_waited_for(status.value)
        assert count < _MOST_CHANGES, "there are more changes than are written down"
        return found[:count]


def why_not() -> str:
    """Why nothing can be stepped through here; empty where it can."""
    if platform.machine() not in MACHINES:
        return f"single steps are known for {' and '.join(MACHINES)}, not for {platform.machine()}"
    if shutil.which("cc") is None:
        return "there is no C compiler: on Debian, apt-get install gcc"
    if not _may_trace():
        return "this system forbids ptrace(PTRACE_TRACEME)"
    return ""


def compiled(library: Path, *sources: Path) -> Path:
    """A shared library of C sources. Raises `AssertionError` with what the compiler says."""
    words = ("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", *map(str, sources), "-o", str(library))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


def _code_around(address: int) -> range:
    """The mapping of code in which the address lies."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(bound, 16) for bound in line.split()[0].split("-"))
        if address in range(start, end):
            return range(start, end)
    raise LookupError(f"no mapping has {address:#x}")


def _traced(ready: Action, act: Action) -> Action:
    """A function for a child: `ready`, then it stops itself until its tracer has it go on with `act`."""

    def run() -> None:
        ready()
        _trace_me()
        os.kill(os.getpid(), signal.SIGSTOP)
        act()

    return run


def _trace_me() -> None:
    if ctypes.CDLL(None, use_errno=True).ptrace(_TRACE_ME, 0, None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace(PTRACE_TRACEME)")


def _may_trace() -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            _trace_me()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0
