"""The names that programs outside this repository rely on: all there, and nothing else."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import shardq
import shardq.drivers
import shardq.settings

#: The surface as it is today.
TOP = (
    "DeferredHandler",
    "Handler",
    "Queue",
    "RecurrentHandler",
    "Retry",
    "Route",
    "ShardqError",
    "Supervisor",
    "Ticket",
    "Tube",
    "Worker",
    "__version__",
    "connect",
    "observe",
)
DRIVERS = ("RedisLock", "RedisStorage", "RuntimeLock", "RuntimeStorage", "SharedLock", "SharedStorage")
SETTINGS = ("LockSettings", "StorageSettings", "SupervisorSettings", "WorkerSettings")


def public(module: ModuleType) -> set[str]:
    """What the module shows without an underscore. Submodules appear as soon as any module imports them, and
    `annotations` is the trace of a `__future__` import."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }


@pytest.mark.parametrize(("module", "names"), [(shardq, TOP), (shardq.drivers, DRIVERS)], ids=["top", "drivers"])
def test_all_is_exact(module: ModuleType, names: tuple[str, ...]) -> None:
    assert sorted(module.__all__) == sorted(names)
    for name in names:
        assert getattr(module, name) is not None


def test_the_top_shows_nothing_else() -> None:
    # `__version__` has underscores; a lazily loaded name need not be there yet.
    assert public(shardq) - set(TOP) == set()


def test_settings_define_one_class_for_each_part() -> None:
    defined = {
        name
        for name in public(shardq.settings)
        if inspect.isclass(value := getattr(shardq.settings, name)) and value.__module__ == "shardq.settings"
    }
    assert defined == set(SETTINGS)
