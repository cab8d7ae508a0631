"""The source of the extension: it has the numbers of this version, and compiles without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from shardq._core import header

CORE = Path(header.__file__).parent
INCLUDE = sysconfig.get_paths()["include"]

needs_compiler = pytest.mark.skipif(
    not shutil.which("cc") or not Path(INCLUDE, "Python.h").exists(), reason="no compiler, or no Python.h"
)


def test_the_numbers_in_c_are_those_in_python() -> None:
    assert CORE.joinpath("words.h").read_text() == header.text(), "run `python -m shardq._core.header`"
    assert CORE.joinpath("digest.py").read_text() == header.digest_text(), "run `python -m shardq._core.header`"


def test_an_extension_that_was_compiled_with_fields_in_another_order_is_known_by_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, fields in header.FIELDS.items():
        with monkeypatch.context() as patch:
            patch.setitem(header.FIELDS, name, fields[::-1])
            assert header.digest(header.constants()) != header.WORDS_DIGEST


def complaints(directory: Path, *sources: Path) -> str:
    """What the compiler says of them, in a directory for what it makes."""
    options = ("-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", "-fvisibility=hidden", f"-I{INCLUDE}", f"-I{CORE}")
    done = subprocess.run(("cc", *options, "-c", *sources), cwd=directory, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


@needs_compiler
def test_the_source_compiles_without_a_warning(tmp_path: Path) -> None:
    sources = sorted(CORE.glob("*.c"))
    assert sources
    assert complaints(tmp_path, *sources) == ""


@needs_compiler
@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="has no limited interface")
def test_what_only_one_version_of_python_has_does_not_compile(tmp_path: Path) -> None:
    source = tmp_path / "reaches.c"
    source.write_text('#include "core.h"\nPyObject *first(PyObject *its) { return PyTuple_GET_ITEM(its, 0); }\n')
    assert "PyTuple_GET_ITEM" in complaints(tmp_path, source)


def test_one_file_alone_brings_the_interface_of_python() -> None:
    included = re.compile(r"^\s*#\s*include\s*<Python\.h>", re.MULTILINE)
    files = (*CORE.glob("*.c"), *CORE.glob("*.h"))
    assert [path.name for path in files if included.search(path.read_text())] == ["cpython.h"]


def test_no_format_means_another_thing_with_the_headers_of_another_version() -> None:
    """What is built with those of 3.13 and has a `#` is refused by 3.12."""
    formats = re.compile(r'(?:PyArg_\w+|Py_\w*BuildValue\w*)\([^;]*?"([^"]*)"')
    found = {path.name: formats.findall(path.read_text()) for path in CORE.glob("*.c")}
    assert any(found.values())
    assert {name: its for name, its in found.items() if any("#" in each for each in its)} == {}


def test_the_map_of_the_extension_names_each_of_its_files() -> None:
    named = {line.split("`")[1] for line in _map().splitlines() if line.startswith("* `")}
    assert named == {path.name for path in (*CORE.glob("*.c"), *CORE.glob("*.h"))}


def _map() -> str:
    return CORE.joinpath("__init__.py").read_text()


def test_the_files_of_the_extension_stay_small() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in CORE.glob("*.c")}
    assert {name: count for name, count in lines.items() if count > 400} == {}, "split these by idea"
