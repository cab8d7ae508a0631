"""However many programs are attached, there is a slot for the family, and for a process that looks in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from shardq.cli import OK, main
from shardq.errors import SlotsExhausted
from shardq.settings import MOST_WORKERS
from shardq.shm.files.lock_bytes import FIRST_SLOT_BYTE, REGISTER_BYTE, holder_of
from shardq.shm.processes.shares import FAMILY_SLOTS, KEPT_SLOTS, VISITOR_SLOTS, Share, slots_of
from shardq.shm.registry import attach_store, close_store, create_store
from shardq.shm.store import Store
from shardq.supervisor.exits import Exit
from tests.faults.kit.points import Child, Gate
from tests.support import jobs
from tests.support.drivers import MIB
from tests.support.jobs import Folder, Record
from tests.support.programs import until
from tests.support.segments import files_of, observing
from tests.support.supervised import Start, client

SLOTS = 3
PIPE = "m/H/0/0"
JOBS = jobs.__name__


@contextmanager
def staying(act: Callable[[], object]) -> Iterator[None]:
    """A child that does it and stays."""
    gate = Gate()
    child = Child(lambda: [act(), gate.wait()][:0])
    gate.reached()
    try:
        yield
    finally:
        gate.open()
        child.end()


@pytest.fixture
def store(name: str) -> Iterator[Store]:
    store = create_store(name, 8 * MIB, slots=SLOTS)
    yield store
    close_store(store)


@pytest.fixture
def full(store: Store) -> Iterator[Store]:
    """All its general slots are taken, the last two by programs that stay."""
    with staying(store.inspection.counts), staying(store.inspection.counts):
        yield store


def refused(store: Store) -> bool:
    """Whether a new process that knows nothing of shares finds no slot."""

    def tried() -> bool:
        try:
            store.inspection.counts()
        except SlotsExhausted:
            return True
        return False

    return bool(Child(tried).result())


def test_all_most_workers_and_two_supervisors_find_a_slot() -> None:
    most = MOST_WORKERS

    assert most + 2 <= FAMILY_SLOTS


def test_shares_are_all_slots_and_none_twice() -> None:
    slots = KEPT_SLOTS + SLOTS

    shares = [slots_of(share, slots) for share in Share]

    assert [slot for share in shares for slot in share] == list(range(slots))
    assert [len(share) for share in shares] == [SLOTS, VISITOR_SLOTS, FAMILY_SLOTS]


def test_programs_leave_the_slots_that_are_kept(full: Store) -> None:
    assert refused(full)
    with staying(lambda: full.membership.join(1)):
        assert refused(full)


def test_a_worker_finds_a_slot_and_what_it_forks_is_any_program(full: Store) -> None:
    def works() -> list[bool]:
        full.membership.join(1)
        return [full.slot in slots_of(Share.FAMILY, full.segment.layout.slots), refused(full)]

    assert Child(works).result() == [True, True]


def test_a_supervisor_starts_and_replaces_workers_where_programs_have_all_slots(
    full: Store, start: Start, folder: Folder
) -> None:
    url = f"shm://{full.segment.name}"
    program = start(JOBS, "--url", url, "--workers", 2).serving()
    workers = program.workers(2)

    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not program.workers(2) & workers, "both were replaced")
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes(range(4)))
        folder.until("done", *range(4))

    assert "SlotsExhausted" not in program.heard
    assert program.stop() == Exit.OK


def test_after_the_death_of_a_supervisor_the_next_one_finds_a_slot_too(
    full: Store, start: Start, folder: Folder
) -> None:
    url = f"shm://{full.segment.name}"
    start(JOBS, "--url", url, "--workers", 1).serving().kill_family()
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([0]))

    assert start(JOBS, "--url", url, "--workers", 1, "--drain").end() == Exit.OK
    assert folder.done() == [0]


# Looking in


def test_a_process_that_looks_in_needs_no_slot_of_the_programs(full: Store) -> None:
    assert full.appending.append([(PIPE, [b"\x01"])])
    url = f"shm://{full.segment.name}"

    def looked() -> list[int]:
        close_store(full)
        commands = (
            ["status", "--sample", "0", "--json"],
            ["tubes", "--json"],
            ["peek", PIPE, "--json"],
            ["dead", "list", "--json"],
            ["recurrent", "list", "--json"],
            ["park", PIPE, "--json"],
            ["dead", "requeue", "--all", "--yes", "--json"],
        )
        return [main([*command, "--url", url]) for command in commands]

    assert Child(looked).result() == [OK] * 7


def test_a_status_needs_no_slot_at_all(full: Store) -> None:
    name = full.segment.name
    visitors = [lambda: (close_store(full), attach_store(name, Share.VISITORS))] * VISITOR_SLOTS

    def looked() -> int:
        close_store(full)
        with pytest.raises(SlotsExhausted):
            attach_store(name, Share.VISITORS)
        with observing(name) as observer:
            return observer.overview().accepted

    with ExitStack() as stack:
        for visit in visitors:
            stack.enter_context(staying(visit))
        assert full.appending.append([(PIPE, [b"one"])])
        assert Child(looked).result() == 1


def test_a_status_changes_nothing_and_waits_for_no_process(store: Store) -> None:
    """Also while a process hangs that holds the guard and the lock under which slots are taken."""
    name, fixed = store.segment.name, slice(store.segment.layout.fixed_bytes)

    def hangs() -> None:
        store.begin_section()
        store._slots.wait_for(REGISTER_BYTE)

    def looked() -> int:
        close_store(store)
        with observing(name) as observer:
            return observer.overview().queued

    with staying(hangs):
        before = bytes(store.segment.bytes[fixed])
        assert Child(looked).result() == 0
        assert bytes(store.segment.bytes[fixed]) == before
    assert store.appending.append([(PIPE, [b"goes on"])])


def test_who_looked_before_it_attached_keeps_its_slot(store: Store) -> None:
    """Closing any descriptor of the lock file would end its locks."""

    def looked() -> bool:
        close_store(store)
        with observing(store.segment.name) as observer:
            mine = attach_store(store.segment.name)
            observer.overview()
        lock, slot = mine.hold
        held = bool(Child(lambda: holder_of(lock, FIRST_SLOT_BYTE + slot) is not None).result())
        close_store(mine)
        return held

    assert Child(looked).result() is True


def test_who_is_attached_looks_with_what_it_has(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"one"])])
    with observing(store.segment.name) as observer:
        assert observer.overview().queued == 1
    assert store.appending.append([(PIPE, [b"two"])])


def test_nothing_is_left_of_a_segment_that_its_creator_cannot_enter(name: str) -> None:
    with pytest.raises(SlotsExhausted):
        create_store(name, MIB, slots=0)

    assert files_of(name) == set()
