"""Functions in families that others know: over a server, where programs share a key, and behind a reload."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shardq import Supervisor
from shardq.drivers.shared.storage import SharedStorage
from shardq.errors import ConfigurationError
from shardq.supervisor.code.launch import FUNCTIONS_KEY
from tests.support import functions
from tests.support.functions import Case
from tests.support.places import PLACES, placed
from tests.support.tasks import LIMIT_S, eventually

ON_SERVERS = [place for place, partitions in PLACES.items() if partitions]


@pytest.fixture
def url(request: pytest.FixtureRequest, name: str) -> Iterator[str]:
    with placed(request.param, name) as url:
        yield url


async def found(family: Supervisor, function: Any, items: Any, **options: Any) -> list[Any]:
    async with family.map(function, items, timeout_s=LIMIT_S, **options) as results:
        return [result async for result in results]


async def nothing_is_left(family: Supervisor) -> None:
    assert await family.queue.storage.wait_for_quiet(LIMIT_S)
    assert list(await family.queue.storage.pipes()) == []


@pytest.mark.parametrize("url", ON_SERVERS, indirect=True)
async def test_workers_of_several_families_call_functions_with_one_key(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FUNCTIONS_KEY, "a secret of both")
    async with Supervisor(workers=1, url=url), Supervisor(workers=1, url=url) as family:
        assert await found(family, functions.double, range(500)) == [2 * number for number in range(500)]
        assert len(set(await found(family, functions.meet_others, [tmp_path] * 2))) == 2
        await nothing_is_left(family)


@pytest.mark.parametrize("url", ON_SERVERS, indirect=True)
async def test_over_a_server_a_program_needs_a_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FUNCTIONS_KEY, raising=False)
    async with Supervisor(workers=1, url=url) as family:
        with pytest.raises(ConfigurationError, match="set SHARDQ_FUNCTIONS_KEY to the same secret text"):
            family.map(functions.double, [1])
        with pytest.raises(ConfigurationError, match="set SHARDQ_FUNCTIONS_KEY to the same secret text"):
            family.map_sync(functions.double, [1])
        await nothing_is_left(family)


@pytest.mark.parametrize("url", PLACES, indirect=True)
async def test_a_reload_while_functions_are_mapped_costs_no_item(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FUNCTIONS_KEY, "a secret of both")
    async with Supervisor(workers=2, url=url) as family:
        await eventually(lambda: len(pids(family)) == 2, "both workers are there")
        before = pids(family)
        async with family.map(functions.noted, cases(tmp_path), window=20, timeout_s=LIMIT_S) as results:
            taken = []
            async for result in results:
                taken.append(result)
                if len(taken) == 1:
                    os.kill(supervisor_pid(family), signal.SIGHUP)
                if len(taken) >= 50 and not before & pids(family):
                    break
        assert taken == list(range(len(taken)))
        await nothing_is_left(family)
        assert times_called(tmp_path) == {1}


def cases(folder: Path) -> Iterator[Case]:
    number = 0
    while True:
        yield Case(number, folder)
        number += 1


def times_called(folder: Path) -> set[int]:
    """How often each of the items was, that were called at all."""
    return {len(path.read_text()) for path in folder.iterdir()}


def supervisor_pid(family: Supervisor) -> int:
    stats: Any = family.stats()
    if isinstance(family.queue.storage, SharedStorage):
        return int(stats.supervisor_pid)
    [pid] = [its.supervisor_pid for its in stats.families if its.supervisor_pid]
    return int(pid)


def pids(family: Supervisor) -> set[int]:
    return {worker.pid for worker in family.progress()}
