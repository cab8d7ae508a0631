"""What a test may leave behind: processes, and files outside its own folder."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support.tasks import LIMIT_S

#: Environment variable that marks everything this test run starts, so that orphans are found after their parent died.
RUN_MARK = "SHARDQ_TEST_RUN"

#: Part of the name of every file that shardq makes on its own account.
FILE_MARK = "shardq"

SEGMENTS = Path("/dev/shm")
PLACES = (SEGMENTS, Path(tempfile.gettempdir()))

#: Names that `segment_name` of some test run made, and the run's own part of them.
SEGMENT_OF_RUN = re.compile(r"-t([0-9a-f]{6})[0-9a-f]{6}")

#: Names of private segments, and the process that embeds their supervisor.
PRIVATE_SEGMENT = re.compile(r"-private-([0-9]+)-")


def segment_name() -> str:
    """A name for a segment that no other test uses and that says which test run made it."""
    return f"t{os.environ[RUN_MARK]}{secrets.token_hex(3)}"


def stray_files() -> set[Path]:
    """Files of shardq in the places that outlive a test."""
    return {entry for place in PLACES if place.is_dir() for entry in place.iterdir() if FILE_MARK in entry.name}


def leaked_files(before: set[Path]) -> list[Path]:
    """Files that are new and can be of this test run. Others that use shardq may go on beside it."""
    new = {entry for entry in stray_files() - before if _may_be_of_this_run(entry.name, entry.parent)}
    if not new:
        return []
    used = used_by_others()
    return sorted(entry for entry in new if (identity := _identity(entry)) and identity not in used)


def used_by_others() -> set[tuple[int, int]]:
    """Everything mapped or opened by processes outside this test run.

    By device and inode, since a mapped semaphore still goes by the temporary name under which the C library made it.
    """
    own = {os.getpid(), *(process.pid for process in family())}
    return {identity for pid in psutil.pids() if pid not in own for identity in _used_by(pid)}


def family() -> list[psutil.Process]:
    """Every process this test run started, directly or not, orphans included."""
    found = {process.pid: process for process in psutil.Process().children(recursive=True)}
    mark = f"{RUN_MARK}={os.environ[RUN_MARK]}".encode()
    for pid in psutil.pids():
        if pid in found or pid == os.getpid() or mark not in _environment(pid):
            continue
        try:
            found[pid] = psutil.Process(pid)
        except psutil.NoSuchProcess:
            continue
    return [process for process in found.values() if not _lives_with_interpreter(process)]


def leaked_processes() -> list[str]:
    """Processes that do not end, named; they are killed so that the next test starts clean."""
    _, alive = psutil.wait_procs(family(), timeout=LIMIT_S)
    names = [_describe(process) for process in alive]
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=LIMIT_S)
    return names


def _lives_with_interpreter(process: psutil.Process) -> bool:
    """`multiprocessing` keeps its resource tracker until the interpreter ends."""
    try:
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({process.status()}): {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid}"


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


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
