"""The contracts run on every driver, and on every loop that they can tell from others."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.support.drivers import ONE_OF_EACH
from tests.support.loops import Loops, loops_for, prove_it_does_not_suspend, runs_on_another_loop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Function) -> Loops:
    return loops_for(config, item.obj)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if not (_is_ours(item) and (runs_on_another_loop(item) or _is_further(item)))]
    for item in filter(_is_ours, items):
        prove_it_does_not_suspend(item)


def _is_further(item: pytest.Item) -> bool:
    """Whether it runs on a further driver of a technology, and one of each is enough."""
    driver = item.callspec.params.get("driver") if hasattr(item, "callspec") else None
    return driver is not None and driver not in ONE_OF_EACH and bool(item.config.getoption("--one-of-each"))


def _is_ours(item: pytest.Item) -> bool:
    return _is_below(item.path)


@cache
def _is_below(path: Path) -> bool:
    return path.is_relative_to(Path(__file__).parent)
