"""Being a worker of a supervisor, over a segment."""

from __future__ import annotations

from collections.abc import Callable

from shardq.drivers.shared.storage import SharedStorage
from shardq.model import Batch
from shardq.shm.processes.shares import Share


def take_worker_slot(storage: SharedStorage) -> None:
    """Take a slot that is kept for workers, where this process inherited its supervisor's by fork. That closes the
    supervisor's descriptors, so it comes first. Raises `SegmentBusy`, `SlotsExhausted`.
    """
    storage.store.take_slot(Share.FAMILY)


def join(storage: SharedStorage, number: int) -> None:
    """Open what a worker waits with, then say that this process is the worker of that number. Raises
    `SegmentUnavailable`.
    """
    storage.store.doorbell.open()
    storage.store.waiting.deaths()
    storage.store.membership.join(number)


def ask_renewal(storage: SharedStorage) -> None:
    """Ask the supervisor to replace this worker by a fresh process."""
    storage.store.membership.ask_renewal()


def progress_of(storage: SharedStorage) -> Callable[[Batch, float, float | None, str], None]:
    """The function by which this worker says how far its batch has come: its slot has the batch in hand."""
    said = storage.store.membership.note_progress
    return lambda _, done, total, note: said(done, total, note)
