"""New code by a reload, in whichever way it came to the place where the supervisor was started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP
from typing import Any

import pytest

from shardq.supervisor.code.program import Program
from shardq.supervisor.exits import Exit
from tests.faults.kit.points import Child
from tests.support.programs import ROOT, Supervise, until
from tests.support.segments import files_of
from tests.support.supervised import Start

PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
SAYING = """
import logging
from shardq import Handler
from tests.support.jobs import Record
logging.getLogger("release").warning("this is release %s", {release!r})
"""


class Releases:
    """A folder with a folder for each release, and `current` that leads to one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current = folder / "current"

    def make(self, release: str, more: str = "") -> Path:
        """The code of a release, and the Python it is run with."""
        path = self.folder / release
        path.mkdir()
        (path / "app.py").write_text(SAYING.format(release=release) + more)
        (path / "python").symlink_to(sys.executable)
        return path

    def link(self, release: str) -> None:
        """Let `current` lead there, in one step."""
        fresh = self.folder / "fresh"
        fresh.symlink_to(release)
        fresh.rename(self.current)


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    releases = Releases(tmp_path)
    releases.make("one")
    releases.link("one")
    return releases


def serve(start: Start, url: str, directory: Path, **options: Any) -> Supervise:
    """Start a supervisor as a shell does in this directory."""
    environment = {"PWD": str(directory), "PYTHONPATH": f"{ROOT}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1"}
    program = start("app", "--url", url, "--workers", 1, environment=environment, cwd=directory, **options)
    program.hear("this is release one")
    return program.serving()


def by_link(releases: Releases) -> None:
    releases.make("two")
    releases.link("two")


def by_rename(releases: Releases) -> None:
    """`current` is a folder itself."""
    two = releases.make("two")
    releases.current.rename(releases.folder / "former")
    two.rename(releases.current)


def by_link_and_removal(releases: Releases) -> None:
    by_link(releases)
    for path in (releases.folder / "one").iterdir():
        path.unlink()
    (releases.folder / "one").rmdir()


@pytest.mark.parametrize("deploy", [by_link, by_link_and_removal, by_rename])
@pytest.mark.parametrize("python", [sys.executable, "./python"], ids=["elsewhere", "of-the-release"])
def test_a_reload_finds_the_new_release(
    deploy: Callable[[Releases], None], python: str, releases: Releases, start: Start, url: str, name: str
) -> None:
    program = serve(start, url, releases.current, python=python)
    old = program.workers(1)

    deploy(releases)
    program.signal(SIGHUP)

    program.hear("reloaded workers=1")
    assert program.heard.count("this is release two") == 2  # the probe and the supervisor
    until(lambda: not program.workers(1) & old, "the worker is new")
    assert os.readlink(f"/proc/{program.pid}/cwd") == os.path.realpath(releases.current)
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


def test_a_module_that_changes_the_directory_can_be_reloaded(releases: Releases, start: Start, url: str) -> None:
    releases.make("other", "import os\nos.chdir('/')\n")
    program = serve(start, url, releases.current)
    releases.link("other")
    for times in (1, 2):
        program.signal(SIGHUP)
        program.hear_times("reloaded workers=1", times)
    assert "reload refused" not in program.heard
    assert program.stop() == Exit.OK


def test_a_deployment_that_is_not_finished_is_refused(releases: Releases, start: Start, url: str) -> None:
    program = serve(start, url, releases.current)
    releases.current.unlink()

    program.signal(SIGHUP)
    program.hear("FileNotFoundError: .*current")
    program.hear("reload refused: the new code does not import")
    by_link(releases)
    program.signal(SIGHUP)

    program.hear("reloaded workers=1")
    assert program.stop() == Exit.OK


def test_the_shells_name_of_another_directory_counts_for_nothing(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(releases.current)
    for name, directory in (
        (str(releases.current), str(releases.current)),
        (str(tmp_path), os.path.realpath(releases.current)),
        ("relative", os.path.realpath(releases.current)),
        ("/no/such/place", os.path.realpath(releases.current)),
    ):
        monkeypatch.setenv("PWD", name)
        assert Program.of_this_process().directory == directory


def test_a_directory_that_is_gone_has_no_name(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    def look() -> str | None:
        os.chdir(gone)
        gone.rmdir()
        os.environ["PWD"] = str(gone)
        program = Program.of_this_process()
        program.enter()
        return program.directory

    assert Child(look).result() is None
