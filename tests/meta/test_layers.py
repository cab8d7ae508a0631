"""The architecture as a table, and the proof that the source keeps to it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.support.imports import Source, imported, methods, reached_through, sources, used

ROOT = Path(__file__).parents[2]
SOURCES = sources(ROOT / "shardq")

#: Layer by layer from the ground up, the modules in it. Imports go down, or sideways inside one layer.
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "ground",
        (
            "shardq.annotations",
            "shardq.behind",
            "shardq.errors",
            "shardq.lazy",
            "shardq.system",
            "shardq.system.*",
            "shardq.text",
            "shardq.text.*",
            "shardq.version",
        ),
    ),
    (
        "contract",
        (
            "shardq.blocking",
            "shardq.environment",
            "shardq.kept",
            "shardq.leases",
            "shardq.losses",
            "shardq.model",
            "shardq.model.*",
            "shardq.outputs",
            "shardq.pages",
            "shardq.protocols",
            "shardq.protocols.*",
            "shardq.settings",
            "shardq.supervised",
            "shardq.encoding",
            "shardq.encoding.*",
            "shardq.scheduling",
            "shardq.scheduling.*",
        ),
    ),
    ("shared memory", ("shardq.shm", "shardq.shm.*", "shardq._core", "shardq._core.*")),
    ("drivers", ("shardq.drivers", "shardq.drivers.*")),
    (
        "asking",
        (
            "shardq.auditing",
            "shardq.deadletters",
            "shardq.exporting",
            "shardq.handler",
            "shardq.handling",
            "shardq.handling.*",
            "shardq.later",
            "shardq.later.*",
            "shardq.letters",
            "shardq.letters.*",
            "shardq.logs",
            "shardq.matching",
            "shardq.queue",
            "shardq.reasons",
            "shardq.reasons.*",
            "shardq.recurrent",
            "shardq.results",
            "shardq.results.*",
            "shardq.tracing",
            "shardq.tracing.*",
        ),
    ),
    ("working", ("shardq.working", "shardq.working.*")),
    ("supervision", ("shardq.supervisor", "shardq.supervisor.*")),
    (
        "face",
        (
            "shardq",
            "shardq.__main__",
            "shardq.supervise",
            "shardq.serving",
            "shardq.serving.*",
            "shardq.connect",
            "shardq.embedded",
            "shardq.functions",
            "shardq.functions.*",
            "shardq.metrics",
            "shardq.metrics.*",
            "shardq.performing",
            "shardq.testing",
            "shardq.cli",
            "shardq.cli.*",
            "shardq.moving",
            "shardq.moving.*",
            "shardq.sampling",
            "shardq.sampling.*",
            "shardq.web",
            "shardq.web.*",
        ),
    ),
)

#: The rooms of some packages, from the ground up. Imports between rooms go down.
ROOMS: dict[str, tuple[str, ...]] = {
    "shardq.drivers.redis": ("connections", "servers", "verbs"),
    "shardq.shm": ("files", "processes", "memory", "tubes", "deferred", "checking", "verbs", "observing"),
}

#: What only some modules may import or call: (name, or everything below it) -> modules that may.
DOORS: dict[str, tuple[str, ...]] = {
    "posix_ipc": ("shardq.shm.*",),
    "mmap": ("shardq.shm.*",),
    "redis": ("shardq.drivers.redis.*",),
    "rich": ("shardq.cli.top.*",),
    "textual": ("shardq.cli.top.*",),
    "hiredis": ("shardq.drivers.redis.*",),
    "starlette": ("shardq.web.*",),
    "jinja2": ("shardq.web.*",),
    "markupsafe": ("shardq.web.*",),
    "uvicorn": ("shardq.web.*",),
    "uvloop": ("shardq.supervisor.*",),
    "opentelemetry": ("shardq.tracing.*",),
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

#: The only modules that know shared memory: above them its driver stands for it.
KNOW_SHARED_MEMORY = ("shardq.shm.*", "shardq._core.*", "shardq.drivers.shared.*")

#: Attributes through which one reaches from the driver into shared memory.
WAYS_THROUGH = ("store", "_store")

#: Methods of event loops that stand for one of the doors above.
METHOD_DOORS: dict[str, tuple[str, ...]] = {"add_signal_handler": ("shardq.supervisor.*",)}

#: Lines in one file; aim at 150.
LONGEST = 400


def layer_of(module: str) -> int | None:
    found = [level for level, (_, patterns) in enumerate(LAYERS) if matches(module, patterns)]
    assert len(found) < 2, f"{module} is in several layers"
    return found[0] if found else None


def matches(module: str, patterns: tuple[str, ...]) -> bool:
    # The package itself belongs to `package.*`.
    return any(fnmatchcase(module, pattern) or f"{module}.*" == pattern for pattern in patterns)


def room_of(package: str, module: str) -> int | None:
    """The number of the room of a package that a module lies in. None: it lies in none of them."""
    inside = module.removeprefix(f"{package}.").split(".")
    if not module.startswith(f"{package}.") or len(inside) < 2:
        return None
    return ROOMS[package].index(inside[0])


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


def doors_used(source: Source) -> list[str]:
    """What the source uses although only others may."""
    names = set(used(source))
    through = [
        door
        for door, allowed in DOORS.items()
        if not matches(source.name, allowed) and any(name == door or name.startswith(f"{door}.") for name in names)
    ]
    return through + [
        door for door in methods(source) & METHOD_DOORS.keys() if not matches(source.name, METHOD_DOORS[door])
    ]


def test_every_module_is_in_a_layer() -> None:
    astray = [name for name in SOURCES if layer_of(name) is None]
    assert astray == [], f"in no layer; add them to the table in {__file__}"


def test_imports_go_down() -> None:
    up = [
        f"{source.name} ({LAYERS[level][0]}) imports {module}"
        for source in SOURCES.values()
        if (level := layer_of(source.name)) is not None
        for module in sorted(modules_imported(source))
        if (layer_of(module) or 0) > level
    ]
    assert up == []


@pytest.mark.parametrize("package", ROOMS)
def test_imports_between_rooms_go_down(package: str) -> None:
    up = [
        f"{source.name} imports {module}"
        for source in SOURCES.values()
        if (own := room_of(package, source.name)) is not None
        for module in sorted(modules_imported(source))
        if (room_of(package, module) or 0) > own
    ]
    assert up == []


def test_drivers_do_not_know_each_other() -> None:
    others = [
        f"{source.name} imports {module}"
        for source in SOURCES.values()
        if (own := driver_of(source.name)) is not None
        for module in sorted(modules_imported(source))
        if driver_of(module) not in (None, own)
    ]
    assert others == []


def test_third_parties_have_one_door() -> None:
    through = [f"{source.name} uses {door}" for source in SOURCES.values() for door in doors_used(source)]
    assert through == [], "only the modules in the table may use these"


def test_only_its_driver_knows_shared_memory() -> None:
    knowing = [
        f"{source.name} imports {module}"
        for source in SOURCES.values()
        if not matches(source.name, KNOW_SHARED_MEMORY)
        for module in sorted(modules_imported(source))
        if matches(module, ("shardq.shm.*",))
    ]
    assert knowing == [], "give the driver of shared memory what they need, under a name of its own"


def test_nothing_reaches_through_the_driver() -> None:
    through = [
        f"{source.name}, line {line}: {text}"
        for source in SOURCES.values()
        if not matches(source.name, KNOW_SHARED_MEMORY)
        for line, text in reached_through(source, WAYS_THROUGH)
    ]
    assert through == [], "give the driver of shared memory what they need, under a name of its own"


@pytest.mark.parametrize(
    "line",
    [
        "storage.store.supervision.workers()",
        "self.queue.storage._store.segment",
        "store = storage.store",
        "workers = opened().store.supervision.workers",
        "store = getattr(storage, 'store')",
    ],
)
def test_reaching_through_is_seen(line: str, tmp_path: Path) -> None:
    path = tmp_path / "above.py"
    path.write_text(f"import store\nstore.open(storage)\nself._store([])\n{line}\n")

    assert [number for number, _ in reached_through(Source("above", path), WAYS_THROUGH)] == [4]


def test_files_stay_small() -> None:
    lines = {name: len(source.path.read_text().splitlines()) for name, source in SOURCES.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}, "split these by idea"


def test_there_are_modules_to_look_at() -> None:
    assert len(SOURCES) > 80
