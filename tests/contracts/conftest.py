"""The contracts run on every loop that they can tell from others."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from shardq.protocols import Movable
from tests.support.drivers import Backend
from tests.support.loops import Loops, loops_for, prove_it_does_not_suspend, runs_on_another_loop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Function) -> Loops:
    return loops_for(config, item.obj)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not (_is_ours(item) and runs_on_another_loop(item))]
    for item in filter(_is_ours, items):
        prove_it_does_not_suspend(item)


def _is_ours(item: pytest.Item) -> bool:
    return _is_below(item.path)


@cache
def _is_below(path: Path) -> bool:
    return path.is_relative_to(Path(__file__).parent)


@pytest.fixture
def movable(backend: Backend) -> Movable:
    """The storage of the test, as an end of a move."""
    assert backend.movable
    return backend.movable
