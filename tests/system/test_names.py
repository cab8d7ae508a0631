"""Names of segments never meet the names of the files beside a segment, whatever users choose."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardq.cli import FAILED, OK, main
from shardq.errors import SegmentError, SegmentMissing, SegmentVersionError
from shardq.serving.lifecycle import default_url
from shardq.shm import words as at
from shardq.shm.files import names
from shardq.shm.files.lock_bytes import FIRST_SLOT_BYTE
from shardq.shm.registry import attach_store, close_store, create_store, destroy, destroy_abandoned
from shardq.shm.segment import Segment
from shardq.shm.store import Store
from shardq.supervisor.exits import Exit
from tests.faults.kit.points import Child, Gate
from tests.support.drivers import MIB
from tests.support.segments import new_name, remove_all_like
from tests.support.supervised import Start, left_in

PIPE = "m/H/0/0"
#: What a user may put behind a name that exists.
ENDINGS = (".lock", ".bell.0", ".bell.x", ".bell.", "-lock", "_lock", ".", "..", "-0", ".sem", ".lock.lock")


@pytest.fixture
def name(name: str) -> Iterator[str]:
    yield name
    remove_all_like(name)


def files_like(name: str) -> set[str]:
    return {path.name for path in names.SHM_DIRECTORY.iterdir() if name in path.name}


def filled(name: str) -> Store:
    """A segment with one message that says its name, and with a bell."""
    store = create_store(name, MIB)
    assert store.appending.append([(PIPE, [name.encode()])])
    store.doorbell.open()
    return store


@pytest.mark.parametrize("which_goes", ["the first", "the second"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_segment_and_one_with_more_behind_its_name_do_not_know_each_other(
    name: str, ending: str, which_goes: str
) -> None:
    stores = {one: filled(one) for one in (name, name + ending)}
    goes, stays = stores if which_goes == "the first" else reversed(stores)

    close_store(stores[goes])
    destroy(goes)

    assert stores[stays].reading.read(PIPE, 9).messages == [stays.encode()]
    assert stores[stays].appending.append([(PIPE, [b"more"])])
    assert not stores[stays].segment.removed
    close_store(stores[stays])
    close_store(attach_store(stays))
    destroy(stays)
    assert files_like(name) == set()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_name_is_not_taken_by_what_lies_beside_another_segment(name: str, ending: str) -> None:
    store = filled(name)

    with pytest.raises(SegmentMissing):
        attach_store(name + ending)
    with pytest.raises(SegmentMissing):
        destroy(name + ending)

    close_store(store)
    destroy(name)


def test_no_file_beside_a_segment_has_a_name_that_a_segment_can_have(name: str) -> None:
    store = filled(name)
    beside = files_like(name) - {store.segment.system_name}

    own = names.full_name("x").removesuffix("x")
    assert len(beside) == 3
    assert [entry for entry in beside if entry.startswith(own) and ":" not in entry] == []
    close_store(store)
    destroy(name)


def test_an_abandoned_private_segment_with_dots_is_found_and_no_lock_file_is_taken_for_one() -> None:
    prefix = f"abandoned-{new_name()[-8:]}"
    name = f"{prefix}.lock"

    def create() -> None:
        store = create_store(name, MIB, private=True)
        store.doorbell.open()
        store.segment.words[at.CREATED_US] -= 3600 * 1_000_000
        os._exit(0)

    Child(create).end()
    assert name in destroy_abandoned(prefix)
    assert files_like(name) == set()


# Modules


def test_a_package_and_its_module_called_lock_are_served_side_by_side(start: Start, tmp_path: Path, name: str) -> None:
    package = tmp_path / name
    package.mkdir()
    text = (
        "from shardq import Handler\n"
        "class Job(Handler[int]):\n"
        "    async def perform(self, *numbers: int) -> None: pass\n"
    )
    for module in ("__init__", "lock"):
        (package / f"{module}.py").write_text(text)
    environment = {"PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))}
    assert default_url(name) + ".lock" == default_url(f"{name}.lock")

    first = start(name, "--workers", 1, environment=environment).serving()
    second = start(f"{name}.lock", "--workers", 1, environment=environment).serving()

    first.workers(1)
    second.workers(1)
    first.kill_family()
    assert second.stop() == Exit.OK
    assert left_in(f"shm://{name}") == 0
    third = start(name, "--workers", 1, "--drain", environment=environment)
    assert third.end() == Exit.OK
    assert files_like(name) == set()


# Segments of an earlier layout, whose files had other names


@pytest.fixture
def earlier(name: str) -> Store:
    """A segment as the fourth layout had it."""
    store = filled(name)
    system_name = store.segment.system_name
    close_store(store)
    segment = Segment.attach(name)
    segment.words[at.VERSION] = 4
    segment.close()
    names.lock_path(system_name).rename(names.SHM_DIRECTORY / f"{system_name}.lock")
    os.mkfifo(names.SHM_DIRECTORY / f"{system_name}.bell.3", 0o600)
    return store


def test_a_segment_of_an_earlier_layout_is_seen_and_named(earlier: Store, start: Start) -> None:
    name = earlier.segment.name
    before = files_like(name)

    for act in (attach_store, create_store):
        with pytest.raises(SegmentVersionError, match="version 4, this shardq reads"):
            act(name)
    program = start("tests.support.jobs", "--url", f"shm://{name}")
    assert program.end() == Exit.SEGMENT
    program.hear("drain it with the shardq that made it, or destroy it")

    assert files_like(name) == before


@pytest.mark.parametrize("ending", [".lock", ".bell.3"])
def test_a_file_of_an_earlier_segment_is_not_taken_for_a_segment(earlier: Store, ending: str) -> None:
    name = earlier.segment.name
    before = files_like(name)

    for act in (attach_store, create_store, destroy):
        with pytest.raises(SegmentVersionError, match=f"a file of segment '{name}', which an earlier shardq made"):
            act(name + ending)

    assert files_like(name) == before


def test_an_earlier_segment_is_destroyed_with_all_its_files_once_it_is_not_in_use(earlier: Store) -> None:
    name, gate = earlier.segment.name, Gate()
    before = files_like(name)

    def attached() -> None:
        descriptor = os.open(names.SHM_DIRECTORY / f"{earlier.segment.system_name}.lock", os.O_RDWR)
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, FIRST_SLOT_BYTE + 7)
        gate.wait()
        os.close(descriptor)

    child = Child(attached)
    gate.reached()
    with pytest.raises(SegmentError, match=f"in use by process {child.pid}"):
        destroy(name)
    assert files_like(name) == before
    gate.open()
    child.end()

    destroy(name)

    assert files_like(name) == set()


def test_a_segment_of_another_layout_that_is_in_use_is_not_destroyed_by_the_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = filled(name)
    store.segment.words[at.VERSION] = at.LAYOUT_VERSION + 1

    assert Child(lambda: [close_store(store), main(["destroy", "--url", f"shm://{name}"])][1]).result() == FAILED
    assert not store.segment.removed

    close_store(store)
    assert main(["destroy", "--url", f"shm://{name}"]) == OK
    assert files_like(name) == set()
