"""How many workers there are by default: what the process may use, and never more than there can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shardq import Supervisor
from shardq.errors import ConfigurationError
from shardq.serving import command_line
from shardq.settings import MOST_WORKERS, SupervisorSettings
from shardq.system import cores
from shardq.system.cores import usable_cores

#: Says that there is a mount of this kind, with these options, that shows this control group.
Mount = Callable[..., Path]


@pytest.fixture(autouse=True)
def _many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with more cores than there can be workers."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(192)))
    monkeypatch.delenv("QUEUE_SUPERVISOR_WORKERS", raising=False)


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """What the kernel tells about a process in no control group."""
    folder = tmp_path / "process"
    folder.mkdir()
    (folder / "cgroup").write_text("")
    (folder / "mountinfo").write_text("22 27 0:21 / /proc rw,relatime - proc proc rw\n")
    return folder


@pytest.fixture
def mount(process: Path, tmp_path: Path) -> Mount:
    def add(kind: str, options: str = "rw", root: str = "/", name: str = "mounted here") -> Path:
        point = tmp_path / name
        point.mkdir()
        path = str(point).replace(" ", r"\040")
        with (process / "mountinfo").open("a") as out:
            out.write(f"30 27 0:22 {root} {path} rw,nosuid shared:9 - {kind} cgroup {options}\n")
        return point

    return add


def in_groups(process: Path, *lines: str) -> None:
    (process / "cgroup").write_text("".join(f"{line}\n" for line in lines))


def bound(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{text}\n")


def bound_by_version_1(folder: Path, quota_us: int, period_us: int = 100_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota_us}\n")
    (folder / "cpu.cfs_period_us").write_text(f"{period_us}\n")


def test_without_a_control_group_all_cores_are_usable(process: Path) -> None:
    assert usable_cores(process) == 192


def test_without_the_kernels_files_all_cores_are_usable(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "absent") == 192


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1000 1000000", 1),
        ("max 100000", 192),
        ("40000000 100000", 192),
        ("nonsense", 192),
        ("", 192),
        ("100000 0", 192),
    ],
)
def test_a_quota_counts_in_whole_cores(process: Path, mount: Mount, text: str, expected: int) -> None:
    bound(mount("cgroup2") / "app", text)
    in_groups(process, "0::/app")
    assert usable_cores(process) == expected


@pytest.mark.parametrize("point", [b"/media/\xff", "/media/\u2028".encode(), "/media/\u3000".encode(), b"/media"])
@pytest.mark.parametrize("source", [b"/dev/sda", b""])
def test_mounts_of_any_name_beside_it_change_nothing(process: Path, mount: Mount, point: bytes, source: bytes) -> None:
    in_groups(process, "0::/app")
    bound(mount("cgroup2") / "app", "150000 100000")
    mounts = process / "mountinfo"
    mounts.write_bytes(b"24 1 0:3 / " + point + b" rw - ext4 " + source + b" rw\n" + mounts.read_bytes())

    assert usable_cores(process) == 2


def test_the_lowest_quota_on_the_way_up_counts(process: Path, mount: Mount) -> None:
    point = mount("cgroup2")
    bound(point / "slice" / "app", "max 100000")
    bound(point / "slice", "300000 100000")
    bound(point, "500000 100000")
    in_groups(process, "0::/slice/app")
    assert usable_cores(process) == 3


@pytest.mark.parametrize("group", ["/", "/docker/0123", "/../..", "/docker/0123/../4567"])
def test_a_container_that_sees_its_group_at_the_top_finds_it(process: Path, mount: Mount, group: str) -> None:
    bound(mount("cgroup2"), "400000 100000")
    in_groups(process, f"0::{group}")
    assert usable_cores(process) == 4


def test_a_mount_that_shows_a_part_shows_it_from_there(process: Path, mount: Mount) -> None:
    bound(mount("cgroup2", root="/docker/0123") / "inner", "600000 100000")
    in_groups(process, "0::/docker/0123/inner")
    assert usable_cores(process) == 6


@pytest.mark.parametrize(("quota_us", "expected"), [(250_000, 3), (-1, 192), (1, 1)])
def test_version_1_has_the_quota_in_two_files(process: Path, mount: Mount, quota_us: int, expected: int) -> None:
    bound_by_version_1(mount("cgroup", "rw,cpu,cpuacct") / "app", quota_us)
    bound_by_version_1(mount("cgroup", "rw,memory", name="memory") / "app", 100_000)
    in_groups(process, "11:memory:/app", "4:cpu,cpuacct:/app", "0::/")
    assert usable_cores(process) == expected


def test_where_there_are_both_versions_the_lower_quota_counts(process: Path, mount: Mount) -> None:
    bound_by_version_1(mount("cgroup", "rw,cpuacct,cpu", name="first") / "app", 700_000)
    bound(mount("cgroup2", name="second") / "app", "500000 100000")
    in_groups(process, "4:cpu,cpuacct:/app", "0::/app")
    assert usable_cores(process) == 5


def test_the_cores_it_may_run_on_count_where_they_are_fewer(
    process: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})
    bound(mount("cgroup2"), "800000 100000")
    in_groups(process, "0::/")
    assert usable_cores(process) == 1


# More cores than there can be workers


@pytest.fixture
def no_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_quotas", lambda process: [1 << 62])


@pytest.mark.usefixtures("no_quota")
def test_the_default_is_never_more_than_the_most() -> None:
    assert usable_cores() == 192
    assert SupervisorSettings().workers == MOST_WORKERS
    assert Supervisor("app.jobs").settings.workers == MOST_WORKERS


@pytest.mark.usefixtures("no_quota")
def test_a_number_that_is_given_is_used() -> None:
    assert Supervisor("app.jobs", workers=2).settings.workers == 2
    assert SupervisorSettings(workers=2).workers == 2
    options = command_line.parser().parse_args(["app.jobs", "--workers", "2"])
    assert command_line.settings_of(options).workers == 2


@pytest.mark.parametrize("variable", ["192", "many"])
def test_a_number_that_is_given_counts_whatever_the_environment_says(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_SUPERVISOR_WORKERS", variable)
    assert Supervisor("app.jobs", workers=2).settings.workers == 2
    with pytest.raises(ConfigurationError, match="QUEUE_SUPERVISOR_WORKERS"):
        Supervisor("app.jobs")


@pytest.mark.parametrize("workers", [MOST_WORKERS + 1, 192])
def test_more_than_the_most_is_refused_where_it_was_asked_for(workers: Any) -> None:
    with pytest.raises(ConfigurationError, match="workers"):
        Supervisor("app.jobs", workers=workers)
