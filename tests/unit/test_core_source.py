"""The source of the extension: it has the numbers of this version, and compiles without a warning."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from shardq._core import header

CORE = Path(header.__file__).parent
INCLUDE = sysconfig.get_paths()["include"]


def test_the_numbers_in_c_are_those_in_python() -> None:
    assert CORE.joinpath("words.h").read_text() == header.text(), "run `python -m shardq._core.header`"


@pytest.mark.skipif(
    not shutil.which("cc") or not Path(INCLUDE, "Python.h").exists(), reason="no compiler, or no Python.h"
)
def test_the_source_compiles_without_a_warning(tmp_path: Path) -> None:
    sources = sorted(CORE.glob("*.c"))
    assert sources
    options = ("-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", "-fvisibility=hidden", f"-I{INCLUDE}")
    done = subprocess.run(("cc", *options, "-c", *sources), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_map_of_the_extension_names_each_of_its_files() -> None:
    named = {line.split("`")[1] for line in _map().splitlines() if line.startswith("* `")}
    assert named == {path.name for path in (*CORE.glob("*.c"), *CORE.glob("*.h"))}


def _map() -> str:
    return CORE.joinpath("__init__.py").read_text()


def test_the_files_of_the_extension_stay_small() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in CORE.glob("*.c")}
    assert {name: count for name, count in lines.items() if count > 400} == {}, "split these by idea"
