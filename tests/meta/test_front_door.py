"""What a newcomer meets first is true: the scripts run, the README is short, the version has its notes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from shardq.version import __version__

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    "scripts/run",
    "scripts/test",
    "scripts/lint",
    "scripts/docs",
    "scripts/bench",
    "scripts/release",
    ".ci/run",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_executable_and_stop_at_the_first_error(command: str) -> None:
    path = ROOT / command
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "scripts/README.md"])
def test_documents_name_only_commands_that_exist(document: str) -> None:
    named = re.findall(r"(?:scripts|\.ci)/[a-z]+\b", (ROOT / document).read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readme_is_less_than_two_screens() -> None:
    """What is more belongs into the documents."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_changelog_begins_with_unreleased_and_then_this_version() -> None:
    headings = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", __version__]
