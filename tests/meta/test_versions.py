"""The supported versions of Python: the scripts find them, and the source brings no warning there."""

from __future__ import annotations

import subprocess
import tomllib
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Prints what a script that has sourced the environment would find.
FOUND = 'source scripts/_env.sh; found_versions; interpreter_of 3.13 || echo "no 3.13"'


def said(command: str, path: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(path), "PYENV_ROOT": str(path / "pyenv")}
    return subprocess.run(
        ("bash", "-c", command), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def test_interpreters_are_found_that_can_be_run_in_the_path_and_where_pyenv_has_them(tmp_path: Path) -> None:
    program(tmp_path / "python3.12", "echo found/python3.12")
    program(tmp_path / "python3.13", "exit 127")  # as a launcher without the version behind it
    program(tmp_path / "pyenv/versions/3.13.7/bin/python3.13", "echo pyenv/python3.13")

    lines = said(FOUND, tmp_path).stdout.splitlines()
    assert {"3.12", "3.13"} <= set(lines)
    assert lines[-1] == "pyenv/python3.13"


def test_a_version_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    program(tmp_path / "python3.14", "exit 127")
    program(tmp_path / "python3.12", "echo found/python3.12")

    refused = said("source scripts/_env.sh; use_python 3.14", tmp_path)
    assert refused.returncode == 1
    assert "there is no Python 3.14 on this machine; there is: " in refused.stderr
    assert "3.12" in refused.stderr


def test_the_scripts_and_the_package_name_the_same_versions(tmp_path: Path) -> None:
    listed = said('source scripts/_env.sh; echo "${supported[@]}"', tmp_path).stdout.split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    assert [f"3.{its.removeprefix(prefix)}" for its in project["classifiers"] if its.startswith(prefix)] == listed
    assert project["requires-python"] == f">={listed[0]}"


@pytest.mark.parametrize("folder", ["shardq", "examples", "bench", "tests"])
def test_the_source_is_compiled_without_a_warning(folder: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted((ROOT / folder).rglob("*.py")):
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
