"""Fail-overs of a cluster under load, and slots that move: point 15 of what storages on a server must show.

A run takes a sample; `SHARDQ_FAULTS=all` takes 200 fail-overs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from shardq import Supervisor
from shardq.drivers.redis.overview import overview_of
from shardq.drivers.redis.servers.cluster_links import ClusterLink
from shardq.drivers.redis.servers.layout import Layout, slot_of
from shardq.drivers.redis.storage import RedisStorage
from tests.faults.kit.fail_overs import Blow, Load
from tests.support.jobs import Folder, Forward, Record
from tests.support.redis_cluster import Cluster, cluster_to_break
from tests.support.tasks import LIMIT_S, eventually, finished

Tried = Callable[[str, int], None]

THREADS = 18


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with cluster_to_break() as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.close()


@pytest.mark.timeout(7200)
async def test_15_after_fail_overs_to_a_replica_that_lags_nothing_comes_again_or_is_left_out(
    cluster: Cluster, random: Random, everything: bool, tried: Tried
) -> None:
    times, took = 200 if everything else 2, list[float]()
    async with Load(cluster.url, THREADS) as load:
        for _ in range(times):
            blow = Blow(cluster, load, random)
            await blow.strike(lags=True)
            took.append(await blow.until_all_go_on())
            await blow.mend()
        await load.settle()
    tried("fail-overs to a replica that lags", times)
    tried("of these seen before it took over", load.looks)
    tried("fail-overs beside them, of a master that was late", load.unplanned)
    tried("messages under them", load.confirmed)
    tried("of these lost", load.lost)
    tried("outputs lost under them", load.outputs_lost)
    tried("acknowledgements refused under them", load.refused)
    tried("ms until all partitions went on at p50", round(sorted(took)[len(took) // 2] * 1000))
    tried("ms at most", round(max(took) * 1000))


@pytest.mark.timeout(3600)
async def test_15_with_replicas_1_nothing_is_lost_where_only_the_master_is_killed(
    cluster: Cluster, random: Random, everything: bool, tried: Tried
) -> None:
    times = 50 if everything else 2
    async with Load(f"{cluster.url}?replicas=1", THREADS) as load:
        for _ in range(times):
            blow = Blow(cluster, load, random)
            await blow.strike(lags=False)
            await blow.mend()  # until then there is no replica that could confirm what comes
            await blow.until_all_go_on()
        await load.settle()
    assert load.lost == 0
    assert load.outputs_lost == 0
    tried("fail-overs with replicas=1", times)
    tried("messages under them, none lost", load.confirmed)


@pytest.mark.parametrize("ends", ["killed", "silent"])
@pytest.mark.timeout(1800)
async def test_15_partitions_of_a_lost_master_go_on_and_others_do_not_wait(
    cluster: Cluster, random: Random, everything: bool, tried: Tried, ends: str
) -> None:
    times, took, rates = 10 if everything else 1, list[float](), list[float]()
    async with Load(cluster.url, THREADS) as load:
        for _ in range(times):
            await eventually(lambda: load.serves_all, "all partitions are served")
            calm_s = 2.0
            await asyncio.sleep(calm_s)  # its rate is measured
            blow = Blow(cluster, load, random)
            await (blow.strike(lags=False) if ends == "killed" else blow.silence())
            took.append(await blow.until_all_go_on())
            before = blow.others_in(blow.begun - calm_s, blow.begun) / calm_s
            meanwhile = blow.others_in(blow.begun, blow.begun + took[-1])
            assert meanwhile > 0
            rates.append(meanwhile / took[-1] / before)
            await blow.mend()
        await load.settle()
    rates.sort()
    tried(f"messages lost with a master that is {ends}", load.lost)
    tried(f"ms until all partitions of a master that is {ends} went on, at p50", round(sorted(took)[times // 2] * 1000))
    tried(f"percent of their rate that others kept while a master was {ends}, at p50", round(rates[times // 2] * 100))


@pytest.mark.timeout(600)
async def test_15_slots_move_under_load_and_neither_program_nor_family_sees_an_error(
    cluster: Cluster,
    folder: Folder,
    everything: bool,
    tried: Tried,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    layout, threads, size = Layout("tube_", 64), 6, 4
    used = {
        layout.partition_of(f"{handler.__module__}/{handler.__qualname__}/{thread}")
        for handler in (Forward, Record)
        for thread in range(threads)
    }
    masters = cluster.masters()
    moving = [place for place in layout.everywhere if place in used or everything]
    moved = registered = 0

    async def register() -> None:
        nonlocal registered
        while moved < len(moving) or registered < 100:
            notes = folder.notes(range(registered, registered + size), threads)
            assert await supervisor.queue.register(Forward, *notes) == size
            registered += size
            folder.done()  # so that the journal does not fill up

    async with Supervisor(Forward, Record, workers=2, url=cluster.url) as supervisor:
        storage = supervisor.queue.storage
        assert isinstance(storage, RedisStorage)
        link = (await storage.server.here()).link
        assert isinstance(link, ClusterLink)
        program = asyncio.create_task(register())
        await eventually(lambda: registered, "it begins")
        for place in moving:
            port = (await link.node_of(slot_of(place))).port
            owner = next(node for node in masters if node.port == port)
            other = masters[masters.index(owner) - 1]
            await asyncio.to_thread(cluster.move, slot_of(place), owner, other)
            moved += 1
            assert not program.done()
        await finished(program)
        assert await supervisor.drain(LIMIT_S)
        overview = await overview_of(storage)
    for thread in range(threads):
        assert folder.done(thread) == list(range(thread, registered, threads))
    assert (overview.accepted, overview.handled, overview.dead) == (2 * registered, 2 * registered, 0)
    said = capfd.readouterr().err
    assert "not available" not in said, said
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    tried("slots moved under load", moved)
    tried("requests meanwhile", registered)
