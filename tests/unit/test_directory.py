"""Threads and tubes by name: found, added, chained on collision, given up when entries are needed."""

from __future__ import annotations

import pytest

from shardq.errors import DirectoryFull, HandlerError
from shardq.shm import words as at
from shardq.shm.journal import Journal
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.store import Store
from shardq.shm.tubes import directory as module
from shardq.shm.tubes.directory import NOT_FOUND, Directory
from shardq.shm.tubes.handler_table import HandlerTable
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.segments import NewSegment, NewStore


def new_directory(segment: Segment) -> Directory:
    """Also a second view of the same segment, as another process has it: without what the first remembers."""
    extents = Extents(segment)
    return Directory(segment, Journal(segment), extents, HandlerTable(segment, extents, 0))


@pytest.fixture
def directory(segment: Segment) -> Directory:
    return new_directory(segment)


def drain(store: Store, pipe: str) -> None:
    key = pipe.rpartition("/")[0]
    token = store.delivering.claim(key)
    hands.pop(store.delivering, pipe, hands.take(store.delivering, [pipe], 1 << 20, token).through, token)
    store.delivering.unclaim(key, token)


def test_unknown_names_are_not_found(directory: Directory) -> None:
    assert directory.thread("m/H/0") == NOT_FOUND
    assert directory.tube("m/H/0/0") == (NOT_FOUND, NOT_FOUND)


def test_what_was_added_is_found_by_all_processes(directory: Directory, segment: Segment) -> None:
    added = [directory.add_tube(f"m/H/{thread}/{priority}") for thread in range(5) for priority in (0, -3)]

    for view in (directory, new_directory(segment)):
        assert [view.tube(f"m/H/{thread}/{priority}") for thread in range(5) for priority in (0, -3)] == added
        assert [view.name(thread) for thread in view.threads()] == [f"m/H/{thread}" for thread in range(5)]


@pytest.mark.parametrize("priority", [0, 1, -1, 2**31, -(2**63), 2**63 - 1])
def test_priorities_keep_their_sign(directory: Directory, segment: Segment, priority: int) -> None:
    _, tube = directory.add_tube(f"m/H/0/{priority}")

    assert directory.priority(tube) == priority
    assert new_directory(segment).tube(f"m/H/0/{priority}")[1] == tube


def test_the_tubes_of_a_thread_hang_on_it(directory: Directory) -> None:
    tubes = {directory.add_tube(f"m/H/0/{priority}")[1] for priority in range(4)}
    other = directory.add_tube("m/H/1/0")[1]

    thread = directory.thread("m/H/0")

    assert set(directory.tubes_of(thread)) == tubes
    assert other not in tubes


def test_names_in_one_bucket_do_not_hide_each_other(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "digest_of", lambda key: 42)
    directory = new_directory(segment)
    entries = [directory.add_thread(f"m/H/{number}") for number in range(6)]

    # The first, the last and one between leave the chain.
    for gone in (0, 5, 2):
        directory.forget(entries[gone])

    view = new_directory(segment)
    found = [view.thread(f"m/H/{number}") for number in range(6)]
    assert found == [NOT_FOUND, entries[1], NOT_FOUND, entries[3], entries[4], NOT_FOUND]
    assert all(view.linked(entries[number]) for number in (1, 3, 4))
    assert not any(view.linked(entries[number]) for number in (0, 2, 5))


def test_a_given_up_name_is_void_for_who_remembers_it(directory: Directory, segment: Segment) -> None:
    thread, _ = directory.add_tube("m/H/0/0")
    other = new_directory(segment)
    assert other.tube("m/H/0/0")[0] == thread

    directory.forget(thread)
    assert directory.add_thread("m/H/1") == thread

    assert other.thread("m/H/0") == NOT_FOUND
    assert other.tube("m/H/0/0") == (NOT_FOUND, NOT_FOUND)
    assert other.name(thread) == "m/H/1"


def test_a_name_that_is_too_long_is_refused(directory: Directory) -> None:
    longest = "m/" + "H" * (at.NAME_BYTES - 4) + "/0"
    assert directory.name(directory.add_thread(longest)) == longest

    with pytest.raises(HandlerError, match="longer than"):
        directory.add_thread(f"m{longest}")


