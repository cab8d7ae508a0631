"""Over a server a worker is killed before any script, or behind its answer: one result is kept for each ticket."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from shardq import Queue, Ticket
from shardq.errors import RequestFailed
from shardq.handler import drive
from shardq.model import KEPT_PIPE
from tests.faults.kit.points import Child
from tests.faults.test_kill_callers import PIPE, REQUESTS, Echo, Fails
from tests.faults.test_redis_callers import MAKERS, Tried, chosen, died_at, made, sent, serve, steps_of
from tests.support.drivers import Backend
from tests.support.programs import until
from tests.support.tasks import LIMIT_S

pytestmark = [pytest.mark.timeout(1800), pytest.mark.parametrize("place", MAKERS)]


async def submitted(backend: Backend, handler: type[Echo]) -> list[Ticket]:
    return [await Queue(backend.storage).submit(handler, number) for number in range(REQUESTS)]


async def results(backend: Backend, tickets: list[Ticket]) -> list[int | str]:
    """The results; of a failure that it is one."""
    queue, found = Queue(backend.storage), list[int | str]()
    for ticket in tickets:
        try:
            found.append(await queue.result(ticket, timeout_s=LIMIT_S))
        except RequestFailed:
            found.append("failed")
    return found


@pytest.mark.parametrize("handler", [Echo, Fails])
def test_a_worker_dies_and_each_ticket_has_one_result(
    place: str, handler: type[Echo], random: Random, everything: bool, tried: Tried
) -> None:
    with made(place) as backend:
        asyncio.run(submitted(backend, handler))
        steps = Child(lambda: steps_of(lambda: serve(backend.address, REQUESTS))).result()
    points = chosen(steps, random, everything=everything)
    for step in points:
        with made(place) as backend:
            tickets, address = asyncio.run(submitted(backend, handler)), backend.address
            died_at(step, address, lambda: serve(address, REQUESTS))  # noqa: B023
            survivor = Child(lambda: serve(address))  # noqa: B023
            try:
                found, storage = asyncio.run(results(backend, tickets)), backend.storage
                until(lambda: {*drive(storage.pipes())} <= {PIPE}, "all notices left")  # noqa: B023
            finally:
                survivor.kill()
            expected = ["failed" if handler is Fails and n == 3 else 10 * n for n in range(REQUESTS)]
            assert found == expected, step
            assert asyncio.run(backend.storage.length(KEPT_PIPE)) == REQUESTS, step
            assert sorted(asyncio.run(sent(backend))) == [n for n, value in enumerate(expected) if value != "failed"]
    tried("deaths of workers around scripts", len(points))
