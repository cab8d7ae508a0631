"""Creating, attaching, backing and removing the shared object, and every reason to refuse."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from shardq.drivers import SharedStorage
from shardq.errors import (
    ConfigurationError,
    SegmentExists,
    SegmentForeign,
    SegmentMissing,
    SegmentNoRoom,
    SegmentNotReady,
    SegmentUnavailable,
    SegmentUntrusted,
    SegmentVersionError,
)
from shardq.shm import segment as module
from shardq.shm import words as at
from shardq.shm.files import own_files
from shardq.shm.files.names import SHM_DIRECTORY, full_name
from shardq.shm.layout import Layout
from shardq.shm.processes.shares import KEPT_SLOTS
from shardq.shm.registry import attach_store, close_store, create_store, destroy
from shardq.shm.segment import Segment
from shardq.shm.unique_index import ADDRESS_BITS, UNLISTED
from shardq.shm.verbs.equal_messages import tube_field
from shardq.shm.words import PAGE
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.segments import NewSegment, files_of


def path_of(name: str) -> Path:
    return SHM_DIRECTORY / full_name(name)


def test_what_one_mapping_writes_the_other_reads(segment: Segment) -> None:
    other = Segment.attach(segment.name)
    try:
        segment.words[at.TOKEN] = 7
        assert other.words[at.TOKEN] == 7
        assert other.layout == segment.layout
    finally:
        other.close()


@pytest.mark.parametrize("function", ["make_semaphore", "open_semaphore"])
def test_a_segment_that_comes_to_nothing_is_not_mapped_any_more(
    function: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even while the error, and all that its frames hold, is still there."""

    def refused(*arguments: object) -> None:
        raise OSError(errno.EMFILE, "too many")

    if function == "open_semaphore":
        close_store(create_store(name, MIB))
    monkeypatch.setattr(own_files, function, refused)
    before = mapped()

    with pytest.raises(SegmentUnavailable) as raised:
        create_store(name, MIB) if function == "make_semaphore" else attach_store(name)

    assert mapped() == before
    assert raised.value.__cause__


@pytest.mark.parametrize(("what", "least", "most"), [("threads", 1, 131_006), ("slots", 0, 65_535 - KEPT_SLOTS)])
def test_no_more_entries_than_there_are_numbers_for(name: str, what: str, least: int, most: int) -> None:
    for number in (most + 1, 1 << 40, least - 1, -100):
        with pytest.raises(ConfigurationError, match=f"{what}: give at least {least} and at most {most}"):
            create_store(name, MIB, **{what: number})

    assert files_of(name) == set()


def test_the_last_tube_of_the_largest_table_has_a_number_among_equal_messages(name: str) -> None:
    store = create_store(name, 64 * MIB, threads=131_006)

    assert tube_field(store.segment.layout.tubes - 1, 0) < UNLISTED << ADDRESS_BITS < 1 << 64

    close_store(store)


