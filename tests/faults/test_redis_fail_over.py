"""Fail-overs of a cluster under load, and slots that move: point 15 of what storages on a server must show.

A run takes a sample; `SHARDQ_FAULTS=all` takes 200 fail-overs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.faults.kit.fail_overs import Blow, Load
from tests.support.redis_cluster import Cluster

Tried = Callable[[str, int], None]

THREADS = 18


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One whose servers are killed; each replica may take over, however much it lacks."""
    cluster = Cluster("--cluster-replica-validity-factor", "0")
    cluster.start()
    yield cluster
    cluster.end()


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