def test_a_name_of_the_longest_kind_is_counted_in_bytes(directory: Directory) -> None:
    with pytest.raises(HandlerError, match="longer than"):
        directory.add_thread("ä" * (at.NAME_BYTES // 2 + 1))


@pytest.mark.parametrize("pipe", ["", "no-number", "m/H/0/high"])
def test_a_pipe_without_a_priority_is_refused(directory: Directory, pipe: str) -> None:
    with pytest.raises(HandlerError, match="pipe"):
        directory.tube(pipe)


def test_when_all_entries_hold_work_the_error_says_what_to_do(new_store: NewStore) -> None:
    store = new_store(MIB, 16)
    for thread in range(16):
        assert store.appending.append([(f"m/H/{thread}/0", [b"message"])])

    with pytest.raises(DirectoryFull, match=r"route to fewer threads \(`threads = 1024` .* Route\.by") as raised:
        store.appending.append([("m/H/16/0", [b"message"])])

    assert store.segment.name in str(raised.value)
    assert len(store.reading.pipes()) == 16
    assert store.inspection.counts().accepted == 16


def test_tubes_run_out_too(new_store: NewStore) -> None:
    store = new_store(MIB, 16)
    for priority in range(16):
        assert store.appending.append([(f"m/H/0/{priority}", [b"message"])])

    with pytest.raises(DirectoryFull):
        store.appending.append([("m/H/0/16", [b"message"])])

    assert store.reading.length("m/H/0/15") == 1
    assert store.reading.read("m/H/0/16", 1).count == 0


def test_drained_threads_give_their_entries_to_new_ones(new_store: NewStore) -> None:
    store = new_store(MIB, 16)
    for round_ in range(5):
        for thread in range(16):
            pipe = f"m/H/{round_}-{thread}/0"
            assert store.appending.append([(pipe, [pipe.encode()])])
        assert sorted(store.reading.pipes()) == sorted(f"m/H/{round_}-{thread}/0" for thread in range(16))
        for thread in range(16):
            drain(store, f"m/H/{round_}-{thread}/0")


def test_threads_with_work_or_a_worker_keep_their_entries(new_store: NewStore) -> None:
    store = new_store(MIB, 16)
    store.appending.append([("m/H/busy/0", [b"message"])])
    token = store.delivering.claim("m/H/bound")

    for number in range(100):
        store.appending.append([(f"m/H/{number}/0", [b"message"])])
        drain(store, f"m/H/{number}/0")

    assert store.reading.read("m/H/busy/0", 1).messages == [b"message"]
    assert store.delivering.claim("m/H/bound") == 0
    assert store.delivering.unclaim("m/H/bound", token)


def test_a_thread_is_not_given_up_for_its_own_second_tube(new_store: NewStore) -> None:
    store = new_store(MIB, 16)
    for thread in range(16):
        store.appending.append([(f"m/H/{thread}/0", [b"message"])])
        drain(store, f"m/H/{thread}/0")

    assert store.appending.append([("m/H/7/1", [b"message"])])

    assert store.reading.pipes() == ["m/H/7/1"]
    assert store.reading.read("m/H/7/1", 1).messages == [b"message"]


def test_sequence_numbers_go_on_above_those_of_entries_given_up(new_store: NewStore) -> None:
    store = new_store(MIB, 16)
    store.appending.append([("m/H/first/0", [b"message"] * 1000)])
    drain(store, "m/H/first/0")
    for number in range(64):
        store.appending.append([(f"m/H/{number}/0", [b"message"])])
        drain(store, f"m/H/{number}/0")

    store.appending.append([("m/H/first/0", [b"message"])])

    assert store.reading.read("m/H/first/0", 1).sequence >= 1000


def test_tables_get_memory_as_they_grow(new_segment: NewSegment) -> None:
    segment = new_segment(64 * MIB)
    directory, before = new_directory(segment), segment.used_bytes

    directory.add_tube("m/H/0/0")
    few = segment.used_bytes - before
    for number in range(2000):
        directory.add_tube(f"m/H/{number}/0")

    assert 0 < few < 256 << 10
    assert segment.used_bytes - before >= 2000 * (at.THREAD_BYTES + at.TUBE_WORDS * 8)
    assert len(list(directory.threads())) == 2000
