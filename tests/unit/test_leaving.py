"""The content of a segment that leaves: what deaths left half done does not keep it."""

from __future__ import annotations

from shardq.model import Chunk, Place
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


def test_what_is_being_dropped_cannot_be_opened(new_store: NewStore) -> None:
    """Between two sections of another process that drops it, a part of it is gone."""
    store = new_store()
    arriving, leaving = store.arriving, store.leaving
    arriving.arrive(MOVE, "shm://before")
    for number in range(100):
        assert arriving.store(MOVE, Chunk(number, Place.TUBE, f"app/Job/{number}/0", [b"came"]))
    opened = list[bool]()
    forget_some = leaving._forget_some

    def observed(standing: int, by: int, move: int) -> bool:
        more = forget_some(standing, by, move)
        opened.append(arriving.open(MOVE))
        return more

    leaving._forget_some = observed  # type: ignore[method-assign]
    leaving.clear(MOVE)

    assert len(opened) > 2
    assert not any(opened)
    assert store.segment.words[at.CLOSED] == at.OPEN
    assert store.inspection.counts().queued == 0
