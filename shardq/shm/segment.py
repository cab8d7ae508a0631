"""The shared-memory object: created, attached, backed with memory, unlinked.

Beside the segment `shardq-UID-NAME` in /dev/shm live its semaphore (`sem.shardq-UID-NAME`), its lock file (`.lock`)
and one FIFO per waiting process (`.bell.N`). Creating and attaching are two functions, and only a destroyer unlinks:
under the lock under which they are created, so that it never takes what somebody just made.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shardq.errors import (
    ConfigurationError,
    PlatformUnsupported,
    SegmentError,
    SegmentExists,
    SegmentForeign,
    SegmentMissing,
    SegmentNoRoom,
    SegmentNotReady,
    SegmentVersionError,
)
from shardq.shm import layout as at
from shardq.shm.layout import PAGE, Layout

if sys.platform != "linux":
    raise PlatformUnsupported(f"shared memory needs Linux, this is {sys.platform}: use memory:// instead of shm://")

import posix_ipc

SHM_DIRECTORY = Path("/dev/shm")
DEFAULT_CAPACITY_BYTES = 512 << 20
#: Characters of a segment's name.
LONGEST_NAME = 30
#: Byte of the lock file that is held while the segment is created or removed and while a process takes a slot.
REGISTER_BYTE = 0


def full_name(name: str) -> str:
    """The name as the system knows it, with the user's id. Raises `ConfigurationError` for an impossible name."""
    if not isinstance(name, str) or not re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{LONGEST_NAME}}}", name):
        raise ConfigurationError(
            f"{name!r} cannot name a segment: use 1 to {LONGEST_NAME} letters, digits, dots, dashes or underscores"
        )
    return f"shardq-{os.getuid()}-{name}"


