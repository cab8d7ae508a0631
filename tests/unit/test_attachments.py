"""Creating, attaching and destroying at the same time: one lock file keeps them apart, also while it is replaced."""

from __future__ import annotations

import fcntl
import gc
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from weakref import ref

import pytest

from shardq.drivers import SharedStorage
from shardq.errors import SegmentMissing
from shardq.shm import words as at
from shardq.shm.files import lock_bytes
from shardq.shm.files.lock_bytes import FIRST_SLOT_BYTE, REGISTER_BYTE
from shardq.shm.files.own_files import open_lock_file, remove_files
from shardq.shm.processes.slots import LEAVE_BYTE
from shardq.shm.registry import (
    attach_store,
    close_store,
    create_store,
    destroy,
    destroy_abandoned,
)
from shardq.shm.segment import Segment
from tests.faults.kit.points import Action, Child, Gate
from tests.support.drivers import MIB
from tests.support.segments import files_of


@pytest.fixture
def name(name: str) -> str:
    """This process is not attached to it."""
    close_store(create_store(name, MIB))
    return name


def until_it_waits_for_a_lock(act: Action) -> Child:
    """A child that does it, once it has found a lock taken: then it looks which process has it."""
    found, tell = os.pipe()
    os.set_blocking(tell, False)

    def acts() -> object:
        look = lock_bytes.holder_of

        def looked(*arguments: int) -> int | None:
            os.write(tell, b"!")
            return look(*arguments)

        lock_bytes.holder_of = looked
        return act()

    child = Child(acts)
    os.close(tell)
    assert os.read(found, 1), "the child ended before it waited for a lock"
    os.close(found)
    return child


@contextmanager
def waiting(name: str, act: Action) -> Iterator[Child]:
    """A child that does it, and waits as yet for the lock, which this process has."""
    descriptor = open_lock_file(name, create=True)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, REGISTER_BYTE)
        yield until_it_waits_for_a_lock(act)
    finally:
        os.close(descriptor)


def test_who_waits_to_destroy_spares_the_segment_that_was_made_meanwhile(name: str) -> None:
    def destroyed() -> None:
        destroy(name)

    with waiting(name, destroyed) as child:
        remove_files(name)
        other = create_store(name, MIB)
    child.result()

    assert not other.segment.removed
    assert other.appending.append([("m/H/0/0", [b"message"])])
    close_store(other)
    close_store(attach_store(name))


def test_two_that_destroy_at_once_both_succeed_and_leave_nothing(name: str) -> None:
    def destroyed() -> None:
        destroy(name)

    with waiting(name, destroyed) as child:
        remove_files(name)
    child.result()

    assert files_of(name) == set()


def test_who_waits_to_create_is_not_content_with_a_lock_file_that_was_removed(name: str) -> None:
    def created() -> None:
        close_store(create_store(name, MIB))

    with waiting(name, created) as child:
        remove_files(name)
    child.result()

    close_store(attach_store(name))


def test_who_waits_to_attach_is_told_that_the_segment_was_removed(name: str) -> None:
    def attached() -> str:
        with pytest.raises(SegmentMissing, match="removed just now") as caught:
            attach_store(name)
        return str(caught.value)

    with waiting(name, attached) as child:
        remove_files(name)
    assert name in child.result()


def test_what_is_destroyed_is_ones_own_segment_and_not_the_next_of_its_name(name: str) -> None:
    storage = SharedStorage.attach(name)
    remove_files(name)
    other = SharedStorage.create(name, MIB)

    storage.destroy()
    storage.destroy()  # once more, while this process is attached to the next one, and while it is not

    assert not other.store.segment.removed
    other.detach()
    storage.destroy()
    other = SharedStorage.attach(name)
    other.destroy()
    assert files_of(name) == set()


@pytest.mark.parametrize("absent", [False, True])
async def test_a_segment_that_another_process_destroyed_accepts_nothing(name: str, absent: bool) -> None:
    """No worker would ever find it."""
    storage = SharedStorage.attach(name)
    assert await storage.append([("m/H/0/0", [b"first"])]) == 1
    Child(storage.destroy).end()

    with pytest.raises(SegmentMissing, match="destroyed: nothing was stored"):
        await storage.append([("m/H/0/0", [b"second"])], absent=absent)

    assert not storage.append_at_once([("m/H/0/0", [b"second"])])
    storage.detach()


