"""The capacity of a segment that was given none: limits of memory of control groups, as kernels show them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from shardq.errors import SegmentNoRoom
from shardq.shm.files import capacity
from shardq.shm.files.capacity import default_capacity_bytes, memory_limit_bytes
from shardq.shm.registry import close_store, create_store, destroy
from tests.faults.kit.points import Child
from tests.support.drivers import MIB

#: Of the first kind without a limit.
ENDLESS = 9223372036854771712
GROUPS = Path("/sys/fs/cgroup/memory")


class Tree:
    """Files as /proc and /sys/fs/cgroup have them."""

    def __init__(self, folder: Path) -> None:
        self.process = folder / "process"
        self.place = folder / "cgroup"
        self.process.mkdir()
        self.place.mkdir()

    def of_first_kind(self, group: str, root: str = "/") -> None:
        self._write(
            f"4:memory:{group}\n2:cpu,cpuacct:/elsewhere\n", f"{root} {self.place} rw - cgroup cgroup rw,memory"
        )

    def of_second_kind(self, group: str, root: str = "/") -> None:
        self._write(f"0::{group}\n", f"{root} {self.place} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate")

    def set(self, group: str, file: str, value: object) -> None:
        folder = self.place / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(f"{value}\n")

    @property
    def limit(self) -> int | None:
        return memory_limit_bytes(self.process)

    def _write(self, groups: str, mount: str) -> None:
        (self.process / "cgroup").write_text(groups)
        others = "23 1 0:2 / / rw - ext4 /dev/root rw\n31 23 0:4 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        (self.process / "mountinfo").write_text(f"{others}32 23 0:9 {mount}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_the_limit_of_the_group(tree: Tree) -> None:
    tree.of_second_kind("/app.slice/app.service")
    tree.set("app.slice/app.service", "memory.max", 256 * MIB)

    assert tree.limit == 256 * MIB


def test_of_all_groups_above_the_least_limit_counts(tree: Tree) -> None:
    tree.of_second_kind("/app.slice/app.service/worker")
    tree.set("app.slice/app.service/worker", "memory.max", "max")
    tree.set("app.slice/app.service", "memory.max", 256 * MIB)
    tree.set("app.slice", "memory.max", 128 * MIB)
    tree.set("other.slice", "memory.max", MIB)

    assert tree.limit == 128 * MIB


def test_what_makes_a_group_slow_is_a_limit_too(tree: Tree) -> None:
    tree.of_second_kind("/a")
    tree.set("a", "memory.max", 256 * MIB)
    tree.set("a", "memory.high", 64 * MIB)

    assert tree.limit == 64 * MIB


@pytest.mark.parametrize("group", ["/", "/..", "/../../other"])
def test_in_a_container_with_groups_of_its_own(tree: Tree, group: str) -> None:
    tree.of_second_kind(group, root="/")
    tree.set(".", "memory.max", 100 * MIB)

    assert tree.limit == 100 * MIB


def test_mounts_of_any_name_beside_it_change_nothing(tree: Tree) -> None:
    tree.of_second_kind("/a")
    tree.set("a", "memory.max", 256 * MIB)
    mounts = tree.process / "mountinfo"
    for name in (b"no UTF-8: \xff", "a line: \u2028".encode(), "a space: \u3000 ".encode()):
        name = name.replace(b" ", rb"\040")
        mounts.write_bytes(b"24 1 0:3 / /media/" + name + b" rw - ext4 /dev/sda rw\n" + mounts.read_bytes())

    assert tree.limit == 256 * MIB


def test_in_a_container_that_sees_its_own_group_only(tree: Tree) -> None:
    tree.of_first_kind("/docker/4711", root="/docker/4711")
    tree.set(".", "memory.limit_in_bytes", 100 * MIB)

    assert tree.limit == 100 * MIB


def test_of_the_first_kind_below_the_root(tree: Tree) -> None:
    tree.of_first_kind("/user/session")
    tree.set("user/session", "memory.limit_in_bytes", ENDLESS)
    tree.set("user", "memory.limit_in_bytes", 200 * MIB)
    tree.set(".", "memory.limit_in_bytes", ENDLESS)

    assert tree.limit == 200 * MIB


def test_without_groups_or_without_proc_there_is_no_limit(tree: Tree) -> None:
    assert tree.limit is None
    tree.of_second_kind("/a")
    assert tree.limit is None


def test_half_of_the_limit_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "memory_limit_bytes", lambda: 6 * MIB)

    assert default_capacity_bytes() == 3 * MIB


def test_with_less_memory_than_any_segment_needs_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "memory_limit_bytes", lambda: 100_000)

    with pytest.raises(SegmentNoRoom, match="the control group may have 100000 bytes"):
        default_capacity_bytes()


def test_where_dev_shm_is_full_a_limit_that_is_none_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "memory_limit_bytes", lambda: ENDLESS)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=1, f_frsize=4096))

    with pytest.raises(SegmentNoRoom, match=r"/dev/shm has 4096 bytes free$"):
        default_capacity_bytes()


# A real one


@pytest.fixture
def group() -> Iterator[Path]:
    group = GROUPS / f"shardq-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of memory can be made here: {error}")
    yield group
    group.rmdir()


def test_a_process_in_a_real_group_makes_a_segment_of_half_its_limit(group: Path, name: str) -> None:
    (group / "memory.limit_in_bytes").write_text(str(96 * MIB))

    def made() -> int:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        store = create_store(name)
        capacity_bytes = store.segment.layout.capacity_bytes
        close_store(store)
        destroy(name)
        return capacity_bytes

    assert Child(made).result() == 48 * MIB
