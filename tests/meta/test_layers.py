"""The architecture as a table, and the proof that the source keeps to it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.support.imports import Source, imported, methods, sources, used

ROOT = Path(__file__).parents[2]
SOURCES = sources(ROOT / "shardq")

#: Layer by layer from the ground up, the modules in it. Imports go down, or sideways inside one layer.
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ground", ("shardq.errors", "shardq.version")),
    (
        "contract",
        (
            "shardq.blocking",
            "shardq.model",
            "shardq.protocols",
            "shardq.settings",
            "shardq.codec",
            "shardq.schedule",
            "shardq.wallclock",
        ),
    ),
    ("shared memory", ("shardq.shm", "shardq.shm.*")),
    ("drivers", ("shardq.drivers", "shardq.drivers.*")),
    ("asking", ("shardq.deadletters", "shardq.handler", "shardq.inside", "shardq.queue", "shardq.recurrent")),
    ("working", ("shardq.worker", "shardq.binding", "shardq.failure")),
    ("supervision", ("shardq.supervisor", "shardq.supervisor.*")),
    (
        "face",
        (
            "shardq",
            "shardq.__main__",
            "shardq.supervise",
            "shardq.segment_board",
            "shardq.leftovers",
            "shardq.connect",
            "shardq.embedded",
            "shardq.testing",
            "shardq.cli",
            "shardq.cli.*",
        ),
    ),
)

#: What only some modules may import or call: (name, or everything below it) -> modules that may.
DOORS: dict[str, tuple[str, ...]] = {
    "posix_ipc": ("shardq.shm.*",),
    "mmap": ("shardq.shm.*",),
    "redis": ("shardq.drivers.redis",),
    "uvloop": ("shardq.supervisor.*",),
    "os.fork": ("shardq.supervisor.*",),
    "os.forkpty": ("shardq.supervisor.*",),
    "os.wait": ("shardq.supervisor.*",),
    "os.wait3": ("shardq.supervisor.*",),
    "os.wait4": ("shardq.supervisor.*",),
    "os.waitid": ("shardq.supervisor.*",),
    "os.waitpid": ("shardq.supervisor.*",),
    "signal.signal": ("shardq.supervisor.*",),
    "signal.set_wakeup_fd": ("shardq.supervisor.*",),
}

#: Methods of event loops that stand for one of the doors above.
METHOD_DOORS: dict[str, tuple[str, ...]] = {"add_signal_handler": ("shardq.supervisor.*",)}

#: Lines in one file; aim at 150.
LONGEST = 400

every_module = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())


def layer_of(module: str) -> int | None:
    found = [level for level, (_, patterns) in enumerate(LAYERS) if matches(module, patterns)]
    assert len(found) < 2, f"{module} is in several layers"
    return found[0] if found else None


def matches(module: str, patterns: tuple[str, ...]) -> bool:
    # The package itself belongs to `package.*`.
    return any(fnmatchcase(module, pattern) or f"{module}.*" == pattern for pattern in patterns)


def driver_of(module: str) -> str | None:
    """`redis` for `shardq.drivers.redis` and for `shardq.drivers.redis_scripts`: a driver may be several files."""
    if not module.startswith("shardq.drivers."):
        return None
    return module.split(".")[2].partition("_")[0]


def modules_imported(source: Source) -> set[str]:
    """Modules of the package that `source` imports."""
    return {module for name in imported(source) if (module := module_behind(name)) is not None}


def module_behind(name: str) -> str | None:
    """The module that `from a import b` or `import a.b` reaches, None where it is not of this package."""
    while name and name not in SOURCES:
        name = name.rpartition(".")[0]
    return name or None


@every_module
def test_every_module_is_in_a_layer(source: Source) -> None:
    assert layer_of(source.name) is not None, f"{source.name} is in no layer; add it to the table in {__file__}"


@every_module
def test_imports_go_down(source: Source) -> None:
    level = layer_of(source.name)
    if level is None:
        pytest.fail(f"{source.name} is in no layer")
    up = [module for module in modules_imported(source) if (layer_of(module) or 0) > level]
    assert up == [], f"{source.name} ({LAYERS[level][0]}) imports from above"


@every_module
def test_drivers_do_not_know_each_other(source: Source) -> None:
    own = driver_of(source.name)
    if own is None:
        return
    others = [module for module in modules_imported(source) if driver_of(module) not in (None, own)]
    assert others == [], f"the driver {own} imports other drivers"


@every_module
def test_third_parties_have_one_door(source: Source) -> None:
    names = set(used(source))
    through = [
        door
        for door, allowed in DOORS.items()
        if not matches(source.name, allowed) and any(name == door or name.startswith(f"{door}.") for name in names)
    ]
    through += [door for door in methods(source) & METHOD_DOORS.keys() if not matches(source.name, METHOD_DOORS[door])]
    assert through == [], f"{source.name} uses what only others may"


@every_module
def test_files_stay_small(source: Source) -> None:
    lines = len(source.path.read_text().splitlines())
    assert lines <= LONGEST, f"{source.name} has {lines} lines: split it by idea"
