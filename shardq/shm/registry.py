"""Opening and closing segments: one `Store` per segment and process, however often it is opened.

The liveness lock is the process's, and closing a second descriptor of the lock file would drop it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import suppress

from shardq.errors import (
    ConfigurationError,
    SegmentBusy,
    SegmentError,
    SegmentExists,
    SegmentForeign,
    SegmentMissing,
    SegmentNotReady,
    SegmentUntrusted,
    SegmentVersionError,
    ShardqError,
)
from shardq.shm import destroying
from shardq.shm import words as at
from shardq.shm.files.capacity import default_capacity_bytes
from shardq.shm.files.lock_bytes import PATIENCE_S
from shardq.shm.files.names import full_name, names_with
from shardq.shm.files.refusals import told
from shardq.shm.layout import Layout
from shardq.shm.observing.observer import Observer
from shardq.shm.processes.shares import KEPT_SLOTS, Share
from shardq.shm.segment import Segment
from shardq.shm.store import Store
from shardq.shm.unique_index import UNLISTED
from shardq.shm.words import DEFAULT_SLOTS

#: How the names of private segments begin: abandoned ones are looked for without attaching to all other segments.
PRIVATE_PREFIX = "private-"
#: How many seconds the process that creates a segment may take until it is attached to it.
_NEWBORN_S = 60.0
#: The table of equal messages has so many numbers for tubes, and each owner word for slots.
_MOST_ENTRIES, _MOST_SLOTS = UNLISTED - 1, (1 << 16) - 1

_open: dict[str, Store] = {}
_users: Counter[Store] = Counter()
_opening = threading.Lock()
#: Descriptors of lock files, by the inodes of their segments: observers left them while this process was attached.
_parked: dict[int, int] = {}


def create_store(
    name: str,
    capacity_bytes: int | None = None,
    *,
    threads: int | None = None,
    slots: int = DEFAULT_SLOTS,
    private: bool = False,
    share: Share = Share.GENERAL,
) -> Store:
    """Create a segment with so many general slots, and attach to it with a slot of that share. See
    `Segment.create` for the errors.
    """
    capacity_bytes = default_capacity_bytes() if capacity_bytes is None else capacity_bytes
    layout = Layout.sized(capacity_bytes, threads, slots + KEPT_SLOTS)
    _check_numbers_fit(name, layout)
    with _opening:
        if _attached(name):
            # Creating opens and closes the lock file, which would cost this process its lock on it.
            raise SegmentExists(
                f"segment {name!r} exists already, and this process is attached to it: use that, or close it first"
            )
        segment = Segment.create(name, layout, private=private)
        try:
            return _entered(segment, share, PATIENCE_S)
        except BaseException:
            # A segment that its creator could not enter would stay for ever.
            with suppress(ShardqError):
                destroying.destroy_unused(segment)
            raise


def _check_numbers_fit(name: str, layout: Layout) -> None:
    """Raise `ConfigurationError` where there are more entries or slots than words have bits for their numbers, or too
    few.
    """
    for what, there, least, most, beside in (
        ("threads", layout.threads, 1, _MOST_ENTRIES, at.SPARE_ENTRIES),
        ("slots", layout.slots, 0, _MOST_SLOTS, KEPT_SLOTS),
    ):
        if not least + beside <= there <= most:
            raise ConfigurationError(
                f"segment {name!r} cannot have {there - beside} {what}: give at least {least} and at most "
                f"{most - beside}"
            )


def attach_store(name: str, share: Share = Share.GENERAL, patience_s: float = PATIENCE_S) -> Store:
    """Attach to a segment with a slot of that share, or share this process's attachment to it. See `Segment.attach` for
    the errors; raises `SlotsExhausted` as well, and `SegmentBusy` where another process is stopped for `patience_s`
    while it takes a slot.
    """
    with _opening:
        store = _attached(name)
        if store:
            _users[store] += 1
            return store
        return _entered(Segment.attach(name), share, patience_s)


def observe(name: str) -> Observer:
    """Look at a segment without taking part: with no slot, waiting for no lock, and writing nothing. So it works
    however many are attached, and while everything hangs. See `Segment.attach` for the errors.
    """
    observer = Observer(Segment.observe(name))
    try:
        with _opening:
            observer.open(_parked.pop(observer.segment.inode, None))
    except BaseException:
        observer.segment.close()
        raise
    return observer


def stop_observing(observer: Observer) -> None:
    """Unmap what an observer looked at."""
    with _opening:
        inode, lock = observer.segment.inode, observer.close()
        is_attached = any(store.segment.inode == inode for store in _open.values())
        if is_attached and inode not in _parked:
            # Closing it would drop the locks on that file of this process.
            _parked[inode] = lock
        elif not is_attached:
            os.close(lock)


def resume_store(name: str, descriptor: int, slot: int) -> Store:
    """Attach to a segment with the slot that this process had before it executed itself anew."""
    with _opening:
        return _entered(Segment.attach(name), Share.FAMILY, PATIENCE_S, (descriptor, slot))


def close_store(store: Store) -> None:
    """Give up one use of a store; the last one detaches the process."""
    with _opening:
        _users[store] -= 1
        if _users[store]:
            return
        del _users[store]
        if _open.get(store.segment.system_name) is store:
            del _open[store.segment.system_name]
        store.leave()
        lock = _parked.pop(store.segment.inode, None)
        if lock is not None:
            os.close(lock)


def destroy(name: str, *, unused: bool = False, inode: int | None = None) -> None:
    """Unlink a segment and its files: the one of that inode, where it is given. Raises `SegmentMissing` where there is
    none, `SegmentError` where `unused` was asked for and another process is attached.
    """
    with _opening:
        store = _attached(name)
        if store and inode in (None, store.segment.inode):
            _unlink(store)
        elif not store:
            destroying.destroy(name, unused=unused, inode=inode)


def destroy_store(store: Store) -> None:
    """Unlink a store's segment, not another one that has its name by now, and give up this use of the store. Raises
    `SegmentBusy` where another process is stopped while it takes a slot: then the segment stays.
    """
    try:
        with _opening:
            if _users[store] == 1:
                store.doorbell.close()  # while the name of its FIFO is surely that of this segment
            _unlink(store)
    finally:
        close_store(store)


def destroy_abandoned(prefix: str = PRIVATE_PREFIX) -> list[str]:
    """Destroy this user's private segments to which no process is attached any more: their application and supervisor
    were killed together, and no process will ever ask for them. Returns their names. `prefix`: how their names begin.
    """
    with told("look for abandoned segments"):
        names = names_with(prefix)
    return [name for name in names if _is_abandoned(name)]


def is_unusable(error: Exception) -> bool:
    """Whether an error of `attach_store` means that what there is can never be attached to, only destroyed."""
    unusable = SegmentForeign | SegmentMissing | SegmentNotReady | SegmentUntrusted | SegmentVersionError
    return isinstance(error, unusable)


def _is_abandoned(name: str) -> bool:
    """Destroy the segment if it is abandoned. Returns whether it was."""
    try:
        store = attach_store(name, Share.VISITORS)
    except SegmentError:
        return False
    age_s = time.time() - store.segment.words[at.CREATED_US] / 1e6
    if not store.supervision.private or age_s < _NEWBORN_S or store.supervision.others():
        close_store(store)
        return False
    try:
        destroy_store(store)
    except SegmentBusy:
        return False
    return True


def _attached(name: str) -> Store | None:
    store = _open.get(full_name(name))
    return store if store and not store.segment.removed else None


def _unlink(store: Store) -> None:
    """Unlink a store's segment. Raises `SegmentBusy`."""
    # Other processes that have it mapped must not store what no worker will ever find.
    store.gate.shut()
    try:
        store.segment.unlink(store.hold[0])
    except SegmentBusy:
        store.gate.reopen()  # it stays, so it takes requests
        raise


def _entered(segment: Segment, share: Share, patience_s: float, hold: tuple[int, int] | None = None) -> Store:
    store = Store(segment)
    try:
        store.resume(*hold) if hold else store.enter(share, patience_s)
    except BaseException:
        segment.close()
        raise
    if segment.removed:
        store.leave()
        raise SegmentMissing(f"segment {segment.name!r} was removed just now: create it again")
    _open[segment.system_name] = store
    _users[store] = 1
    return store


def _renew_lock() -> None:
    global _opening
    _opening = threading.Lock()  # another thread may have held it when the fork came


os.register_at_fork(after_in_child=_renew_lock)
