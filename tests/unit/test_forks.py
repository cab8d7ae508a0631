"""A forked child is another process: it has a slot of its own, or none, and never its parent's."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator

import pytest

from shardq.errors import SegmentMissing, SlotsExhausted
from shardq.shm import words as at
from shardq.shm.files.lock_bytes import REGISTER_BYTE
from shardq.shm.files.names import bell_path
from shardq.shm.files.own_files import remove_files
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.registry import close_store, create_store
from shardq.shm.store import Store
from tests.faults.kit.points import Child, Gate
from tests.support.drivers import MIB
from tests.support.segments import NewStore

PIPE = "m/H/0/0"


@pytest.fixture
def crowded(name: str) -> Iterator[Store]:
    """A segment with slots for two processes."""
    store = create_store(name, MIB, slots=2)
    yield store
    close_store(store)


def refused(store: Store) -> bool:
    try:
        store.appending.append([(PIPE, [b"x"])])
    except SlotsExhausted:
        return True
    return False


def test_a_child_that_found_no_slot_finds_none_the_next_time(crowded: Store) -> None:
    gate = Gate()
    other = Child(lambda: [crowded.inspection.counts(), gate.wait()][:0])
    gate.reached()

    def refused_twice() -> list[bool]:
        found = [refused(crowded), refused(crowded)]
        close_store(crowded)
        return found

    assert Child(refused_twice).result() == [True, True]
    gate.open()
    other.end()
    assert crowded.inspection.counts().accepted == 0


def test_a_child_that_found_no_slot_takes_one_that_is_free_later(crowded: Store) -> None:
    staying, trying = Gate(), Gate()
    other = Child(lambda: [crowded.inspection.counts(), staying.wait()][:0])
    staying.reached()

    def tries_again() -> list[bool | int]:
        first = refused(crowded)
        trying.wait()
        return [first, refused(crowded), crowded.slot]

    child = Child(tries_again)
    trying.reached()
    other.kill()
    staying.open()
    trying.open()
    assert child.result() == [True, False, 1]
    assert crowded.inspection.counts().accepted == 1


def test_a_child_that_uses_no_store_has_not_its_parents_bell_open(crowded: Store) -> None:
    """Rings for the next process of that slot would be lost there."""
    crowded.doorbell.open()
    gate = Gate()
    child = Child(gate.wait)
    gate.reached()
    crowded.doorbell.forget()

    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        os.open(bell_path(crowded.segment.system_name, crowded.slot), os.O_WRONLY | os.O_NONBLOCK)

    gate.open()
    child.end()


def test_a_child_is_its_parent_in_no_store_where_something_of_one_cannot_be_let_go(
    new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the guard it would be taken for its parent, and get in beside it."""
    forget, failed = Doorbell.forget, list[Doorbell]()

    def fail_once(bell: Doorbell) -> None:
        if not failed:
            failed.append(bell)
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        forget(bell)

    stores = [new_store() for _ in range(3)]
    parents = [store.slot for store in stores]
    monkeypatch.setattr(Doorbell, "forget", fail_once)

    slots = Child(lambda: [store.slot for store in stores]).result()

    failed.append(stores[0].doorbell)
    assert all(its != parent for its, parent in zip(slots, parents, strict=True))


def test_a_child_takes_no_slot_by_the_lock_file_of_the_next_segment_of_the_name(name: str) -> None:
    """There it would keep a slot from others, and the segment from going."""
    former = create_store(name, MIB)
    remove_files(name)
    other = create_store(name, MIB)

    def enters() -> None:
        with pytest.raises(SegmentMissing):
            former.inspection.counts()

    Child(enters).end()
    close_store(former)
    close_store(other)
    remove_files(name)


def test_no_thread_of_a_child_uses_the_parents_slot_while_another_takes_one(crowded: Store) -> None:
    attempts = crowded.segment.words[crowded.segment.layout.slot_word(crowded.slot) + at.SLOT_ATTEMPT]
    assert crowded._slots.try_lock(REGISTER_BYTE)  # a process that wants a slot waits for it
    gate = Gate()

    def two_at_once() -> int:
        threads = [threading.Thread(target=lambda: crowded.appending.append([(PIPE, [b"x"])])) for _ in range(2)]
        threads[0].start()
        while crowded._slots.mine >= 0:
            continue  # until the first has given up what it inherited
        threads[1].start()
        gate.wait()
        for thread in threads:
            thread.join()
        return crowded.slot

    child = Child(two_at_once)
    gate.reached()
    crowded._slots.unlock(REGISTER_BYTE)
    gate.open()
    assert child.result() == 1
    assert crowded.segment.words[crowded.segment.layout.slot_word(0) + at.SLOT_ATTEMPT] == attempts
    assert crowded.inspection.counts().accepted == 2
