"""The content of a segment that leaves: what deaths left half done does not keep it."""

from __future__ import annotations

from shardq.shm import words as at
from tests.support.segments import NewStore

PIPE, DUE_US, MOVE = "app/Job/1/0", 1 << 61, 77


def test_what_a_process_took_out_when_it_died_is_dropped(new_store: NewStore) -> None:
    """It had taken out the last message of a record that waits, and not yet the record."""
    store = new_store()
    assert store.deferring.defer([(PIPE, [b"later"])], DUE_US)
    leaving = store.leaving
    records, journal = leaving._records, leaving._journal
    [heap, _] = records.heaps
    with store._section:
        found = records.read(heap.first())
        journal.commit(records.cancelled_with(found, found.first), journal.moved(at.DEFERRED, -1))
    assert heap.count == 1

    leaving.leave(MOVE, "shm://elsewhere")
    assert leaving.hand_over(MOVE)
    leaving.forget(MOVE)

    assert heap.count == 0
    assert not store.segment.words[at.DEFERRED]
