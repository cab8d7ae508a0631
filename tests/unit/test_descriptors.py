"""What shardq can do without takes none of the last descriptors of a process."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shardq.errors import SegmentUnavailable
from shardq.shm.processes.doorbell import Doorbell
from shardq.shm.store import Store
from shardq.supervisor.workers.member import Member
from shardq.supervisor.workers.renewal import Wear
from shardq.system.descriptors import KEPT, check_left, left, only_last_ones_left
from tests.faults.kit.points import Child, Gate
from tests.support.drivers import MIB
from tests.support.segments import files_of, stores


@contextmanager
def so_many_left(free: int) -> Iterator[None]:
    """This process may open so many, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1 + free, hard))
    taken = []
    try:
        while left(free + 1) > free:
            taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def store() -> Iterator[Store]:
    with stores() as new_store:
        yield new_store(MIB)


@pytest.fixture
def other(store: Store) -> Iterator[Doorbell]:
    bell = Doorbell(store.segment, store.slot + 1)
    bell.open()
    yield bell
    bell.close()


def opened() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("free", [0, 1, KEPT - 1, KEPT, KEPT + 1])
def test_what_is_left_can_be_opened_and_no_more(free: int) -> None:
    with so_many_left(free):
        assert left(100) == free
        assert left(3) == min(3, free)
        assert only_last_ones_left() == (free < KEPT)
        taken = [os.dup(0) for _ in range(free)]
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        assert left(100) == 0
        for descriptor in taken:
            os.close(descriptor)


def test_without_a_limit_all_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert left(100) == 100


def test_the_number_that_is_named_is_the_least() -> None:
    with so_many_left(KEPT + 2):
        check_left(2, "work")
        limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with pytest.raises(SegmentUnavailable, match=f"cannot work: .*raise `ulimit -n` to at least {limit + 3}"):
            check_left(5, "work")
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit + 3, hard))
        check_left(5, "work")
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@pytest.mark.parametrize(("free", "then"), [(KEPT + 1, KEPT), (KEPT, KEPT), (1, 1)])
def test_who_rings_takes_none_of_the_last_ones(store: Store, other: Doorbell, free: int, then: int) -> None:
    with so_many_left(free):
        for _ in range(2):
            store.doorbell.ring(store.slot + 1)
            assert left(100) == then
            assert os.read(other.open(), 9) == b"!"


def test_who_watches_takes_none_of_the_last_ones(store: Store) -> None:
    gate = Gate()

    def serves() -> None:
        assert store.delivering.claim("m/H/0")
        gate.wait()

    child = Child(serves)
    gate.reached()
    store.waiting.deaths()
    with so_many_left(KEPT):
        store.waiting.lie_down(None, None)
        assert left(100) == KEPT
        store.waiting.rise(None)
    gate.open()
    child.end()


def test_who_supervises_takes_none_of_the_last_ones() -> None:
    gate = Gate()
    child = Child(gate.wait)
    gate.reached()
    with so_many_left(KEPT):
        member = Member.of_child(child.pid, 1)
        assert (member.descriptor, left(100)) == (-1, KEPT)
    gate.open()
    child.end()


def test_a_bell_that_cannot_be_opened_leaves_no_file(store: Store) -> None:
    before = files_of(store.segment.name)
    with so_many_left(0), pytest.raises(SegmentUnavailable):
        store.doorbell.open()
    assert files_of(store.segment.name) == before


def test_a_worker_that_cannot_look_at_its_memory_works_on() -> None:
    wear = Wear(None, 1, lambda: pytest.fail("it did not look"))
    with so_many_left(0):
        wear.after_batch(1)
