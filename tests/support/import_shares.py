"""Where several processes run the tests, each first imports a share of the modules of its own.

All of them need all modules, and pytest rewrites the assertions of a module where no process has done so before, which
takes twice as long as all else of the collection. So each process finds most modules rewritten by another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest


def import_share(config: pytest.Config) -> None:
    """Import what this process is to rewrite. What cannot be imported is told of by the collection."""
    mine: dict[str, str | int] | None = getattr(config, "workerinput", None)  # of pytest-xdist
    if not mine:
        return
    number, count = int(str(mine["workerid"]).removeprefix("gw")), int(mine["workercount"])
    for name in sorted(_modules(config))[number::count]:
        with suppress(Exception, pytest.skip.Exception):
            import_module(name)


def _modules(config: pytest.Config) -> Iterator[str]:
    """The modules of tests below the folders that were given."""
    for folder in filter(Path.is_dir, map(Path, config.args)):
        for path in folder.resolve().rglob("test_*.py"):
            yield ".".join(path.relative_to(config.rootpath).with_suffix("").parts)
