"""The files of a segment: made for this user alone, and opened only if they are.

Any user may make files in /dev/shm, under any name, before this process does. So each file is opened without following
links. Then its owner, its kind, its mode and the number of its names are checked.
"""

from __future__ import annotations

import mmap
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shardq.errors import PlatformUnsupported, SegmentMissing, SegmentUntrusted
from shardq.shm.words import PAGE

if sys.platform != "linux":
    raise PlatformUnsupported(f"shared memory needs Linux, this is {sys.platform}: use memory:// instead of shm://")
# Memory goes back to the system by whole pages: a larger one would take what is stored beside.
if mmap.PAGESIZE > PAGE:
    raise PlatformUnsupported(
        f"shared memory needs pages of {PAGE} bytes, and those of this kernel have {mmap.PAGESIZE}: start a kernel "
        f"with smaller ones, or use memory:// or redis:// instead of shm://"
    )

import posix_ipc

from shardq.shm.files.lock_bytes import REGISTER_BYTE, take_byte
from shardq.shm.files.names import bell_paths, full_name, lock_path, segment_path, semaphore_path
from shardq.shm.files.refusals import in_the_way, told

#: Size of the C library's semaphore: in a shorter file, its first use would be a SIGBUS.
_SEMAPHORE_BYTES = 32
#: Flags that follow no link, and do not wait for the other end of a FIFO that another user put there.
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_own(path: Path, flags: int = os.O_RDWR, kind: int = stat.S_IFREG) -> int:
    """A descriptor of a file that is this user's. Raises `FileNotFoundError`, `SegmentUntrusted`,
    `SegmentUnavailable`.
    """
    with told(f"open {path}", path):
        descriptor = os.open(path, flags | _SAFELY)
    try:
        check_owner(path, os.fstat(descriptor), kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def make_own(path: Path) -> int:
    """A descriptor of a new file for this user alone. Raises `FileExistsError`, and as `open_own`."""
    with told(f"make {path}", path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)
        except FileExistsError:
            descriptor = -1
    if descriptor < 0:
        raise FileExistsError(path)
    os.fchmod(descriptor, 0o600)  # the umask may have taken some of it away
    return descriptor


def check_owner(path: Path, status: os.stat_result, kind: int = stat.S_IFREG) -> None:
    """Raise `SegmentUntrusted` for a file that is not this user's, is not of this kind, or has a second name."""
    if status.st_uid != os.geteuid() or stat.S_IFMT(status.st_mode) != kind:
        raise SegmentUntrusted(in_the_way(path, status))
    if status.st_nlink > 1:
        raise SegmentUntrusted(
            f"{path} is another name of a file that has one already, so it was not used: remove it (`rm {path}`)"
        )


def check_removable(path: Path) -> None:
    """Raise `SegmentUntrusted` for another user's file, which only its owner or root can remove."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        if os.geteuid() not in (0, status.st_uid):
            raise SegmentUntrusted(in_the_way(path, status))


def check_mode(path: Path, status: os.stat_result) -> None:
    """Raise `SegmentUntrusted` for a file that other users may read or write."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SegmentUntrusted(
            f"{path} has mode {mode:04o}, so others may have read or changed it: destroy the segment, or, if you trust "
            f"what is in it, `chmod 600 {path}`"
        )


def open_lock_file(name: str, *, create: bool = False, flags: int = os.O_RDWR) -> int:
    """A descriptor of the segment's lock file. Closing any descriptor of it drops all locks this process has on it.
    Raises `SegmentMissing`, and as `open_own`.
    """
    path = lock_path(full_name(name))
    while True:
        try:
            descriptor = open_own(path, flags)
        except FileNotFoundError:
            if not create:
                raise SegmentMissing(f"segment {name!r} was removed just now: create it again") from None
            with suppress(FileExistsError):
                return make_own(path)
            continue
        try:
            check_mode(path, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


@contextmanager
def creation_lock(name: str) -> Iterator[int]:
    """One creator or destroyer at a time. A process that holds this lock and finds a segment that is not ready knows
    that its creator is dead. Yields the descriptor of the lock file. Where an error ends the block and there is no
    segment then, the lock file is removed. Raises `SegmentBusy`.
    """
    system_name = full_name(name)
    while True:
        descriptor = open_lock_file(name, create=True)
        try:
            with told(f"lock {lock_path(system_name)}"):
                take_byte(descriptor, REGISTER_BYTE, name)
            # A destroyer may unlink the file while this process waits: then the lock it gets keeps no process out.
            if not os.fstat(descriptor).st_nlink:
                continue
            try:
                yield descriptor
            except BaseException:
                if inode(segment_path(system_name)) is None:
                    lock_path(system_name).unlink(missing_ok=True)
                raise
            return
        finally:
            os.close(descriptor)


def open_semaphore(system_name: str) -> posix_ipc.Semaphore:
    """The segment's semaphore. Raises `FileNotFoundError`, `SegmentUntrusted`, `SegmentUnavailable`."""
    path = semaphore_path(system_name)
    found = _checked_semaphore(path)
    with told(f"open {path}", path):
        try:
            semaphore = posix_ipc.Semaphore(f"/{system_name}")
        except posix_ipc.ExistentialError:
            raise FileNotFoundError(path) from None
    try:
        if _checked_semaphore(path) != found:  # only where /dev/shm has no sticky bit can it be another user's
            raise SegmentUntrusted(f"{path} was replaced while it was opened, so it was not used: try again")
    except BaseException:
        semaphore.close()
        raise
    return semaphore


def make_semaphore(system_name: str) -> posix_ipc.Semaphore:
    """A new semaphore of value 1, in the place of one that a dead creator left."""
    path = semaphore_path(system_name)
    unlink(path)
    with told(f"make {path}", path):
        semaphore = posix_ipc.Semaphore(f"/{system_name}", posix_ipc.O_CREX, mode=0o600, initial_value=1)
        path.chmod(0o600)
    return semaphore


def remove_files(name: str) -> None:
    """Unlink a segment and everything beside it. Processes that have it mapped keep their mapping."""
    remove(full_name(name))


def remove(system_name: str) -> None:
    """As `remove_files`, by the name that the system knows."""
    with told(f"look for the bells of {system_name}"):
        bells = bell_paths(system_name)
    # The object after bells and semaphore: while it is there no process can create another segment, and a removal cut
    # short can be repeated. The lock file last: once it is gone another process may make a new one and create a
    # segment, whose files would be unlinked here.
    for path in (*bells, semaphore_path(system_name), segment_path(system_name), lock_path(system_name)):
        unlink(path)


def remove_unfinished(system_name: str) -> None:
    """Unlink what this process made of a segment. It still has the creation lock."""
    with suppress(SegmentUntrusted):  # the semaphore may be another user's, and the reason why creating failed
        unlink(semaphore_path(system_name))
    unlink(segment_path(system_name))


def unlink(path: Path) -> None:
    """Remove a file that may be gone already. Raises `SegmentUntrusted` where it is another user's."""
    with told(f"remove {path}", path):
        path.unlink(missing_ok=True)


def inode(path: Path) -> int | None:
    """Inode of the file of any kind that has this path; None: there is none."""
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return None


def _checked_semaphore(path: Path) -> int:
    status = path.lstat()
    check_owner(path, status)
    check_mode(path, status)
    if status.st_size < _SEMAPHORE_BYTES:
        raise FileNotFoundError(path)  # an empty file is no semaphore
    return status.st_ino
