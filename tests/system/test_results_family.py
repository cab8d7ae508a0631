"""Callers of a family: their workers die, and they do."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from shardq import Supervisor, connect
from shardq.cli import OK, main
from shardq.drivers import SharedStorage
from shardq.drivers.shared.supervised import SupervisedSegment
from shardq.errors import RequestFailed
from shardq.handler import drive
from shardq.model import handler_name, inbox_pipe
from tests.faults.kit.points import Child
from tests.support.answering import Ask, Twice
from tests.support.drivers import MIB
from tests.support.metrics import parsed, total
from tests.support.places import PLACES, placed
from tests.support.tasks import LIMIT_S, eventually


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, name: str) -> Iterator[str]:
    with placed(request.param, name) as url:
        yield url


@pytest.fixture
async def family(url: str) -> AsyncIterator[Supervisor]:
    async with Supervisor("tests.support.answering", workers=2, url=url) as family:
        yield family


async def nothing_is_left(family: Supervisor) -> None:
    storage = family.queue.storage
    assert await storage.wait_for_quiet(LIMIT_S)
    assert list(await storage.pipes()) == []


async def test_a_worker_that_dies_with_a_request_costs_no_result(family: Supervisor, tmp_path: Path) -> None:
    asks = (Ask(number, str(tmp_path) if number == 50 else "", 2) for number in range(200))
    async with family.queue.map(Twice, asks) as results:
        assert [result async for result in results] == [2 * number for number in range(200)]
    assert len(os.listdir(tmp_path)) == 2
    await nothing_is_left(family)


async def test_a_request_that_kills_its_workers_fails(family: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(RequestFailed, match="killed by SIGKILL") as failed:
        await family.queue.call(Twice, Ask(1, str(tmp_path), 100))
    assert (failed.value.signal, failed.value.attempts, failed.value.type) == ("SIGKILL", 3, "")
    assert await family.queue.call(Twice, Ask(1)) == 2
    await nothing_is_left(family)
    assert list(await family.queue.dead_letters.list()) == []


async def test_of_a_caller_that_is_killed_nothing_stays(family: Supervisor, url: str, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    async def read() -> None:
        os.environ["QUEUE_LOCK_TIMEOUT"] = "3"  # over a server it counts as dead after so many seconds
        async with await connect(url) as queue, queue.map(Twice, map(Ask, count())) as results:
            async for result in results:
                if result == 1000:
                    begun.touch()

    caller = Child(lambda: asyncio.run(read()))
    await eventually(begun.exists, "the caller reads results")
    caller.kill()

    await nothing_is_left(family)
    assert await family.queue.call(Twice, Ask(1)) == 2


def test_results_that_wait_for_their_caller_are_not_unserved(name: str) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    drive(storage.append([(inbox_pipe(1), [b"result"])]))
    assert SupervisedSegment(storage, {"app.jobs/Resize"}).only_unserved() == []
    storage.destroy()


async def test_a_call_counts_as_one_request(family: Supervisor, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        assert await family.queue.call(Twice, Ask(number)) == 2 * number
    assert await family.queue.storage.wait_for_quiet(LIMIT_S)

    assert await asyncio.to_thread(main, ["status", "--url", url, "--json"]) == OK
    status = json.loads(capsys.readouterr().out)
    assert (status["accepted"], status["handled"], status["queued"]) == (3, 3, 0)
    assert (status["replies"], status["replies_taken"]) == (3, 3)
    assert [its["handler"] for its in status.get("handlers", [])] in ([], [handler_name(Twice)])
    assert await asyncio.to_thread(main, ["metrics", "--url", url]) == OK
    samples = parsed(capsys.readouterr().out)
    assert total(samples, "shardq_requests_accepted_total") == total(samples, "shardq_requests_done_total") == 3
