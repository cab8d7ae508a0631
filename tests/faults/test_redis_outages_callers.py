"""Callers that wait while a server is killed, or a replica takes its place: a result comes once, or they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random

import pytest

from shardq import Supervisor
from shardq.errors import FencedError, ResultTimeout, StorageUnavailable
from tests.faults.kit.servers import started
from tests.support.answering import Ask, Twice
from tests.support.redis_cluster import Cluster, cluster_to_break
from tests.support.tasks import LIMIT_S, eventually, finished

Tried = Callable[[str, int], None]
#: How many calls wait beside a map.
CALLS = 20
#: How many requests of a map wait at most.
WINDOW = 50
#: Seconds after which a caller gives up a result that was lost.
PATIENCE_S = 15.0
TOLD = (ResultTimeout, StorageUnavailable, FencedError)


class Asking:
    """Maps without an end, and calls one after the other, of a family. A map that is told of a loss is followed by
    another one.
    """

    def __init__(self, family: Supervisor) -> None:
        self._family = family
        self._ends = asyncio.Event()
        self._asked, self.mapped = 0, list[int]()
        """How many requests were mapped, and the results of maps."""
        self.called, self.told = 0, list[Exception]()
        self._tasks = [asyncio.create_task(self._map()), *(asyncio.create_task(self._call(n)) for n in range(CALLS))]

    @property
    def progress(self) -> int:
        return len(self.mapped) + self.called

    async def settle(self) -> None:
        """Ask nothing more. All that was asked is answered, once and in order, or ended with an error that says why:
        then no more is left without an answer than such a map had asked for.
        """
        self._ends.set()
        for task in self._tasks:
            await finished(task)
        expected = [2 * number for number in range(self._asked)]
        if self.told:
            assert self.mapped == sorted(set(self.mapped))
            assert set(self.mapped) <= set(expected)
            assert len(expected) - len(self.mapped) <= WINDOW * len(self.told)
        else:
            assert self.mapped == expected

    async def _map(self) -> None:
        while not self._ends.is_set():
            try:
                async with self._family.queue.map(Twice, self._asks(), window=WINDOW, timeout_s=PATIENCE_S) as results:
                    async for result in results:
                        self.mapped.append(result)
            except TOLD as error:
                self.told.append(error)

    async def _asks(self) -> AsyncIterator[Ask]:
        while not self._ends.is_set():
            self._asked += 1
            yield Ask(self._asked - 1)

    async def _call(self, number: int) -> None:
        while not self._ends.is_set():
            try:
                assert await self._family.queue.call(Twice, Ask(number), timeout_s=PATIENCE_S) == 2 * number
                self.called += 1
            except TOLD as error:
                self.told.append(error)


async def go_on(asking: Asking, what: str) -> None:
    """Wait until calls are answered again, and a map."""
    called, mapped = asking.called, len(asking.mapped)
    await eventually(lambda: asking.called > called + 2 * CALLS and len(asking.mapped) > mapped + WINDOW, what)


async def fail_over(cluster: Cluster, random: Random) -> None:
    """Kill a master, at any moment; its replica takes its place, and it comes back as the replica of that."""
    master = random.choice(cluster.masters())
    replica = cluster.replica_of(master)
    await asyncio.sleep(random.uniform(0.0, 0.05))
    await asyncio.to_thread(master.kill)
    await eventually(lambda: asyncio.to_thread(lambda: replica in cluster.masters()), "the replica takes over")
    await asyncio.to_thread(master.start)
    await eventually(lambda: asyncio.to_thread(cluster.is_whole), "the cluster is whole again")


@pytest.mark.timeout(600)
async def test_a_server_that_loses_nothing_is_killed_and_each_result_comes_once(
    random: Random, everything: bool, tried: Tried
) -> None:
    times = 20 if everything else 2
    async with (
        started("--appendonly", "yes", "--appendfsync", "always") as server,
        Supervisor(Twice.__module__, workers=2, url=server.url) as family,
    ):
        asking = Asking(family)
        for _ in range(times):
            await go_on(asking, "calls are answered")
            await asyncio.sleep(random.uniform(0.0, 0.05))  # it is killed at any moment
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await go_on(asking, "calls are answered again")
        await asking.settle()
        assert asking.told == []
        assert await family.queue.storage.wait_for_quiet(LIMIT_S)
    tried("kills of a server with callers", times)
    tried("results under them", asking.progress)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("options", ["", "?replicas=1"], ids=["", "copied"])
async def test_replicas_take_over_and_callers_have_their_results_or_are_told(
    options: str, random: Random, everything: bool, tried: Tried
) -> None:
    """Where each request is copied before `register` returns, each has its result."""
    times = 50 if everything else 3
    with cluster_to_break() as cluster:
        async with Supervisor(Twice.__module__, workers=2, url=f"{cluster.url}{options}") as family:
            asking = Asking(family)
            for _ in range(times):
                await go_on(asking, "calls are answered")
                await fail_over(cluster, random)
            await go_on(asking, "calls are answered again")
            await asking.settle()
            if options:
                assert asking.told == []
            assert await family.queue.call(Twice, Ask(7), timeout_s=LIMIT_S) == 14
            assert await family.queue.storage.wait_for_quiet(LIMIT_S)
    tried("fail-overs with callers", times)
    tried("results under them", asking.progress)
    tried("callers that were told of a loss", len(asking.told))
