"""Opening and closing segments: one `Store` per segment and process, however often it is opened.

The liveness lock is the process's, and closing a second descriptor of the lock file would drop it.
"""

from __future__ import annotations

import os
import threading
from collections import Counter

from shardq.errors import SegmentExists, SegmentForeign, SegmentMissing, SegmentNotReady, SegmentVersionError
from shardq.shm.layout import DEFAULT_SLOTS, Layout
from shardq.shm.segment import SHM_DIRECTORY, Segment, default_capacity_bytes, full_name, remove_files
from shardq.shm.store import Store

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
    if not (SHM_DIRECTORY / full_name(name)).exists():
        raise SegmentMissing(f"there is no segment {name!r} to destroy")
    remove_files(name)


def is_unusable(error: Exception) -> bool:
    """Whether an error of `attach_store` means that the segment can never be attached to, only destroyed."""
    return isinstance(error, SegmentForeign | SegmentNotReady | SegmentVersionError)


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
    _open[full_name(segment.name)] = store
    _users[store] = 1
    return store


def _renew_lock() -> None:
    global _opening
    _opening = threading.Lock()  # another thread may have held it when the fork came


os.register_at_fork(after_in_child=_renew_lock)
