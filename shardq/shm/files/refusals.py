"""What the system refuses about the files of a segment, told with what to do about it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import posix_ipc

from shardq.errors import SegmentError, SegmentNoRoom, SegmentUnavailable, SegmentUntrusted
from shardq.shm.files.names import SHM_DIRECTORY, user
from shardq.system.refusals import advice, error_number

#: Fewer than a segment's files may need.
_FEW_INODES = 8
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Errors of opening a path where there is something else than a file of this package.
_IN_THE_WAY = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO)


@contextmanager
def told(what: str, path: Path | None = None) -> Iterator[None]:
    """Raise `SegmentError`s in place of what the system raises. `what` is what was to be done, `path` with which file.
    `FileNotFoundError` is left for the caller to explain, while /dev/shm itself is there.
    """
    try:
        yield
    except (OSError, posix_ipc.Error, MemoryError) as error:
        if isinstance(error, FileNotFoundError) and SHM_DIRECTORY.is_dir():
            raise
        raise _refusal(what, path, error) from error


def _refusal(what: str, path: Path | None, error: Exception) -> SegmentError:
    number = errno.EACCES if isinstance(error, posix_ipc.PermissionsError) else error_number(error)
    if number in _FULL:
        return SegmentNoRoom(f"cannot {what}: {room()}")
    if path and number in _IN_THE_WAY and (obstacle := _obstacle(path)):
        return SegmentUntrusted(obstacle)
    if not SHM_DIRECTORY.is_dir():
        return SegmentUnavailable(f"cannot {what}: there is no {SHM_DIRECTORY}: mount a tmpfs there")
    if number == errno.EROFS:
        return SegmentUnavailable(f"cannot {what}: {SHM_DIRECTORY} cannot be written: mount it for reading and writing")
    if number in (errno.EACCES, errno.EPERM):
        return SegmentUnavailable(
            f"cannot {what}: {user(os.geteuid())} may not write in {SHM_DIRECTORY}: its mode should be 1777"
        )
    return SegmentUnavailable(f"cannot {what}: {advice(error) or error}")


def room() -> str:
    """What /dev/shm has left, and what to do about it."""
    free = os.statvfs(SHM_DIRECTORY)
    if free.f_files and free.f_favail < _FEW_INODES:
        return f"{SHM_DIRECTORY} has hardly an inode left: remove files there, or mount it with more (nr_inodes)"
    return (
        f"{SHM_DIRECTORY} has {free.f_bavail * free.f_frsize} bytes free: free some, ask for a smaller capacity, or "
        f"give a container more (docker run --shm-size)"
    )


def _obstacle(path: Path) -> str | None:
    """Why the file at a path is not ours to open; None: it is, or there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid():
        return in_the_way(path, status)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
        return in_the_way(path, status)
    if not status.st_mode & stat.S_IRUSR or not status.st_mode & stat.S_IWUSR:
        return f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, its owner needs 0600: `chmod 600 {path}`"
    return None


def in_the_way(path: Path, status: os.stat_result) -> str:
    """Says what is in the place of a file of this user, and what to do about it."""
    kind = {stat.S_IFLNK: "a symbolic link", stat.S_IFREG: "a file", stat.S_IFIFO: "a FIFO"}
    what = kind.get(stat.S_IFMT(status.st_mode), "something else than a file")
    return (
        f"{path} is {what} of user {user(status.st_uid)} where {user(os.geteuid())} needs a file of its own. It was "
        f"not used: another user may have made it to read along, or to keep you out. Have its owner or root remove it "
        f"(`rm {path}`), or choose another name"
    )
