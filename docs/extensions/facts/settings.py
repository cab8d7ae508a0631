"""All settings: the fields of the classes of `shardq.settings`, with their docstrings."""

from __future__ import annotations

from collections.abc import Iterator

from docs.extensions.facts.tables import code, table
from shardq.environment import Field, FromEnvironment
from shardq.settings import LockSettings, StorageSettings, SupervisorSettings, WorkerSettings

#: In the order of the page, and what has them.
PARTS: tuple[tuple[type[FromEnvironment], str], ...] = (
    (StorageSettings, "A storage: `connect(url, StorageSettings(...))`."),
    (WorkerSettings, "A worker: `Worker(lock, queue, WorkerSettings(...))`, or `worker.settings` later."),
    (LockSettings, "A lock: `lock.settings`."),
    (SupervisorSettings, "A supervisor: options of `python -m shardq.supervise`, or `Supervisor(..., settings=...)`."),
)


def text() -> str:
    return "\n".join(part for cls, whose in PARTS for part in (f"## {cls.__name__}\n", f"{whose}\n", _table(cls)))


def _table(cls: type[FromEnvironment]) -> str:
    return table(("variable", "default", "meaning"), _rows(cls))


def _rows(cls: type[FromEnvironment]) -> Iterator[tuple[str, str, str]]:
    meanings, prefix = cls.descriptions(), cls.model_config["env_prefix"]
    for name, field in cls.model_fields.items():
        variable = field.variable or f"{prefix}{name.upper()}"
        yield code(variable), _default(field), meanings[name]


def _default(field: Field) -> str:
    """Not what a function makes: that is of this machine."""
    default = field._default
    return "" if default is None or callable(default) else code(f"{default}")
