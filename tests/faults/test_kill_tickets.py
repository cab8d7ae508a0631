"""A worker, or the holder of a ticket, is killed before any line: each request has one result, which is kept."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from random import Random

import pytest

from shardq import Queue, Ticket
from shardq.errors import RequestFailed
from shardq.handler import drive
from shardq.model import KEPT_PIPE
from tests.faults.kit.points import PACKAGE, SCOPE, Child, die_at, lines_of
from tests.faults.kit.scene import Scene, check_whole, scene
from tests.faults.test_kill_callers import (
    PIPE,
    REQUESTS,
    WORKING,
    Echo,
    Fails,
    chosen,
    serve,
    stored,
    with_a_worker,
)
from tests.support.listing import listed
from tests.support.tasks import LIMIT_S

HOLDING = (*SCOPE, f"{PACKAGE / 'results'}{os.sep}")


def submitted(there: Scene, handler: type[Echo]) -> list[Ticket]:
    return [Queue(there.storage).submit_sync(handler, number) for number in range(REQUESTS)]


def results(there: Scene, tickets: list[Ticket]) -> list[int | str]:
    """The results; of a failure that it is one."""

    async def ask() -> list[int | str]:
        queue, found = Queue(there.storage), list[int | str]()
        for ticket in tickets:
            try:
                found.append(await queue.result(ticket, timeout_s=LIMIT_S))
            except RequestFailed:
                found.append("failed")
        return found

    return asyncio.run(ask())


@pytest.mark.parametrize("handler", [Echo, Fails])
@pytest.mark.timeout(1800)
def test_a_worker_dies_and_each_ticket_has_one_result(
    handler: type[Echo], random: Random, everything: bool, tried: Callable[[str, int], None]
) -> None:
    with scene(threads=64) as there:
        submitted(there, handler)
        lines = lines_of(there.store.inspection.counts, lambda: serve(there, REQUESTS), WORKING)
    points = chosen(lines, random, everything=everything)
    for step in points:
        with scene(threads=64) as there:
            tickets = submitted(there, handler)
            die_at(step, there.store.inspection.counts, lambda: serve(there, REQUESTS))
            survivor = Child(lambda: serve(there))
            try:
                found = results(there, tickets)
            finally:
                survivor.kill()
            expected = ["failed" if handler is Fails and n == 3 else 10 * n for n in range(REQUESTS)]
            assert found == expected, step
            assert there.store.reading.length(KEPT_PIPE) == REQUESTS, step
            assert sorted(stored(there)) == [n for n, value in enumerate(expected) if value != "failed"], step
            assert listed(there.store.reading.pipes) == [PIPE], step
            assert listed(there.store.burying.graves) == [], step
            check_whole(there.store)
    tried("kill points", len(points))


@pytest.mark.timeout(1800)
def test_a_holder_dies_and_the_result_stays(
    random: Random, everything: bool, tried: Callable[[str, int], None]
) -> None:
    def hold(there: Scene, ticket: Ticket) -> None:
        assert Queue(there.storage).result_sync(ticket, timeout_s=LIMIT_S) == 40

    with scene(threads=64) as there:
        ticket = Queue(there.storage).submit_sync(Echo, 4)
        lines = with_a_worker(there, lambda: lines_of(lambda: None, lambda: hold(there, ticket), HOLDING))
    points = chosen(lines, random, everything=everything)
    for step in points:
        with scene(threads=64) as there:
            ticket = Queue(there.storage).submit_sync(Echo, 4)
            with_a_worker(there, lambda: die_at(step, lambda: None, lambda: hold(there, ticket)))  # noqa: B023
            hold(there, ticket)
            assert there.store.reading.length(KEPT_PIPE) == 1, step
            assert stored(there) == [4], step
            assert there.store.leaving.in_hand() == [], step
            assert drive(Queue(there.storage).forget(ticket))
            check_whole(there.store)
    tried("kill points", len(points))
