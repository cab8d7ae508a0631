"""No code of a supervised worker waits for room: the only worker that could make it may be waiting for that code."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shardq import Supervisor
from tests.support.drivers import MIB
from tests.support.tasks import LIMIT_S
from tests.support.threading_handlers import EARLY, WHERE, Ask, Threading


@pytest.mark.parametrize("where", WHERE)
async def test_what_a_handler_starts_does_not_wait_either(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "module pool":
        monkeypatch.setenv(EARLY, "yes")
    file = tmp_path / "outcome"
    async with Supervisor(Threading, workers=1, capacity_bytes=MIB) as supervisor:
        await supervisor.queue.register(Threading, Ask(where, str(file)))
        async with asyncio.timeout(LIMIT_S):
            while not file.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    assert file.read_text() == "full"