def reserve_of(layout: Layout) -> tuple[int, int]:
    """Byte address of the reserve, behind the extents, and its bytes while nothing larger is kept: see `reserve`."""
    nbytes = min(layout.capacity_bytes // at.RESERVE_PART, at.LARGEST_RESERVE_BYTES)
    return layout.total_bytes - whole_pages(layout.capacity_bytes), nbytes // (2 * PAGE) * 2 * PAGE


def whole_pages(nbytes: int) -> int:
    """So many bytes, in whole pages."""
    return -(-nbytes // PAGE) * PAGE


def default_capacity_bytes() -> int:
    """The lesser of 512 MiB and half of what /dev/shm has free."""
    room = os.statvfs(SHM_DIRECTORY)
    return min(DEFAULT_CAPACITY_BYTES, room.f_bavail * room.f_frsize // 2)


class Segment:
    """A mapped segment. `bytes` is the mapping, `words` the same memory as unsigned 64-bit words."""

    def __init__(self, name: str, descriptor: int, mapping: mmap.mmap, semaphore: posix_ipc.Semaphore) -> None:
        self.name = name
        self.bytes = mapping
        self.words = memoryview(mapping).cast("Q")
        self.semaphore = semaphore
        self.layout = Layout(*(self.words[word] for word in (at.CAPACITY_BYTES, at.SLOTS, at.THREADS, at.TUBES)))
        self._descriptor = descriptor

    @classmethod
    def create(cls, name: str, layout: Layout, *, private: bool = False) -> Segment:
        """Create the segment and make it ready. Raises `SegmentExists`, `SegmentNoRoom`, `ConfigurationError`.

        Its semaphore and lock file come first and its version stamp last: an attacher that sees the stamp sees all.
        """
        least = max(at.SMALLEST_CAPACITY_BYTES, 2 * layout.fixed_bytes)
        if layout.capacity_bytes < least:
            raise ConfigurationError(
                f"a capacity of {layout.capacity_bytes} bytes is too small for segment {name!r}: give at least {least}"
            )
        with _creation_lock(name):
            descriptor = _new_object(name, layout)
            try:
                _back_first_part(descriptor, layout, name)
                _unlink_semaphore(full_name(name))
                semaphore = posix_ipc.Semaphore(f"/{full_name(name)}", posix_ipc.O_CREX, mode=0o600, initial_value=1)
                mapping = mmap.mmap(descriptor, layout.total_bytes)
                _write_header(mapping, layout, private)
            except BaseException:
                os.close(descriptor)
                remove_files(name)
                raise
        return cls(name, descriptor, mapping, semaphore)

    @classmethod
    def attach(cls, name: str) -> Segment:
        """Map a segment that is ready. Raises `SegmentMissing`, `SegmentNotReady`, `SegmentVersionError`,
        `SegmentForeign`.
        """
        system_name = full_name(name)
        try:
            # Neither flags nor a size: with O_CREAT and a smaller size this call truncates a live segment.
            shared = posix_ipc.SharedMemory(f"/{system_name}")
        except posix_ipc.ExistentialError:
            raise SegmentMissing(
                f"there is no segment {name!r}: start its supervisor with --url shm://{name}, or create it"
            ) from None
        except posix_ipc.PermissionsError:
            raise SegmentForeign(f"segment {name!r} belongs to somebody else: its mode is 0600") from None
        try:
            total_bytes = _checked_size(shared.fd, name)
            mapping = mmap.mmap(shared.fd, total_bytes)
            semaphore = posix_ipc.Semaphore(f"/{system_name}")
        except posix_ipc.ExistentialError:
            os.close(shared.fd)
            raise SegmentForeign(f"segment {name!r} is damaged: its semaphore is gone; destroy it") from None
        except BaseException:
            os.close(shared.fd)
            raise
        return cls(name, shared.fd, mapping, semaphore)

    @property
    def path(self) -> Path:
        return SHM_DIRECTORY / full_name(self.name)

    @property
    def taken_bytes(self) -> int:
        """Memory the segment takes now, by the kernel's own count."""
        return os.fstat(self._descriptor).st_blocks * 512

    @property
    def used_bytes(self) -> int:
        """Memory the segment takes now beside its reserve."""
        return int(self.taken_bytes - self.words[at.RESERVED_BYTES])

    @property
    def free_bytes(self) -> int:
        """Memory that /dev/shm has left for anybody."""
        room = os.fstatvfs(self._descriptor)
        return room.f_bavail * room.f_frsize

    @property
    def removed(self) -> bool:
        """Whether somebody unlinked the segment behind our back."""
        return os.fstat(self._descriptor).st_nlink == 0

    def back(self, start: int, nbytes: int, limit_bytes: int) -> bool:
        """Give a page-aligned range memory, within `limit_bytes` for the whole segment. False: there is no room.

        Without this a store into a full /dev/shm would be a SIGBUS.
        """
        if self.used_bytes + nbytes > limit_bytes:
            return False
        return self.allocate(start, nbytes)

    def allocate(self, start: int, nbytes: int) -> bool:
        """As `back`, within what /dev/shm has."""
        return _fallocate(self._descriptor, start, nbytes)

    def give_back(self, start: int, nbytes: int) -> None:
        """Return the memory of a page-aligned range to the system; it reads as zeros from now on."""
        self.bytes.madvise(mmap.MADV_REMOVE, start, nbytes)

    def unlink(self, lock: int) -> None:
        """Remove the segment's files, unless somebody did so before: then its name may be another segment's. `lock` is
        the descriptor of the lock file that the caller, who is attached, has: closing another one would end its locks.
        """
        fcntl.lockf(lock, fcntl.LOCK_EX, 1, REGISTER_BYTE)
        try:
            if not self.removed:
                remove_files(self.name)
        finally:
            fcntl.lockf(lock, fcntl.LOCK_UN, 1, REGISTER_BYTE)

    def close(self) -> None:
        """Unmap. What is stored stays."""
        self.words.release()
        self.bytes.close()
        self.semaphore.close()
        os.close(self._descriptor)


def open_lock_file(name: str, *, create: bool = False) -> int:
    """A descriptor of the segment's lock file. Closing any descriptor of it drops all locks this process has on it."""
    path = SHM_DIRECTORY / f"{full_name(name)}.lock"
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        raise SegmentMissing(f"segment {name!r} was removed just now: create it again") from None


def destroy(name: str) -> None:
    """Unlink the segment that has this name now, or what is left of one, for a process that is not attached to it.
    Raises `SegmentMissing`.
    """
    found = _inode(full_name(name))
    if found is None and _inode(f"{full_name(name)}.lock") is None:
        raise SegmentMissing(f"there is no segment {name!r} to destroy")
    with _creation_lock(name):
        # While this process waited for the lock, others may have removed that segment and created another one.
        if _inode(full_name(name)) in (found, None):
            remove_files(name)


def remove_files(name: str) -> None:
    """Unlink a segment and everything beside it. Processes that have it mapped keep their mapping."""
    system_name = full_name(name)
    for bell in _bells(system_name):
        (SHM_DIRECTORY / bell).unlink(missing_ok=True)
    _unlink_semaphore(system_name)
    # The object after these: while it is there nobody can create another one, and a removal cut short can be repeated.
    with suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_shared_memory(f"/{system_name}")
    # The lock file last: whoever makes a new one may create, and would lose what is unlinked after that.
    (SHM_DIRECTORY / f"{system_name}.lock").unlink(missing_ok=True)


@contextmanager
def _creation_lock(name: str) -> Iterator[None]:
    """One creator or destroyer at a time; who holds it and finds a segment that is not ready knows that its creator is
    dead.
    """
    while True:
        descriptor = open_lock_file(name, create=True)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, REGISTER_BYTE)
            # A destroyer unlinks the file under those who wait for it: what they get then keeps nobody out.
            if os.fstat(descriptor).st_nlink:
                yield
                return
        finally:
            os.close(descriptor)


def _new_object(name: str, layout: Layout) -> int:
    """Descriptor of a new shared-memory object. A dead creator's unfinished one is replaced. Raises `SegmentExists`."""
    system_name = full_name(name)
    for _ in range(2):
        try:
            created = posix_ipc.SharedMemory(f"/{system_name}", posix_ipc.O_CREX, mode=0o600, size=layout.total_bytes)
            return int(created.fd)
        except posix_ipc.ExistentialError:
            if not _is_unfinished(name):
                break
            posix_ipc.unlink_shared_memory(f"/{system_name}")
    raise SegmentExists(f"segment {name!r} exists already: attach to it, or destroy it first")


def _is_unfinished(name: str) -> bool:
    try:
        Segment.attach(name).close()
    except SegmentNotReady:
        return True
    except (SegmentError, SegmentMissing):
        return False
    return False


def _inode(file: str) -> int | None:
    try:
        return os.stat(SHM_DIRECTORY / file).st_ino
    except FileNotFoundError:
        return None


def _bells(system_name: str) -> list[str]:
    return [entry for entry in os.listdir(SHM_DIRECTORY) if entry.startswith(f"{system_name}.bell.")]


def _unlink_semaphore(system_name: str) -> None:
    with suppress(posix_ipc.ExistentialError):
        posix_ipc.unlink_semaphore(f"/{system_name}")


def _back_first_part(descriptor: int, layout: Layout, name: str) -> None:
    """Give the fixed part memory, and the reserve."""
    start, nbytes = reserve_of(layout)
    free = os.statvfs(SHM_DIRECTORY)
    if not (_fallocate(descriptor, 0, layout.fixed_bytes) and _fallocate(descriptor, start, nbytes)):
        raise SegmentNoRoom(
            f"/dev/shm has {free.f_bavail * free.f_frsize} bytes free, segment {name!r} needs "
            f"{layout.fixed_bytes + nbytes} to begin with: free some, ask for a smaller capacity, or give a container "
            f"more (docker run --shm-size)"
        )


def _fallocate(descriptor: int, start: int, nbytes: int) -> bool:
    try:
        os.posix_fallocate(descriptor, start, nbytes)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT):
            raise
        return False
    return True


def _write_header(mapping: mmap.mmap, layout: Layout, private: bool) -> None:
    with memoryview(mapping) as view, view.cast("Q") as words:
        words[at.TOTAL_BYTES] = layout.total_bytes
        words[at.CAPACITY_BYTES] = layout.capacity_bytes
        words[at.SLOTS] = layout.slots
        words[at.THREADS] = layout.threads
        words[at.TUBES] = layout.tubes
        words[at.CREATED_US] = time.time_ns() // 1000
        words[at.PRIVATE] = private
        words[at.SEQUENCE_FLOOR] = 0
        words[at.RESERVED_BYTES] = reserve_of(layout)[1]
        words[at.EQUALITY_KEY], words[at.EQUALITY_KEY_END] = secrets.randbits(64), secrets.randbits(64)
        words[at.MAGIC] = at.MAGIC_NUMBER
        words[at.VERSION] = at.LAYOUT_VERSION


def _checked_size(descriptor: int, name: str) -> int:
    """The size of a segment that is ready, by its own header."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise SegmentNotReady(_not_ready(name))
    header = os.pread(descriptor, at.HEADER_BYTES, 0)
    if len(header) < at.HEADER_BYTES:
        raise SegmentForeign(f"{name!r} is no shardq segment: it has only {size} bytes")
    with memoryview(header).cast("Q") as words:
        if words[at.VERSION] == 0 and words[at.MAGIC] in (0, at.MAGIC_NUMBER):
            raise SegmentNotReady(_not_ready(name))
        if words[at.MAGIC] != at.MAGIC_NUMBER:
            raise SegmentForeign(f"{name!r} is no shardq segment: another program made it; choose another name")
        if words[at.VERSION] != at.LAYOUT_VERSION:
            raise SegmentVersionError(
                f"segment {name!r} has layout version {words[at.VERSION]}, this shardq reads {at.LAYOUT_VERSION}: "
                f"drain it with the shardq that made it, or destroy it"
            )
        layout = Layout(*(words[word] for word in (at.CAPACITY_BYTES, at.SLOTS, at.THREADS, at.TUBES)))
        if not layout.slots or not layout.threads or layout.total_bytes != size or words[at.TOTAL_BYTES] != size:
            raise SegmentForeign(f"segment {name!r} is damaged: its header does not fit its size; destroy it")
        return size


def _not_ready(name: str) -> str:
    return f"segment {name!r} is being created, or its creator died before it was ready: try again, or destroy it"
