"""What a newcomer meets first is true: the scripts run, the README's example runs, the version has its notes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shardq.version import __version__

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["scripts/run", "scripts/test", "scripts/lint", "scripts/bench", ".ci/run"]


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


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CONTRIBUTING.md",
        "bench/README.md",
        "docs/howto/recipes.md",
        "docs/explanation/promises.md",
        "docs/explanation/failures.md",
        "docs/reference/json.md",
        "docs/reference/operations.md",
        "docs/reference/performance.md",
    ],
)
def test_links_inside_the_repository_lead_somewhere(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_readme_example_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    [output] = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, output), ran.stderr


def test_the_changelog_begins_with_unreleased_and_then_this_version() -> None:
    headings = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    # Before the first release there is nothing below it.
    assert headings[1:2] in ([], [__version__])
