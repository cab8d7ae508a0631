"""Storages between which messages move."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.drivers import Backend, Driver
from tests.support.moving import PAIRS, Open, pair_name


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    made: list[Backend] = []

    def make(driver: Driver, capacity_bytes: int | None = None) -> Backend:
        made.append(driver.make(capacity_bytes))
        return made[-1]

    yield make
    for backend in made:
        await backend.discard()


@pytest.fixture(params=PAIRS, ids=pair_name)
def pair(request: pytest.FixtureRequest, opened: Open) -> tuple[Backend, Backend]:
    """Source and target of a move, of each pair of drivers."""
    source, target = request.param
    return opened(source), opened(target)
