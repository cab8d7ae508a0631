"""What is in a segment, for operators: figures for a log, words for messages, and what is wrong."""

from __future__ import annotations

from shardq.drivers.shared.storage import SharedStorage
from shardq.model import Counts
from shardq.text.wording import counted


def counts(storage: SharedStorage) -> Counts:
    """What is in the segment. It needs no guard, so it works also while a process is stopped inside it."""
    return storage.overview().counts


def fields(held: Counts) -> dict[str, int]:
    """What would be lost with the segment, as the fields of a log line."""
    return {
        "queued": held.queued,
        "dead_letters": held.dead,
        "deferred": held.deferred,
        "recurrent": held.recurrent,
    }


def in_words(held: Counts) -> list[str]:
    """`3 requests`, `1 dead letter`: a text for each kind of which there are any."""
    kinds = {
        "request": held.queued,
        "deferred request": held.deferred,
        "recurrent request": held.recurrent,
        "dead letter": held.dead,
    }
    return [counted(number, kind) for kind, number in kinds.items() if number]


def wrongs(storage: SharedStorage) -> list[str]:
    """What is wrong with the segment, a line each; nothing should be. Its processes stand still while it is copied,
    for about 0.7 s a gigabyte. Raises `SegmentError` where there is no memory for the copy.
    """
    return storage.store.checking.wrongs()
