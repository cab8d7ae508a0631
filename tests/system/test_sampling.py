"""A `Sampler` follows a family through its life, its death and its next life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shardq import connect
from shardq.sampling import Sample, Sampler
from tests.support.homes import Home, on_each_home
from tests.support.jobs import Folder, Gated, Tracked
from tests.support.programs import Supervise
from tests.support.supervised import Start
from tests.support.tasks import LIMIT_S

JOBS = Tracked.__module__
HANDLER = f"{JOBS}/Tracked"


class Clock:
    """A second goes by with each look at it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.fixture
async def sampler(home: Home) -> AsyncIterator[Sampler]:
    sampler = Sampler(home.url, clock=Clock())
    yield sampler
    sampler.close()


async def seen(sampler: Sampler, state: str, done: float | None = None) -> Sample:
    """Look until the storage is in this state and a worker is so far."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            sample = await sampler.look()
            crew = sample.overview.crew if sample.overview else []
            if sample.state == state and (done is None or any(member.at.done == done for member in crew)):
                return sample
            await asyncio.sleep(0.01)


async def begun(start: Start, home: Home, folder: Folder) -> Supervise:
    """A family with a batch of four in hand, of which two are done."""
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    async with await connect(home.url) as queue:
        await queue.register(Tracked, *folder.notes(range(4)))
        await queue.register(Gated, *folder.notes(range(100, 105), 5))
    folder.permit(2)
    folder.until("begin", 2)
    return program


@on_each_home
async def test_the_work_of_a_family_is_seen(start: Start, home: Home, folder: Folder, sampler: Sampler) -> None:
    program = await begun(start, home, folder)

    sample = await seen(sampler, "served", done=2)

    assert sample.overview is not None
    [member] = sample.overview.crew
    assert (member.state, member.at.handler, member.at.requests) == ("busy", HANDLER, 4)
    assert member.at.pid in program.workers(1)
    assert member.supervisor_pid == program.pid
    by_name = {handler.handler: handler for handler in sample.handlers}
    assert (by_name[HANDLER].workers, by_name[HANDLER].queued.requests) == (1, 4)
    assert by_name[f"{JOBS}/Gated"].queued.tubes == 5
    folder.permit(7)
    folder.until("done", 3, *range(100, 105))
    assert program.stop() == 0


async def test_a_family_that_dies_and_one_that_begins_anew(
    start: Start, home: Home, folder: Folder, sampler: Sampler
) -> None:
    program = await begun(start, home, folder)
    await seen(sampler, "served", done=2)

    program.kill_family()
    left = await seen(sampler, "unserved")
    assert left.overview is not None
    assert left.overview.counts.queued == 9

    folder.permit(9)
    successor = start(JOBS, "--url", home.url, "--workers", 1, "--drain")
    assert successor.end() == 0
    assert (await seen(sampler, "gone")).gone is not None

    third = start(JOBS, "--url", home.url, "--workers", 1).serving()
    anew = await seen(sampler, "served")
    assert anew.overview is not None
    assert anew.overview.counts.handled == 0
    assert anew.flow is None or anew.flow.handled_per_s == 0
    assert third.stop() == 0
