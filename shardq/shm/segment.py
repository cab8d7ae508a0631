"""The shared-memory object: created, attached, backed with memory. Creating and attaching are two functions; a process
that is not attached unlinks it with `destroying`. `files.names` says which files there are beside the object.
"""

from __future__ import annotations

import errno
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import posix_ipc

from shardq.errors import (
    ConfigurationError,
    SegmentExists,
    SegmentForeign,
    SegmentMissing,
    SegmentNoRoom,
    SegmentNotReady,
    SegmentUnavailable,
    SegmentUntrusted,
    SegmentVersionError,
)
from shardq.shm import words as at
from shardq.shm.files import earlier
from shardq.shm.files import own_files as files
from shardq.shm.files.lock_bytes import REGISTER_BYTE, release_byte, take_byte
from shardq.shm.files.names import full_name, other_users_of, segment_path
from shardq.shm.files.refusals import room, told
from shardq.shm.layout import Layout
from shardq.shm.processes.namespaces import clock_offsets_ns
from shardq.shm.words import PAGE

#: How long a process that removes a segment takes at most from its semaphore to the segment itself, in seconds.
_GOING_S = 0.1


def reserve_of(layout: Layout) -> tuple[int, int]:
    """Byte address of the reserve, behind the extents, and its bytes while nothing larger is kept: see `reserve`."""
    nbytes = min(layout.capacity_bytes // at.RESERVE_PART, at.LARGEST_RESERVE_BYTES)
    return layout.total_bytes - whole_pages(layout.capacity_bytes), nbytes // (2 * PAGE) * 2 * PAGE


def whole_pages(nbytes: int) -> int:
    """So many bytes, in whole pages."""
    return -(-nbytes // PAGE) * PAGE


class Segment:
    """A mapped segment. `bytes` is the mapping, `words` the same memory as unsigned 64-bit words."""

    def __init__(self, name: str, descriptor: int, mapping: mmap.mmap, semaphore: posix_ipc.Semaphore | None) -> None:
        self.name = name
        #: Not computed anew: the process may become another user, and the files keep their owner and name.
        self.system_name = full_name(name)
        self.bytes = mapping
        self.words = memoryview(mapping).cast("Q")
        self._semaphore = semaphore
        self.layout = Layout(*(self.words[word] for word in (at.CAPACITY_BYTES, at.SLOTS, at.THREADS, at.TUBES)))
        self._descriptor = descriptor
        #: Whether this process has unmapped it. Its descriptor may be that of another file by then.
        self.closed = False
        #: Tells this segment from a later one of its name.
        self.inode = os.fstat(descriptor).st_ino

    @classmethod
    def create(cls, name: str, layout: Layout, *, private: bool = False) -> Segment:
        """Create the segment and make it ready. Raises `SegmentExists`, `SegmentNoRoom`, `SegmentUntrusted`,
        `SegmentUnavailable`, `ConfigurationError`.

        Its semaphore and lock file come first and its version stamp last: an attacher that sees the stamp sees all.
        """
        least = max(at.SMALLEST_CAPACITY_BYTES, 2 * layout.fixed_bytes)
        if layout.capacity_bytes < least:
            raise ConfigurationError(
                f"a capacity of {layout.capacity_bytes} bytes is too small for segment {name!r}: give at least {least}"
            )
        system_name = full_name(name)
        earlier.check_name(name)
        _is_taken(name)  # raises before a lock file is made beside what is no segment of ours
        with files.creation_lock(name), told(f"create segment {name!r}", segment_path(system_name)):
            descriptor, mapping = _new_object(name), None
            try:
                os.ftruncate(descriptor, layout.total_bytes)
                _back_first_part(descriptor, layout, name)
                mapping = mmap.mmap(descriptor, layout.total_bytes)
                semaphore = files.make_semaphore(system_name)
                _write_header(mapping, layout, private)
            except BaseException:
                _let_go(descriptor, mapping)
                files.remove_unfinished(system_name)
                raise
        return cls(name, descriptor, mapping, semaphore)

    @classmethod
    def attach(cls, name: str) -> Segment:
        """Map a segment that is ready. Raises `SegmentMissing`, `SegmentNotReady`, `SegmentVersionError`,
        `SegmentForeign`, `SegmentUntrusted`, `SegmentUnavailable`.
        """
        (descriptor, total_bytes), mapping = _open(name, os.O_RDWR), None
        try:
            with told(f"attach to segment {name!r}"):
                mapping = mmap.mmap(descriptor, total_bytes)
                semaphore = files.open_semaphore(full_name(name))
        except (FileNotFoundError, SegmentUntrusted) as error:
            goes = _goes(descriptor, _GOING_S if isinstance(error, FileNotFoundError) else 0)
            _let_go(descriptor, mapping)
            if goes:
                raise SegmentMissing(f"segment {name!r} was removed just now: create it again") from None
            if isinstance(error, SegmentUntrusted):
                raise
            raise SegmentForeign(f"segment {name!r} is damaged: its semaphore is gone; destroy it") from None
        except BaseException:
            _let_go(descriptor, mapping)
            raise
        return cls(name, descriptor, mapping, semaphore)

    @classmethod
    def observe(cls, name: str) -> Segment:
        """As `attach`, for looking only: a store into the mapping kills the process that tries it. There is no guard,
        and what is mapped is the fixed part, which always has memory; `copied` reads the rest.
        """
        descriptor, _ = _open(name, os.O_RDONLY)
        try:
            with told(f"look into segment {name!r}"):
                layout = _layout_in(os.pread(descriptor, at.HEADER_BYTES, 0))
                mapping = mmap.mmap(descriptor, layout.fixed_bytes, access=mmap.ACCESS_READ)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(name, descriptor, mapping, None)

    @property
    def semaphore(self) -> posix_ipc.Semaphore:
        """The guard's token. A segment mapped by `observe` has none."""
        assert self._semaphore is not None
        return self._semaphore

    @property
    def descriptor(self) -> int:
        """Of the object, as long as it is mapped."""
        return self._descriptor

    @property
    def path(self) -> Path:
        return segment_path(self.system_name)

    @property
    def taken_bytes(self) -> int:
        """Memory the segment takes now, by the kernel's own count."""
        return os.fstat(self._descriptor).st_blocks * 512

    @property
    def used_bytes(self) -> int:
        """Memory the segment takes now beside its reserve and what its processes count."""
        return int(self.taken_bytes - self.words[at.RESERVED_BYTES] - self.words[at.TALLIES_BYTES])

    @property
    def free_bytes(self) -> int:
        """Memory that /dev/shm has left for any use."""
        room = os.fstatvfs(self._descriptor)
        return room.f_bavail * room.f_frsize

    @property
    def removed(self) -> bool:
        """Whether the segment was unlinked while this process had it mapped."""
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
        with told(f"give segment {self.name!r} more memory"):
            return _fallocate(self._descriptor, start, nbytes)

    def give_back(self, start: int, nbytes: int) -> None:
        """Return the memory of a page-aligned range to the system; it reads as zeros from now on."""
        self.bytes.madvise(mmap.MADV_REMOVE, start, nbytes)

    def unlink(self, lock: int) -> None:
        """Remove the segment's files, unless that was done before: then its name may be another segment's. `lock` is
        the descriptor of the lock file that the caller has as an attached process: it opens no other one, since closing
        that would end its locks. Raises `SegmentBusy`.
        """
        take_byte(lock, REGISTER_BYTE, self.name)
        try:
            if not self.removed:
                files.remove(self.system_name)
        finally:
            release_byte(lock, REGISTER_BYTE)

    def copied(self, start: int, nbytes: int) -> bytes:
        """A copy of some of it, made by the kernel: what has no memory reads as zeros, and gets none. Raises
        `ValueError` where the segment ends before.
        """
        data = os.pread(self._descriptor, nbytes, start)
        if len(data) < nbytes:
            raise ValueError(f"there are no {nbytes} bytes at {start}")
        return data

    def data(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The ranges between two addresses in which something was written."""
        while start < end:
            try:
                start = os.lseek(self._descriptor, start, os.SEEK_DATA)
            except OSError:  # there is nothing behind
                return
            if start < end:
                behind = min(end, os.lseek(self._descriptor, start, os.SEEK_HOLE))
                yield start, behind
                start = behind

    def duplicate(self) -> int:
        """Another descriptor of the segment, which the caller closes."""
        return os.dup(self._descriptor)

    def close(self) -> None:
        """Unmap. What is stored stays."""
        self.closed = True
        self.words.release()
        self.bytes.close()
        if self._semaphore is not None:
            self._semaphore.close()
        os.close(self._descriptor)


def _is_taken(name: str) -> bool:
    """Whether a segment that is ready has the name. Raises `SegmentForeign` and the like where another file has it."""
    try:
        descriptor, _ = _open(name, os.O_RDONLY)
    except (SegmentMissing, SegmentNotReady):
        return False
    os.close(descriptor)
    return True


def _goes(descriptor: int, patience_s: float) -> bool:
    """Whether a segment is unlinked within that time. Its semaphore goes a moment before it."""
    until = time.monotonic() + patience_s
    while os.fstat(descriptor).st_nlink:
        if time.monotonic() >= until:
            return False
        time.sleep(_GOING_S / 100)
    return True


def _let_go(descriptor: int, mapping: mmap.mmap | None) -> None:
    """Close both. An error that passes may keep its frames until garbage is collected, and so the mapping, with memory
    and a descriptor of its own.
    """
    os.close(descriptor)
    if mapping is not None:
        mapping.close()


def _new_object(name: str) -> int:
    """Descriptor of a new, empty object. A dead creator's unfinished one is replaced. Raises `SegmentExists`. Wants the
    creation lock.
    """
    path = segment_path(full_name(name))
    for _ in range(2):
        try:
            return files.make_own(path)
        except FileExistsError:
            if _is_taken(name):
                break
            files.unlink(path)  # its creator is dead, else this process had not the lock
    raise SegmentExists(f"segment {name!r} exists already: attach to it, or `shardq destroy --url shm://{name}` first")


def _open(name: str, flags: int) -> tuple[int, int]:
    """A descriptor of a segment that is ready, and its size."""
    path = segment_path(full_name(name))
    earlier.check_name(name)
    try:
        descriptor = files.open_own(path, flags)
    except FileNotFoundError:
        raise SegmentMissing(_missing(name)) from None
    try:
        with told(f"look into segment {name!r}"):
            total_bytes = _checked_size(descriptor, name)
        files.check_mode(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, total_bytes


def _missing(name: str) -> str:
    others: list[str] = []
    with suppress(OSError):
        others = other_users_of(name)
    if others:
        return (
            f"there is no segment {name!r} of this user; one of that name belongs to {', '.join(others)}: run as the "
            f"user whose it is (`sudo -u`), each user has segments of their own"
        )
    return f"there is no segment {name!r}: start its supervisor with --url shm://{name}, or create it"


def _back_first_part(descriptor: int, layout: Layout, name: str) -> None:
    """Give the fixed part memory, and the reserve."""
    start, nbytes = reserve_of(layout)
    if not (_fallocate(descriptor, 0, layout.fixed_bytes) and _fallocate(descriptor, start, nbytes)):
        raise SegmentNoRoom(f"{room()}; segment {name!r} needs {layout.fixed_bytes + nbytes} bytes to begin with")


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
        words[at.EQUALITY_KEY], words[at.EQUALITY_KEY_END] = (int.from_bytes(os.urandom(8)) for _ in range(2))
        for word, offset_ns in zip((at.MONOTONIC_OFFSET_NS, at.BOOTTIME_OFFSET_NS), clock_offsets_ns(), strict=True):
            words[word] = offset_ns % 2**64
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
        layout = _layout_in(header)
        if not layout.slots or not layout.threads or layout.total_bytes != size or words[at.TOTAL_BYTES] != size:
            raise SegmentForeign(f"segment {name!r} is damaged: its header does not fit its size; destroy it")
        offsets = words[at.MONOTONIC_OFFSET_NS], words[at.BOOTTIME_OFFSET_NS]
        if offsets != tuple(offset_ns % 2**64 for offset_ns in clock_offsets_ns()):
            raise SegmentUnavailable(
                f"segment {name!r} was made in another time name space, where pauses and timeouts are read from other "
                f"clocks: run everything that uses it in one (`lsns -t time` lists them)"
            )
        return size


def _layout_in(header: bytes) -> Layout:
    with memoryview(header).cast("Q") as words:
        return Layout(*(words[word] for word in (at.CAPACITY_BYTES, at.SLOTS, at.THREADS, at.TUBES)))


def _not_ready(name: str) -> str:
    return (
        f"segment {name!r} is being created, or its creator died before it was ready: try again, or "
        f"`shardq destroy --url shm://{name}`"
    )
