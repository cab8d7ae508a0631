"""A killed process loses its locks first and is a corpse some time later. In between it uses the segment no more."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shardq.shm.processes.slots import FIRST_SLOT_BYTE, start_ticks
from shardq.shm.store import Store
from tests.faults.kit.points import Child, Gate

#: Descriptors that the kernel closes after the locks are free: this keeps the process dying for some milliseconds.
BALLAST = 10_000

#: How often a death is watched, at most, until it was seen half-way.
DEATHS = 100


def with_ballast(store: Store, gate: Gate) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (BALLAST + 500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    store.inspection.counts()
    for _ in range(BALLAST):
        os.eventfd(0)
    gate.wait()


@contextmanager
def dying(store: Store) -> Iterator[int]:
    """The slot of a process that was killed: its locks are free, and no process has reaped it."""
    gate = Gate()
    child = Child(lambda: with_ballast(store, gate))
    try:
        gate.reached()
        [slot] = store.supervision.others()
        os.kill(child.pid, signal.SIGKILL)
        store._slots.wait_for(FIRST_SLOT_BYTE + slot)
        store._slots.unlock(FIRST_SLOT_BYTE + slot)
        yield slot
    finally:
        child.kill()
        gate.open()


def attached_beside(store: Store, slot: int) -> bool:
    return slot in store.supervision.others()


def refuses_to_close(store: Store, slot: int) -> bool:
    return not store.supervision.close_if_unused()


@pytest.mark.parametrize("wrong", [attached_beside, refuses_to_close])
def test_who_is_dying_is_no_user_once_its_locks_are_free(store: Store, wrong: Callable[[Store, int], bool]) -> None:
    for _ in range(DEATHS):
        with dying(store) as slot:
            pid = store._slots.pid_here(slot)
            assert not wrong(store, slot)
            if pid and start_ticks(pid) is not None:
                return  # it was half-way all the time
    pytest.fail(f"{DEATHS} deaths, and none was seen before its end")


def test_who_is_dying_can_still_be_waited_for(store: Store) -> None:
    for _ in range(DEATHS):
        with dying(store) as slot:
            pid = store._slots.pid_here(slot)
            if pid and start_ticks(pid) is not None:
                assert start_ticks(pid, dying=False) is None
                return
    pytest.fail(f"{DEATHS} deaths, and none was seen before its end")


def test_what_a_dying_process_had_claimed_waits_for_its_corpse(store: Store) -> None:
    """Until then it may hold locks on other files, which the next holder of a claim would want."""
    for _ in range(DEATHS):
        with dying(store) as slot:
            pid, alive = store._slots.pid_here(slot), store._slots.alive(store._slots.owner_of(slot))
            if pid and start_ticks(pid) is not None:
                assert alive
                return
    pytest.fail(f"{DEATHS} deaths, and none was seen before its end")