@pytest.mark.parametrize("by_name", [True, False])
def test_destroying_what_others_of_this_process_use_does_not_cost_their_slot(name: str, by_name: bool) -> None:
    storage, store = SharedStorage.attach(name), attach_store(name)
    lock, slot = store.hold

    def held_by_another() -> bool:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, FIRST_SLOT_BYTE + slot)
        except BlockingIOError:
            return True
        return False

    destroy(name) if by_name else storage.destroy()

    assert files_of(name) == set()
    assert Child(held_by_another).result()
    assert not store.reading.length("m/H/0/0")
    storage.detach()
    close_store(store)


def test_a_lock_file_that_is_left_alone_can_be_destroyed(name: str) -> None:
    destroy(name)
    os.close(open_lock_file(name, create=True))

    destroy(name)

    assert files_of(name) == set()
    with pytest.raises(SegmentMissing, match=name):
        destroy(name)


def test_the_lock_file_is_what_goes_last(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that makes a new one may create, so there must be nothing left that is still to be unlinked."""
    gone: list[bool] = []
    unlink = Path.unlink

    def noting(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith(":lock"):
            gone.append(files_of(name) == {path.name})
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", noting)
    destroy(name)

    assert gone == [True]


async def test_who_detached_may_attach_again(name: str) -> None:
    storage = SharedStorage.attach(name)
    storage.detach()
    storage.detach()

    again = SharedStorage.attach(name)

    assert await again.append([("m/H/0/0", [b"message"])]) == 1
    await again.close()
    assert Segment.attach(name).close() is None


# Leaving


def test_a_process_that_leaves_waits_for_those_that_leave_before_it_and_then_finds_none(name: str) -> None:
    gate = Gate()

    def leave_first() -> None:
        attach_store(name)._slots.wait_for(LEAVE_BYTE)
        gate.wait()

    def leave_last() -> bool:
        store = attach_store(name)
        last = store.supervision.last_to_leave()
        close_store(store)
        return last

    first = Child(leave_first)
    gate.reached()
    second = until_it_waits_for_a_lock(leave_last)
    first.kill()
    assert second.result() is True
    gate.open()


def test_no_process_is_the_last_while_a_supervisor_serves(name: str) -> None:
    store = attach_store(name)
    assert store.supervision.become_supervisor()
    assert not Child(lambda: attach_store(name).supervision.last_to_leave()).result()
    close_store(store)


# What no process will come back for


#: Not the prefix that applications use: one that starts beside this test would remove what it left.
ABANDONED = "abandoned-"


@contextmanager
def left(*, private: bool, age_s: float) -> Iterator[str]:
    """A segment that is so old, and whose creator was killed."""
    name = f"{ABANDONED}{os.getpid()}-{secrets.token_hex(4)}"

    def create() -> None:
        store = create_store(name, MIB, private=private)
        store.segment.words[at.CREATED_US] -= int(age_s * 1e6)
        os.kill(os.getpid(), signal.SIGKILL)

    Child(create).end()
    try:
        yield name
    finally:
        remove_files(name)


def test_a_private_segment_of_the_dead_is_removed() -> None:
    with left(private=True, age_s=3600) as name:
        assert name in destroy_abandoned(name)
        assert files_of(name) == set()


@pytest.mark.parametrize(("private", "age_s"), [(False, 3600), (True, 0)], ids=["not private", "just created"])
def test_other_segments_without_users_stay(private: bool, age_s: float) -> None:
    with left(private=private, age_s=age_s) as name:
        assert name not in destroy_abandoned(name)
        close_store(attach_store(name))


def test_a_private_segment_in_use_stays() -> None:
    with left(private=True, age_s=3600) as name:
        store = attach_store(name)
        assert name not in Child(lambda: destroy_abandoned(name)).result()
        assert not store.segment.removed
        close_store(store)


def test_a_store_that_is_closed_leaves_nothing_of_itself(name: str) -> None:
    """The garbage collector does not see what the core in C has."""
    store = attach_store(name)
    parts = [ref(part) for part in vars(store._parts).values() if hasattr(type(part), "__weakref__")]
    assert len(parts) > 10
    close_store(store)
    del store
    gc.collect()
    assert [part for part in parts if part() is not None] == []
