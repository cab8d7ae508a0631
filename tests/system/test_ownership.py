"""Files that another user made beforehand, under the names that ours will have: none is used, and each is named."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shardq.cli import FAILED, OK, main
from shardq.drivers import SharedStorage
from shardq.errors import SegmentError, SegmentMissing, SegmentUntrusted, ShardqError
from shardq.shm.files import names
from shardq.shm.files import own_files as files
from shardq.shm.registry import attach_store, close_store, create_store, destroy
from shardq.supervise import main as supervise
from shardq.supervisor.exits import Exit
from tests.faults.kit.points import Child
from tests.support import jobs
from tests.support.drivers import MIB
from tests.support.segments import new_name, remove_all_like

PIPE = "m/H/0/0"
#: Who is no user of this machine, and an ordinary one.
MALLORY, NOBODY = 54321, 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")

Make = Callable[[Path], None]


@pytest.fixture
def name(name: str) -> Iterator[str]:
    yield name
    remove_all_like(name)


def handed_to(uid: int) -> Callable[[Path], None]:
    def hand(path: Path) -> None:
        os.chown(path, uid, uid, follow_symlinks=False)

    return hand


def as_user(uid: int, act: Callable[[], object]) -> object:
    """What the action returns in a process of this user, or what it raises, in words."""

    def run() -> object:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        try:
            return act()
        except ShardqError as error:
            return f"{type(error).__name__}: {error}"

    return Child(run).result()


def file_of(name: str, kind: str, uid: int = 0) -> Path:
    system_name = f"shardq-{uid}-{name}"
    paths = {
        "segment": names.segment_path(system_name),
        "lock file": names.lock_path(system_name),
        "semaphore": names.semaphore_path(system_name),
        "bell": names.bell_path(system_name, 0),
    }
    return paths[kind]


# Before the segment is made


@pytest.mark.parametrize("victim", [0, NOBODY], ids=["root", "nobody"])
@pytest.mark.parametrize("mode", [0o600, 0o666])
@pytest.mark.parametrize("kind", ["segment", "lock file"])
def test_a_file_that_another_user_made_is_not_used(name: str, victim: int, mode: int, kind: str) -> None:
    path = file_of(name, kind, victim)
    path.touch()
    path.chmod(mode)
    handed_to(MALLORY)(path)

    said = as_user(victim, lambda: SharedStorage.create(name, MIB).name)

    assert re.match(rf"SegmentUntrusted: {path} is a file of user uid {MALLORY} where .*`rm {path}`", str(said)), said
    assert path.stat().st_uid == MALLORY
    assert path.stat().st_size == 0
    assert [entry.name for entry in path.parent.iterdir() if name in entry.name] == [path.name]


def test_a_semaphore_that_another_user_made_is_not_used_and_keeps_an_ordinary_user_out(name: str) -> None:
    path = file_of(name, "semaphore", NOBODY)
    path.write_bytes(bytes(32))
    handed_to(MALLORY)(path)

    said = as_user(NOBODY, lambda: SharedStorage.create(name, MIB).name)

    assert str(said).startswith("SegmentUntrusted"), said
    assert str(path) in str(said)
    assert [entry.name for entry in path.parent.iterdir() if name in entry.name] == [path.name]


def test_a_whole_segment_that_another_user_made_is_not_attached_to(name: str) -> None:
    close_store(create_store(name, MIB))
    for kind in ("segment", "lock file", "semaphore"):
        path = file_of(name, kind)
        path.chmod(0o666)
        handed_to(MALLORY)(path)

    with pytest.raises(SegmentUntrusted, match=f"of user uid {MALLORY} where root"):
        attach_store(name)
    assert main(["status", "--url", f"shm://{name}"]) == 1
    # In a process of its own: a supervisor sets what signals do to it.
    assert Child(lambda: int(supervise([jobs.__name__, "--url", f"shm://{name}", "--drain"]))).result() == Exit.SEGMENT


@pytest.mark.parametrize("kind", ["segment", "lock file", "semaphore"])
def test_one_file_of_another_user_is_enough(name: str, kind: str) -> None:
    close_store(create_store(name, MIB))
    path = file_of(name, kind)
    handed_to(MALLORY)(path)

    with pytest.raises(SegmentUntrusted, match=re.escape(str(path))):
        attach_store(name)


# Of another kind


def make_link(path: Path) -> None:
    target = path.with_name(f"{path.name}:precious")
    target.write_bytes(b"precious")
    path.symlink_to(target)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name(f"{path.name}:precious"))


def make_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


OTHER_KINDS: dict[str, Make] = {"link": make_link, "dangling link": make_dangling_link, "FIFO": make_fifo}


@pytest.mark.parametrize("kind", ["segment", "lock file"])
@pytest.mark.parametrize("make", OTHER_KINDS)
def test_what_is_no_file_is_not_used(name: str, kind: str, make: str) -> None:
    path = file_of(name, kind)
    OTHER_KINDS[make](path)

    for act in (create_store, attach_store):
        with pytest.raises((SegmentUntrusted, SegmentMissing)):
            act(name)
    with pytest.raises(SegmentUntrusted, match=re.escape(str(path))):
        create_store(name, MIB)
    precious = path.with_name(f"{path.name}:precious")
    assert not precious.exists() or precious.read_bytes() == b"precious"
    assert precious.exists() == (make == "link")


@pytest.mark.parametrize("kind", ["segment", "lock file", "semaphore"])
def test_a_second_name_of_another_file_of_ours_is_not_used(name: str, kind: str) -> None:
    """A link that another user set, where the system lets him, would make two segments one."""
    other = new_name()
    for one in (name, other):
        close_store(create_store(one, MIB))
    file_of(name, kind).unlink()
    os.link(file_of(other, kind), file_of(name, kind))

    with pytest.raises(SegmentUntrusted, match="another name of a file"):
        attach_store(name)
    file_of(name, kind).unlink()
    close_store(attach_store(other))
    destroy(other)


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o604, 0o640])
@pytest.mark.parametrize("kind", ["segment", "lock file", "semaphore"])
def test_what_others_may_read_or_write_is_not_used(name: str, kind: str, mode: int) -> None:
    close_store(create_store(name, MIB))
    file_of(name, kind).chmod(mode)

    with pytest.raises(SegmentUntrusted, match=f"mode {mode:04o}.*chmod 600"):
        attach_store(name)


def test_a_semaphore_too_small_for_one_is_none(name: str) -> None:
    """Its first use would be a SIGBUS."""
    close_store(create_store(name, MIB))
    os.truncate(file_of(name, "semaphore"), 0)

    with pytest.raises(SegmentError, match="its semaphore is gone"):
        attach_store(name)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, MIB])
def test_a_segment_too_small_for_its_header_never_kills(name: str, size: int) -> None:
    close_store(create_store(name, MIB))
    os.truncate(file_of(name, "segment"), size)

    def refused() -> str:
        try:
            attach_store(name)
        except SegmentError as error:
            return type(error).__name__
        return "attached"

    assert Child(refused).result() in ("SegmentForeign", "SegmentNotReady")


# Bells


def test_a_bell_that_is_a_link_is_not_rung(name: str) -> None:
    store = create_store(name, MIB)
    precious = names.SHM_DIRECTORY / f"{name}:precious"
    precious.write_bytes(b"precious")
    names.bell_path(store.segment.system_name, 7).symlink_to(precious)

    store.doorbell.ring(7)

    assert precious.read_bytes() == b"precious"
    close_store(store)
    destroy(name)


@pytest.mark.parametrize("make", ["FIFO of another user", "file", "link"])
def test_a_bell_in_whose_place_something_else_lies_is_named(name: str, make: str) -> None:
    store = create_store(name, MIB)
    path = names.bell_path(store.segment.system_name, store.slot)
    if make == "FIFO of another user":
        os.mkfifo(path)
        handed_to(MALLORY)(path)
    elif make == "file":
        path.touch()
    else:
        make_link(path)

    with pytest.raises(SegmentUntrusted, match=re.escape(str(path))):
        store.doorbell.open()

    path.unlink()
    assert store.doorbell.open() >= 0
    assert stat.S_ISFIFO(path.stat().st_mode)
    close_store(store)
    destroy(name)


def test_a_bell_of_another_user_is_not_rung(name: str) -> None:
    store = create_store(name, MIB)
    path = names.bell_path(store.segment.system_name, 7)
    os.mkfifo(path)
    handed_to(MALLORY)(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    store.doorbell.ring(7)

    assert os.read(reader, 1) == b""
    os.close(reader)
    close_store(store)
    destroy(name)


# Who one is


def test_under_another_user_id_one_is_told_whose_segment_there_is(name: str) -> None:
    close_store(create_store(name, MIB))

    said = as_user(NOBODY, lambda: attach_store(name).slot)

    assert re.match(r"SegmentMissing: .*belongs to root \(uid 0\): run as the user", str(said)), said
    destroy(name)


def test_it_is_the_effective_user_whose_segments_one_has(name: str) -> None:
    def as_effective() -> str:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        close_store(create_store(name, MIB))
        return names.full_name(name)

    assert Child(as_effective).result() == f"shardq-{NOBODY}-{name}"
    assert as_user(NOBODY, lambda: [attach_store(name).slot, destroy(name)][0]) == 0


def test_who_becomes_another_user_destroys_no_other_segment(name: str) -> None:
    theirs = file_of(name, "segment", NOBODY)
    theirs.touch(0o600)
    handed_to(NOBODY)(theirs)

    def dropped() -> object:
        store = create_store(name, MIB)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            store.segment.unlink(store.hold[0])
        except ShardqError as error:
            return type(error).__name__
        return None

    assert Child(dropped).result() == "SegmentUntrusted"
    assert theirs.exists()
    destroy(name)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_umask_takes_nothing_from_its_files_and_adds_nothing(name: str, umask: int) -> None:
    def made() -> list[str]:
        os.umask(umask)
        store = create_store(name, MIB)
        store.doorbell.open()
        modes = {oct(path.stat().st_mode & 0o777) for path in names.SHM_DIRECTORY.iterdir() if name in path.name}
        close_store(store)
        close_store(attach_store(name))
        destroy(name)
        return sorted(modes)

    assert as_user(NOBODY, made) == ["0o600"]


def test_only_root_can_destroy_what_another_user_made(name: str) -> None:
    theirs = {uid: file_of(name, "segment", uid) for uid in (0, NOBODY)}
    for path in theirs.values():
        path.touch()
        handed_to(MALLORY)(path)

    said = as_user(NOBODY, lambda: main(["destroy", "--url", f"shm://{name}"]))
    assert main(["destroy", "--url", f"shm://{name}"]) == OK

    assert said == FAILED
    assert {entry.name for entry in names.SHM_DIRECTORY.iterdir() if name in entry.name} == {theirs[NOBODY].name}


def test_what_could_not_be_removed_is_told(name: str) -> None:
    path = file_of(name, "semaphore", NOBODY)
    as_user(NOBODY, lambda: close_store(create_store(name, MIB)))
    handed_to(MALLORY)(path)

    said = as_user(NOBODY, lambda: destroy(name))

    assert str(said).startswith("SegmentUntrusted"), said
    assert str(path) in str(said)
    assert shutil.which("rm")
    assert files.inode(path) is not None
