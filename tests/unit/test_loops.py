"""Which tests run on more than one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from shardq.protocols import Storage
from tests.support.loops import may_suspend
from tests.support.tasks import suspended


async def waits_by_itself() -> None:
    await asyncio.sleep(0)


async def waits_by_a_helper(storage: Storage) -> None:
    await suspended(storage.length("m/H/0/0"))


async def waits_in_a_helper_of_a_helper(storage: Storage) -> None:
    async def nested() -> None:
        await waits_by_a_helper(storage)

    await nested()


async def waits_for_room(storage: Storage) -> None:
    await storage.append_when_room([("m/H/0/0", [b""])], 1)


async def waits_for_nothing(storage: Storage) -> None:
    assert await storage.append([("m/H/0/0", [b""])]) == 1


@pytest.mark.parametrize("test", [waits_by_itself, waits_by_a_helper, waits_in_a_helper_of_a_helper, waits_for_room])
def test_what_may_suspend_is_found(test: Callable[..., object]) -> None:
    assert may_suspend(test)


def test_what_does_not_suspend_is_told_from_it() -> None:
    assert not may_suspend(waits_for_nothing)