def mapped() -> list[str]:
    """The files of segments that this process has mapped."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(SHM_DIRECTORY) in line]


def test_only_its_user_may_open_it(segment: Segment) -> None:
    modes = {stat.S_IMODE((SHM_DIRECTORY / file).stat().st_mode) for file in files_of(segment.name)}

    assert modes == {0o600}


def test_all_files_are_private_once_a_process_is_attached(name: str) -> None:
    store = create_store(name, MIB)
    store.doorbell.open()

    modes = {file: stat.S_IMODE((SHM_DIRECTORY / file).stat().st_mode) for file in files_of(name)}

    assert len(modes) == 4
    assert set(modes.values()) == {0o600}
    close_store(store)


def test_a_name_is_created_once(segment: Segment) -> None:
    segment.words[at.TOKEN] = 7

    with pytest.raises(SegmentExists, match=segment.name):
        Segment.create(segment.name, segment.layout)

    assert segment.words[at.TOKEN] == 7
    assert path_of(segment.name).exists()


def test_what_does_not_exist_is_missing(name: str) -> None:
    with pytest.raises(SegmentMissing, match=name):
        Segment.attach(name)
    with pytest.raises(SegmentMissing, match=name):
        destroy(name)

    assert files_of(name) == set()


@pytest.mark.parametrize("bad", ["", "a/b", "a b", "ä", "x" * 31])
def test_a_name_that_cannot_be_one_is_refused(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        Segment.create(bad, Layout.sized(MIB))
    with pytest.raises(ConfigurationError, match="name"):
        Segment.attach(bad)


def test_too_small_a_capacity_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="too small"):
        Segment.create(name, Layout.sized(128 << 10))

    assert files_of(name) == set()


def test_a_directory_that_eats_the_capacity_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="too small"):
        Segment.create(name, Layout.sized(MIB, threads=65_536))

    assert files_of(name) == set()


def test_without_memory_for_the_fixed_part_nothing_is_left(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_fallocate", lambda *_: False)

    with pytest.raises(SegmentNoRoom, match="/dev/shm"):
        Segment.create(name, Layout.sized(MIB))

    assert files_of(name) == set()


def test_an_empty_object_is_not_ready(name: str) -> None:
    path_of(name).touch(0o600)

    with pytest.raises(SegmentNotReady, match="being created"):
        Segment.attach(name)


def test_without_its_version_stamp_it_is_not_ready(segment: Segment) -> None:
    segment.words[at.VERSION] = 0

    with pytest.raises(SegmentNotReady, match="being created"):
        Segment.attach(segment.name)


def test_before_its_magic_is_written_it_is_not_ready(segment: Segment) -> None:
    segment.words[at.VERSION] = segment.words[at.MAGIC] = 0

    with pytest.raises(SegmentNotReady):
        Segment.attach(segment.name)


def test_another_layout_version_is_refused(segment: Segment) -> None:
    segment.words[at.VERSION] = at.LAYOUT_VERSION + 1

    with pytest.raises(SegmentVersionError, match=f"version {at.LAYOUT_VERSION + 1}"):
        Segment.attach(segment.name)


@pytest.mark.parametrize("content", [b"hello", b"x" * PAGE, b"\1" * 3 * PAGE])
def test_what_another_program_made_is_foreign(name: str, content: bytes) -> None:
    path_of(name).write_bytes(content)

    with pytest.raises(SegmentForeign, match="no shardq segment"):
        Segment.attach(name)

    assert path_of(name).read_bytes() == content


def test_a_truncated_segment_is_damaged(segment: Segment) -> None:
    os.truncate(path_of(segment.name), segment.layout.fixed_bytes)

    with pytest.raises(SegmentForeign, match="damaged"):
        Segment.attach(segment.name)


@pytest.mark.parametrize("word", [at.TOTAL_BYTES, at.CAPACITY_BYTES, at.SLOTS, at.THREADS, at.TUBES])
def test_a_header_that_does_not_fit_the_size_is_damaged(segment: Segment, word: int) -> None:
    segment.words[word] = 0

    with pytest.raises(SegmentForeign, match="damaged"):
        Segment.attach(segment.name)


def test_without_its_semaphore_it_is_damaged(segment: Segment) -> None:
    (SHM_DIRECTORY / f"sem.{full_name(segment.name)}").unlink()

    with pytest.raises(SegmentForeign, match="semaphore"):
        Segment.attach(segment.name)


def test_a_refused_attach_leaves_no_descriptor(segment: Segment) -> None:
    segment.words[at.VERSION] = 99
    before = set(os.listdir("/proc/self/fd"))

    for _ in range(3):
        with pytest.raises(SegmentVersionError):
            Segment.attach(segment.name)

    assert set(os.listdir("/proc/self/fd")) == before


def test_what_is_stored_outlives_close(name: str) -> None:
    store = create_store(name, MIB)
    store.appending.append([("m/H/0/0", [b"message"])])
    close_store(store)

    again = attach_store(name)

    assert again.reading.read("m/H/0/0", 9).messages == [b"message"]
    close_store(again)


def test_opening_it_twice_shares_one_slot(name: str) -> None:
    first, second = create_store(name, MIB), attach_store(name)
    assert first is second

    close_store(first)
    assert second.appending.append([("m/H/0/0", [b"message"])])
    close_store(second)


async def test_destroy_leaves_nothing(name: str) -> None:
    before = set(os.listdir("/proc/self/fd"))
    storage = SharedStorage.create(name, MIB)
    await storage.wait(None, 0.001)

    storage.destroy()
    storage.destroy()
    await storage.close()

    assert files_of(name) == set()
    with pytest.raises(SegmentMissing):
        SharedStorage.attach(name)
    left = set(os.listdir("/proc/self/fd")) - before
    assert not [n for n in left if "shardq" in os.readlink(f"/proc/self/fd/{n}")]


def test_a_destroyed_segment_can_be_worked_off_where_it_is_mapped_and_takes_no_more(name: str) -> None:
    store = create_store(name, MIB)
    assert store.appending.append([("m/H/0/0", [b"message"])])
    destroy(name)

    assert store.segment.removed
    with pytest.raises(SegmentMissing, match="nothing was stored"):
        store.appending.append([("m/H/0/0", [b"lost"])])
    token = store.delivering.claim("m/H/0")
    batch = hands.take(store.delivering, ["m/H/0/0"], 9, token)
    hands.pop(store.delivering, "m/H/0/0", batch.through, token)
    assert batch.messages == [b"message"]
    close_store(store)


@pytest.mark.parametrize("error", [FileNotFoundError, SegmentUntrusted])
def test_a_segment_that_goes_while_it_is_attached_is_missing_and_not_damaged(
    name: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its semaphore goes before it, and may be another segment's by then."""
    close_store(create_store(name, MIB))

    def removed(_: str) -> None:
        own_files.remove_files(name)
        raise error

    monkeypatch.setattr(own_files, "open_semaphore", removed)
    with pytest.raises(SegmentMissing, match="removed just now"):
        Segment.attach(name)


def test_a_new_segment_takes_the_name_of_a_destroyed_one(name: str) -> None:
    old = create_store(name, MIB)
    old.appending.append([("m/H/0/0", [b"old"])])
    destroy(name)

    new = create_store(name, MIB)

    assert new.reading.pipes() == []
    assert old.reading.read("m/H/0/0", 9).messages == [b"old"]
    close_store(old)
    close_store(new)


def test_memory_is_counted_backed_and_given_back(new_segment: NewSegment) -> None:
    segment = new_segment(4 * MIB)
    start, before = segment.layout.extents_base, segment.used_bytes
    assert before <= segment.layout.fixed_bytes + PAGE

    assert segment.back(start, MIB, limit_bytes=4 * MIB)
    segment.bytes[start : start + 5] = b"hello"
    assert segment.used_bytes == before + MIB

    segment.give_back(start, MIB)
    assert segment.used_bytes == before
    assert segment.bytes[start : start + 5] == bytes(5)


def test_no_memory_beyond_the_limit(segment: Segment) -> None:
    before = segment.used_bytes

    assert not segment.back(segment.layout.extents_base, 2 * PAGE, limit_bytes=before + PAGE)

    assert segment.used_bytes == before
