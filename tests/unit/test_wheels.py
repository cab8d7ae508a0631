"""The wheels of a release: what is told of a wheel that is not what its name says."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import pytest

from shardq.version import __version__
from tests.support import compiled_core
from tests.support.engines import needs_c
from tests.support.programs import ROOT

HERE = os.uname().machine
OTHER = "aarch64" if HERE == "x86_64" else "x86_64"


@pytest.fixture(scope="module")
def wheels() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("_wheels", ROOT / "scripts/_wheels.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A core that was compiled for this machine."""
    return compiled_core.build(tmp_path_factory.mktemp("core"), options=("-O0",)).read_bytes()


def wheel(directory: Path, tag: str, files: dict[str, bytes]) -> Path:
    path = directory / f"shardq-{__version__}-{tag}.whl"
    with ZipFile(path, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def tag_of(architecture: str) -> str:
    return f"cp311-abi3-manylinux_2_17_{architecture}"


@needs_c
def test_a_wheel_that_is_what_its_name_says_has_no_fault(wheels: ModuleType, extension: bytes, tmp_path: Path) -> None:
    assert list(wheels.faults(wheel(tmp_path, tag_of(HERE), {wheels.EXTENSION: extension}))) == []


@needs_c
def test_an_extension_for_another_machine_is_named(wheels: ModuleType, extension: bytes, tmp_path: Path) -> None:
    [fault] = wheels.faults(wheel(tmp_path, tag_of(OTHER), {wheels.EXTENSION: extension}))
    assert f"is of another machine, number {wheels.ARCHITECTURES[HERE]}" in fault


@needs_c
def test_an_extension_that_does_not_export_what_it_should_is_named(
    wheels: ModuleType, extension: bytes, tmp_path: Path
) -> None:
    changed = extension.replace(b"\0PyInit_engine\0", b"\0PyInit_motors\0")
    [fault] = wheels.faults(wheel(tmp_path, tag_of(HERE), {wheels.EXTENSION: changed}))
    assert fault.endswith("what is exported: PyInit_engine, PyInit_motors")


def test_a_wheel_without_its_extension_is_named(wheels: ModuleType, tmp_path: Path) -> None:
    [fault] = wheels.faults(wheel(tmp_path, tag_of(HERE), {"shardq/__init__.py": b""}))
    assert fault.startswith("it has no extension, and not shardq/_core/engine.abi3.so")


@pytest.mark.parametrize("tag", ["cp311-cp311-manylinux_2_17_x86_64", "cp311-abi3-linux_x86_64", tag_of("riscv64")])
def test_a_tag_that_no_wheel_of_a_release_has_is_named(wheels: ModuleType, tmp_path: Path, tag: str) -> None:
    assert list(wheels.faults(wheel(tmp_path, tag, {}))) == [f"its tag {tag} is none of a release"]


def test_each_architecture_has_a_compiler_for_the_oldest_system(wheels: ModuleType) -> None:
    for architecture in wheels.ARCHITECTURES:
        command = f"{sys.executable} -P -m ziglang cc -target {architecture}-linux-gnu.2.17"
        assert wheels.compiler(architecture) == {"CC": command, "LDSHARED": f"{command} -shared -s"}
        assert wheels.platform_of(architecture) == f"manylinux_2_17_{architecture}"


def test_the_machine_of_this_python_is_read(wheels: ModuleType) -> None:
    assert wheels.machine(Path(sys.executable).resolve().read_bytes()) == wheels.ARCHITECTURES[HERE]
