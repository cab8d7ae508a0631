"""Opening and closing segments: one `Store` per segment and process, however often it is opened.

The liveness lock is the process's, and closing a second descriptor of the lock file would drop it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

from shardq.errors import (
    SegmentError,
    SegmentExists,
    SegmentForeign,
    SegmentMissing,
    SegmentNotReady,
    SegmentVersionError,
)
from shardq.shm import layout as at
from shardq.shm import segment as files
from shardq.shm.layout import DEFAULT_SLOTS, Layout
from shardq.shm.segment import Segment, default_capacity_bytes, full_name
from shardq.shm.store import Store

#: How the names of private segments begin, so that nobody has to attach to others to find them.
PRIVATE_PREFIX = "private-"
#: How long whoever creates a segment may take until he is attached to it.
_NEWBORN_S = 60.0

_open: dict[str, Store] = {}
_users: Counter[Store] = Counter()
_opening = threading.Lock()


def create_store(
    name: str,
    capacity_bytes: int | None = None,
    *,
    threads: int | None = None,
    slots: int = DEFAULT_SLOTS,
    private: bool = False,
) -> Store:
    """Create a segment and attach to it. See `Segment.create` for the errors."""
    layout = Layout.sized(default_capacity_bytes() if capacity_bytes is None else capacity_bytes, threads, slots)
    with _opening:
        if _attached(name):
            # Creating opens and closes the lock file, which would cost this process its lock on it.
            raise SegmentExists(f"segment {name!r} exists already, and this process is attached to it")
        return _entered(Segment.create(name, layout, private=private))


def attach_store(name: str) -> Store:
    """Attach to a segment, or share this process's attachment to it. See `Segment.attach` for the errors."""
    with _opening:
        store = _attached(name)
        if store:
            _users[store] += 1
            return store
        return _entered(Segment.attach(name))


def resume_store(name: str, descriptor: int, slot: int) -> Store:
    """Attach to a segment with the slot that this process had before it executed itself anew."""
    with _opening:
        return _entered(Segment.attach(name), (descriptor, slot))


def close_store(store: Store) -> None:
    """Give up one use of a store; the last one detaches the process."""
    with _opening:
        _users[store] -= 1
        if _users[store]:
            return
        del _users[store]
        if _open.get(full_name(store.segment.name)) is store:
            del _open[full_name(store.segment.name)]
        store.leave()


def destroy(name: str) -> None:
    """Unlink a segment and its files. Raises `SegmentMissing` where there is none."""
    with _opening:
        store = _attached(name)
        if store:
            store.segment.unlink(store.hold[0])
        else:
            files.destroy(name)


def destroy_store(store: Store) -> None:
    """Unlink a store's segment, not another one that has its name by now, and give up this use of the store."""
    try:
        with _opening:
            if _users[store] == 1:
                store.doorbell.close()  # while the name of its FIFO is surely that of this segment
            store.segment.unlink(store.hold[0])
    finally:
        close_store(store)


def destroy_abandoned() -> list[str]:
    """Destroy this user's private segments that nobody is attached to any more: their application and supervisor were
    killed together, and nobody will ever ask for them. Returns their names.
    """
    prefix = full_name(PRIVATE_PREFIX)
    found = [entry for entry in os.listdir(files.SHM_DIRECTORY) if entry.startswith(prefix) and "." not in entry]
    names = [PRIVATE_PREFIX + entry.removeprefix(prefix) for entry in found]
    return [name for name in names if _is_abandoned(name)]


def is_unusable(error: Exception) -> bool:
    """Whether an error of `attach_store` means that what there is can never be attached to, only destroyed."""
    return isinstance(error, SegmentForeign | SegmentMissing | SegmentNotReady | SegmentVersionError)


def _is_abandoned(name: str) -> bool:
    """Whether it was, and is destroyed now."""
    try:
        store = attach_store(name)
    except (SegmentError, SegmentMissing):
        return False
    age_s = time.time() - store.segment.words[at.CREATED_US] / 1e6
    if not store.supervision.private or age_s < _NEWBORN_S or store.supervision.others():
        close_store(store)
        return False
    destroy_store(store)
    return True


def _attached(name: str) -> Store | None:
    store = _open.get(full_name(name))
    return store if store and not store.segment.removed else None


def _entered(segment: Segment, hold: tuple[int, int] | None = None) -> Store:
    store = Store(segment)
    try:
        store.resume(*hold) if hold else store.enter()
    except BaseException:
        segment.close()
        raise
    if segment.removed:
        store.leave()
        raise SegmentMissing(f"segment {segment.name!r} was removed just now: create it again")
    _open[full_name(segment.name)] = store
    _users[store] = 1
    return store


def _renew_lock() -> None:
    global _opening
    _opening = threading.Lock()  # another thread may have held it when the fork came


os.register_at_fork(after_in_child=_renew_lock)
