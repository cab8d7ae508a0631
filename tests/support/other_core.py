"""A sample of the tests once more, where Python does what the core in C does otherwise: with `--both-cores`.

The seed of the run draws functions of tests that have to do with shared memory, and one case of each; with
`SHARDQ_FAULTS=all` all cases of all of them. Processes that such a test starts do all in Python, too.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from random import Random

import pytest

from shardq.drivers.shared.engine import engine_name
from tests.support.able import required_by
from tests.support.chance import EVERYTHING, SEED, add_figure
from tests.support.drivers import Driver
from tests.support.engines import needs_c

OPTION = "--both-cores"
#: Of each folder, how many of its functions are drawn: in all, a quarter of a minute of the processor.
SHARES = {"contracts": 0.15, "property": 0.25, "unit": 0.15, "system": 0.01}
#: The fixture that has a test run in Python, and the name of such a case.
FIXTURE, NAME = "core", "in-python"
#: Those whose frequent case C does.
_DRIVERS = ("shared", "shared, small steps")
#: Where what a module has comes from that has to do with shared memory.
_SHARED = ("shardq.shm", "shardq.drivers.shared")


def once_more(metafunc: pytest.Metafunc) -> None:
    """Give a function that is drawn its cases once more. Where all is done in Python anyway, none is."""
    folder = metafunc.module.__name__.split(".")[1]
    name = f"{metafunc.module.__name__} {metafunc.function.__qualname__}"
    if engine_name() != "c" or not _is_meant(metafunc, folder) or Random(_seeded(name)).random() >= _share(folder):
        return
    usual, other = pytest.param("", id=pytest.HIDDEN_PARAM), pytest.param("python", id=NAME)
    metafunc.parametrize(FIXTURE, [usual, other], indirect=True)


def surplus(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """Those of the further cases that are not run: all but one of each function, and those of other storages."""
    cases = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if is_other(item):
            cases[item.nodeid.partition("[")[0]].append(item)
    for function, its in cases.items():
        able = [item for item in its if _is_on_shared_memory(item)]
        chosen = able if EVERYTHING else Random(_seeded(function)).sample(able, min(1, len(able)))
        yield from (item for item in its if item not in chosen)


def note_other(items: Sequence[pytest.Item]) -> None:
    """Have the last line of the run tell of them."""
    for item in filter(is_other, items):
        add_figure(item, "tests once more in Python", 1)


def is_other(item: pytest.Item) -> bool:
    """Whether this is the case in Python of a test that is done in C otherwise."""
    return isinstance(item, pytest.Function) and _parameters(item).get(FIXTURE) == "python"


def _share(folder: str) -> float:
    return 1.0 if EVERYTHING else SHARES[folder]


def _seeded(name: str) -> str:
    return f"{os.environ[SEED]} once more {name}"


def _is_meant(metafunc: pytest.Metafunc, folder: str) -> bool:
    """Whether the function has to do with shared memory, and not with the core in C alone."""
    if folder not in SHARES or any(mark == needs_c.mark for mark in metafunc.definition.iter_markers("skipif")):
        return False
    if folder == "system":
        return "redis" not in metafunc.module.__name__
    return "driver" in metafunc.fixturenames or any(map(_is_of_shared_memory, vars(metafunc.module).values()))


def _is_of_shared_memory(value: object) -> bool:
    return str(getattr(value, "__module__", "")).startswith(_SHARED)


def _is_on_shared_memory(item: pytest.Item) -> bool:
    driver = _parameters(item).get("driver")
    if not isinstance(driver, Driver):
        return "redis" not in item.nodeid
    return driver.name in _DRIVERS and required_by(item) <= driver.capabilities


def _parameters(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if hasattr(item, "callspec") else {}
