"""`scripts/release`: what it refuses, and that what it builds works where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shardq.version import __version__
from tests.support.programs import ROOT

VERSION = "1.2.3"
NOTES = f"# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2026-11-30\n\n- Something.\n"


def git(tree: Path, *words: str) -> str:
    told = ("git", "-C", str(tree), "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *words)
    return subprocess.run(told, capture_output=True, text=True, timeout=60, check=True).stdout


def write(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository that is ready to be released."""
    git(tmp_path, "init", "--quiet")
    write(tmp_path, "shardq/version.py", f'__version__ = "{VERSION}"\n')
    write(tmp_path, "CHANGELOG.md", NOTES)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/_release.py", tmp_path / "scripts")
    commit(tmp_path)
    return tmp_path


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "Something")


def not_ready(tree: Path) -> tuple[int, str]:
    ran = subprocess.run(
        (sys.executable, "-P", tree / "scripts/_release.py", "ready"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stderr


def leave_a_file(tree: Path) -> None:
    write(tree, "left.txt", "")


def tag(tree: Path) -> None:
    git(tree, "tag", f"v{VERSION}")


def raise_the_version(tree: Path) -> None:
    write(tree, "shardq/version.py", '__version__ = "1.2.4"\n')
    commit(tree)


def note_something_more(tree: Path) -> None:
    write(tree, "CHANGELOG.md", NOTES.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n"))
    commit(tree)


def test_a_tree_that_is_ready_is_not_refused(tree: Path) -> None:
    assert not_ready(tree) == (0, "")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (leave_a_file, "the tree is not clean: commit or remove left.txt"),
        (tag, f"there is a tag v{VERSION}: raise the version"),
        (raise_the_version, "does not go on with this version: write `## [1.2.4] - YYYY-MM-DD`"),
        (note_something_more, f"does not begin with an empty [Unreleased]: move what it has to [{VERSION}]"),
    ],
)
def test_what_is_not_ready_is_said_with_what_to_do(tree: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(tree)
    code, said = not_ready(tree)
    assert code == 1
    assert reason in said
    assert said.count("not ready: ") == 1


@pytest.mark.timeout(300)
def test_a_dry_run_builds_all_checks_the_wheel_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("build")
    before = git(ROOT, "tag"), git(ROOT, "status", "--porcelain")
    ran = subprocess.run(
        (ROOT / "scripts/release", "--dry-run", "--with", sys.executable),
        cwd="/",
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.iterdir()) == []
    checked = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("checking ")]
    # It is built of the sdist. Whether it is of one platform depends on whether there is a compiler.
    assert [name.startswith(f"shardq-{__version__}-") and name.endswith(".whl") for name in checked] == [True]
    assert (git(ROOT, "tag"), git(ROOT, "status", "--porcelain")) == before


def test_data_that_is_not_installed_is_named(tmp_path: Path) -> None:
    package = tmp_path / "shardq"
    shutil.copytree(ROOT / "shardq", package, ignore=shutil.ignore_patterns("__pycache__", "*.lua", "*.css"))
    ran = subprocess.run(
        (sys.executable, "-P", "-c", MISSING, ROOT / "scripts", package),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    named = ran.stdout.split()
    assert named
    assert {Path(name).suffix for name in named} == {".lua", ".css"}


MISSING = """
import sys
from pathlib import Path
sys.path.append(sys.argv[1])
import _release
print(*_release.missing(_release.ROOT, Path(sys.argv[2])))
"""
