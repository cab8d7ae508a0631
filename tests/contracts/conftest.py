"""The contracts run on every loop that they can tell from others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.loops import Loops, loops_for, prove_it_does_not_suspend


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Function) -> Loops:
    return loops_for(config, item.obj)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            prove_it_does_not_suspend(item)
