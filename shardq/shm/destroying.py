"""Unlinking a segment, under the lock under which segments are created: so it never meets one that another process has
just created.
"""

from __future__ import annotations

from shardq.errors import SegmentError, SegmentMissing
from shardq.shm.files import earlier
from shardq.shm.files import own_files as files
from shardq.shm.files.lock_bytes import FIRST_SLOT_BYTE, holder_of
from shardq.shm.files.names import full_name, lock_path, segment_path
from shardq.shm.files.refusals import told
from shardq.shm.segment import Segment


def destroy(name: str, *, unused: bool = False, inode: int | None = None) -> None:
    """Unlink the segment that has this name now, or what is left of one, for a process that is not attached to it. With
    `inode`, a segment of another inode stays. Raises `SegmentMissing`, `SegmentUntrusted`; `SegmentError` where a
    process is attached to an earlier one, or, with `unused`, to any.
    """
    path = segment_path(full_name(name))
    found = files.inode(path)
    if None not in (inode, found) and inode != found:
        return
    if found is None and files.inode(lock_path(full_name(name))) is None:
        raise SegmentMissing(f"there is no segment {name!r} to destroy: its files would be {path}*")
    files.check_removable(path)  # before a lock file is made beside what stays
    earlier.check_name(name)
    is_earlier = earlier.is_earlier(name)
    if is_earlier:
        earlier.check_unused(name)  # its processes do not know the lock that is taken now
    with files.creation_lock(name) as lock:
        pid = holder_of(lock, FIRST_SLOT_BYTE, 0) if unused else None
        if pid is not None:
            raise SegmentError(f"segment {name!r} is in use by process {pid}: end that first")
        # While this process waited for the lock, others may have removed that segment and created another one.
        if files.inode(path) not in (found, None):
            return
        if is_earlier:
            with told(f"look for the files of segment {name!r}"):
                beside = earlier.files_of(name)
            for file in beside:
                files.unlink(file)
        files.remove_files(name)


def destroy_unused(segment: Segment) -> None:
    """Unlink a segment that this process made and could not enter, unless others have done so by now."""
    with files.creation_lock(segment.name) as lock:
        is_it = files.inode(segment.path) == segment.inode
        if is_it and holder_of(lock, FIRST_SLOT_BYTE, segment.layout.slots) is None:
            files.remove(segment.system_name)
