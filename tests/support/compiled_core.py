"""A core in C that was compiled for a test, in the place of the installed one.

    python -m tests.support.compiled_core DIRECTORY

compiles one that tells of each wrong access and of undefined behaviour, and prints where it lies. Every process of the
tests uses it that finds that place in SHARDQ_TESTS_CORE; the compiler's libasan.so has to be loaded before.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

import shardq._core

SOURCES = Path(shardq._core.__file__).parent
VARIABLE = "SHARDQ_TESTS_CORE"
NAME = "shardq._core.engine"
_STRICT = ("-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fPIC", "-shared")
_SANITIZED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def build(directory: Path, sources: Path = SOURCES, options: Sequence[str] = ("-O2",)) -> Path:
    """Compile the core. Raises `AssertionError` with what the compiler says."""
    library = directory / f"engine{sysconfig.get_config_var('EXT_SUFFIX')}"
    files = sorted(map(str, sources.glob("*.c")))
    include = f"-I{sysconfig.get_path('include')}"
    words = ("cc", *_STRICT, include, *options, *files, "-lm", "-o", str(library))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


def use(library: Path) -> None:
    """Have this process use that core, and no other one that it may have loaded before."""
    loader = ExtensionFileLoader(NAME, str(library))
    spec = importlib.util.spec_from_loader(NAME, loader)
    assert spec
    engine = importlib.util.module_from_spec(spec)
    loader.exec_module(engine)
    sys.modules[NAME] = engine
    shardq._core.engine = engine


def use_chosen() -> None:
    """Have this process use the core that the environment names, if it names one."""
    if library := os.environ.get(VARIABLE):
        use(Path(library))


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    print(build(directory, options=_SANITIZED))
