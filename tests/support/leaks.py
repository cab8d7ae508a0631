"""What a test may leave behind: processes, and files outside its own folder.

The process that runs the tests is a subreaper: an orphan becomes its child, whatever its parent died of. So everything
that a test started, and nothing else, is below the process that runs it, also where several run tests beside each
other. Each of these has a mark of its own, which is part of the names of its segments.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.support.tasks import LIMIT_S

#: Environment variable with what marks the names of segments: six digits for the run, two for who runs tests in it.
RUN_MARK = "SHARDQ_TEST_RUN"

#: Environment variable in which pytest-xdist says which of its workers a process is.
XDIST_WORKER = "PYTEST_XDIST_WORKER"

#: From linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36

#: Part of the name of every file that shardq makes on its own account.
FILE_MARK = "shardq"

SEGMENTS = Path("/dev/shm")
PLACES = (SEGMENTS, Path(tempfile.gettempdir()))

#: Names that `segment_name` of some test run made, and the run's own part of them.
SEGMENT_OF_RUN = re.compile(r"-t([0-9a-f]{8})[0-9a-f]{6}")

#: Names of private segments, and the process that embeds their supervisor.
PRIVATE_SEGMENT = re.compile(r"-private-([0-9]+)-")

#: Process ids of children that outlive a test on purpose.
lasting: set[int] = set()
#: And of processes that do so with whatever they start.
_lasting_families: set[int] = set()


def begin_run() -> None:
    """Become the reaper of all orphans, and take a mark. For the process that runs tests, and for the one that has
    them run by others, which inherit the run's part of its mark.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process cannot become the reaper of its orphans")
    number = os.environ.get(XDIST_WORKER, "gw-1").removeprefix("gw")
    run = secrets.token_hex(3) if number == "-1" else os.environ[RUN_MARK][:6]
    os.environ[RUN_MARK] = f"{run}{int(number) + 1:02x}"


def end_run() -> None:
    """End what tests left that were cut off, and remove their segments. What runs tests for others leaves theirs."""
    used = {identity for process in family() for identity in _used_by(process.pid)}
    leaked_processes(limit_s=0)
    own = os.environ[RUN_MARK] if XDIST_WORKER in os.environ else os.environ[RUN_MARK][:6]
    for entry in stray_files():
        made_by = SEGMENT_OF_RUN.search(entry.name)
        if made_by[1].startswith(own) if made_by else _identity(entry) in used:
            entry.unlink(missing_ok=True)


def segment_name() -> str:
    """A name for a segment that no other test uses and that says who made it."""
    return f"t{os.environ[RUN_MARK]}{secrets.token_hex(3)}"


def stray_files() -> set[Path]:
    """Files of shardq in the places that outlive a test."""
    found = set[Path]()
    for place in PLACES:
        with suppress(FileNotFoundError):
            found.update(place / name for name in os.listdir(place) if FILE_MARK in name)
    return found


def leaked_files(before: set[Path]) -> list[Path]:
    """Files that are new and can be of this process's tests. Others that use shardq may go on beside it."""
    new = _new_since(before)
    if XDIST_WORKER not in os.environ:
        return new
    # What does not say whose it is may be of a test that runs beside this one; then it goes with that.
    deadline = time.monotonic() + LIMIT_S
    while not all(map(_is_surely_own, new)) and time.monotonic() < deadline:
        time.sleep(0.01)
        new = [entry for entry in _new_since(before) if entry in new]
    return new


def used_by_others() -> set[tuple[int, int]]:
    """Everything mapped or opened by processes that this one did not start.

    By device and inode, since a mapped semaphore still goes by the temporary name under which the C library made it.
    """
    own = {os.getpid(), *lasting, *(process.pid for process in family())}
    return {identity for pid in psutil.pids() if pid not in own for identity in _used_by(pid)}


def family() -> list[psutil.Process]:
    """Every process that this one's tests started, directly or not, orphans included."""
    if not _has_children():
        return []
    return [
        process
        for process in _without_lasting_families(psutil.Process().children(recursive=True))
        if not _lives_with_interpreter(process)
    ]


@contextmanager
def outliving_tests() -> Iterator[None]:
    """All that runs below this process now outlives tests, with what it starts, as long as this is entered."""
    pids = {process.pid for process in family()}
    _lasting_families.update(pids)
    try:
        yield
    finally:
        _lasting_families.difference_update(pids)


def leaked_processes(limit_s: float = LIMIT_S) -> list[str]:
    """Processes that do not end, named; they are killed so that the next test starts clean."""
    deadline = time.monotonic() + limit_s
    names: list[str] = []
    # Again and again: a child that ends may leave children of its own, which are this process's from then on.
    while alive := family():
        psutil.wait_procs(alive, timeout=max(0.0, deadline - time.monotonic()))
        if time.monotonic() < deadline:
            continue
        for process in family():
            names.append(_describe(process))
            with suppress(psutil.NoSuchProcess):
                process.kill()
        deadline = time.monotonic() + LIMIT_S
    return names


def _has_children() -> bool:
    """Whether there are any that are to end with the test. It reads no more, whatever else runs on this machine."""
    try:
        texts = [Path(f"/proc/self/task/{thread}/children").read_text() for thread in os.listdir("/proc/self/task")]
    except OSError:  # a thread that ends meanwhile, whose children are another one's from then on
        return True
    return not lasting.issuperset(int(pid) for text in texts for pid in text.split())


def _lives_with_interpreter(process: psutil.Process) -> bool:
    """`multiprocessing` keeps its resource tracker until the interpreter ends, and so do we the server of the tests."""
    if process.pid in lasting:
        return True
    try:
        words = process.cmdline()
        return _is_server(words) or any("multiprocessing.resource_tracker" in word for word in words)
    except psutil.Error:
        return False


def _is_server(words: list[str]) -> bool:
    """Whether a command line is that of a Redis or Valkey server."""
    return bool(words) and ("redis-server" in words[0] or "valkey-server" in words[0])


def _without_lasting_families(processes: list[psutil.Process]) -> list[psutil.Process]:
    if not _lasting_families:
        return processes
    parents = dict[int, int]()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            parents[process.pid] = process.ppid()

    def lasts(pid: int) -> bool:
        return pid in _lasting_families or (pid in parents and lasts(parents[pid]))

    return [process for process in processes if not lasts(process.pid)]


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({process.status()}): {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid}"


def _new_since(before: set[Path]) -> list[Path]:
    new = {entry for entry in stray_files() - before if _may_be_of_this_run(entry.name, entry.parent)}
    if not new:
        return []
    used = used_by_others()
    return sorted(entry for entry in new if (identity := _identity(entry)) and identity not in used)


def _is_surely_own(path: Path) -> bool:
    """By its name, and not only because nothing says whose it is."""
    return bool(SEGMENT_OF_RUN.search(path.name))


def _may_be_of_this_run(name: str, place: Path) -> bool:
    """By its name: tests give segments none but those of `segment_name`."""
    if made_by := SEGMENT_OF_RUN.search(name):
        return made_by[1] == os.environ[RUN_MARK]
    if embedded_by := PRIVATE_SEGMENT.search(name):
        pid = int(embedded_by[1])
        return not psutil.pid_exists(pid) or pid in {os.getpid(), *(process.pid for process in family())}
    return place != SEGMENTS


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _used_by(pid: int) -> Iterator[tuple[int, int]]:
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for _, _, _, device, inode, *_ in map(str.split, maps):
        major, minor = (int(part, 16) for part in device.split(":"))
        yield os.makedev(major, minor), int(inode)
    yield from filter(None, map(_identity, descriptors))
