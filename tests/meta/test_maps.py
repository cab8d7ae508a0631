"""A package whose docstring maps it names each of its modules there, and no other."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.support.imports import imported, sources

ROOT = Path(__file__).parents[2]


def mapped(package: str) -> list[str]:
    """Names of the modules, in the order of the list in the package's docstring."""
    return re.findall(r"^\* `([\w.]+)`: ", importlib.import_module(package).__doc__ or "", re.MULTILINE)


@pytest.mark.parametrize("package", ["shardq.shm", "shardq.supervisor", "shardq.drivers.redis"])
def test_a_map_names_every_module_once(package: str) -> None:
    folder = ROOT.joinpath(*package.split("."))
    modules = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py") if path.stem != "__init__"]
    assert sorted(mapped(package)) == sorted(".".join(module.parts) for module in modules)


@pytest.mark.parametrize("package", ["shardq.shm", "shardq.drivers.redis"])
def test_a_package_with_rooms_is_mapped_from_the_bottom(package: str) -> None:
    found, names = sources(ROOT / "shardq"), mapped(package)
    for place, name in enumerate(names):
        used = [other.removeprefix(f"{package}.") for other in imported(found[f"{package}.{name}"])]
        above = {other for other in names[place:] if any(f"{word}.".startswith(f"{other}.") for word in used)}
        assert above == set(), f"{name} is named before what it uses"
