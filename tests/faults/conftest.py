"""How much of the faults is tried: a sample by a printed seed, or everything.

`SHARDQ_FAULTS=all` tries every step. `SHARDQ_FAULTS_SEED` repeats a run, `SHARDQ_FAULTS_SECONDS` lengthens the storm.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from random import Random

import pytest

SEED = int(os.environ.get("SHARDQ_FAULTS_SEED") or secrets.randbelow(1_000_000))
EVERYTHING = os.environ.get("SHARDQ_FAULTS") == "all"

_tried: dict[str, int] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say the seed at once: a run that is killed prints no summary."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.write_line(f"faults: SHARDQ_FAULTS_SEED={SEED}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The interleavings last: they leave a large heap, which every fork after them would have to copy the map of."""
    items.sort(key=lambda item: item.path.name == "test_interleavings.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tried = ", ".join(f"{count} {name}" for name, count in _tried.items())
    terminalreporter.write_line(f"faults: SHARDQ_FAULTS_SEED={SEED}{', ' if tried else ''}{tried}")


@pytest.fixture
def random(request: pytest.FixtureRequest) -> Random:
    """Chances that depend on the seed and the test alone, not on which tests ran before."""
    print(f"SHARDQ_FAULTS_SEED={SEED}")
    return Random(f"{SEED} {request.node.name}")


@pytest.fixture
def everything() -> bool:
    """Whether every step is to be tried, however long it takes."""
    return EVERYTHING


@pytest.fixture
def tried() -> Callable[[str, int], None]:
    """Adds to the figures of the run's last line."""

    def add(name: str, count: int) -> None:
        _tried[name] = _tried.get(name, 0) + count

    return add
