"""What a supervisor does while one server of a cluster is silent, as a process that is stopped: it waits for it once,
and keeps the claims and the wake-ups of the others.
"""

from __future__ import annotations

import select
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.connections.wire import Disconnected, PlainWire
from shardq.drivers.redis.plainly import plainly
from shardq.drivers.redis.servers.cluster import Cluster as Known
from shardq.drivers.redis.servers.layout import slot_of
from shardq.drivers.redis.servers.plain_bells import PlainBells
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import StorageUnavailable
from shardq.settings import StorageSettings
from tests.support.leaks import segment_name
from tests.support.redis_cluster import Node, running_cluster
from tests.support.redis_server import removed_when_right
from tests.support.tasks import LIMIT_S, eventually


@pytest.fixture
async def storage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisStorage]:
    """As a supervisor has it: it tries once, and what it found out does not become old within a test."""
    storage = storage_of(running_cluster().url, StorageSettings(prefix=f"{segment_name()}_"))
    storage.server.most_patience_s = 0.0
    plainly(storage.server.layout())
    monkeypatch.setattr("shardq.drivers.redis.servers.lost._LOST_S", LIMIT_S)
    yield storage
    storage.server.hang_up()
    storage.server.most_patience_s = None
    await removed_when_right(storage)


@pytest.fixture
def vain(monkeypatch: pytest.MonkeyPatch) -> list[PlainWire]:
    """The connections over which an answer was waited for that did not come."""
    waits, answer = list[PlainWire](), PlainWire.answer

    def counted(wire: PlainWire) -> object:
        try:
            return answer(wire)
        except Disconnected:
            waits.append(wire)
            raise

    monkeypatch.setattr(PlainWire, "answer", counted)
    return waits


@contextmanager
def silent(node: Node) -> Iterator[None]:
    node.pause(signal.SIGSTOP)
    try:
        yield
    finally:
        node.pause(signal.SIGCONT)


def places_of(storage: RedisStorage, node: Node) -> set[int]:
    """The partitions of a server."""
    known, layout = storage.server.address, storage.server.known
    assert isinstance(known, Known)
    assert layout
    nodes = {place: known.of(slot_of(place)) for place in layout.everywhere}
    return {place for place, its in nodes.items() if its and its.port == node.port}


@pytest.mark.parametrize("connected", [True, False])
async def test_claims_are_renewed_after_one_wait_for_a_silent_server(
    storage: RedisStorage, vain: list[PlainWire], connected: bool
) -> None:
    assert plainly(storage.of_owner("worker", lease_s=LIMIT_S)) == [(0, 0)]
    if not connected:
        storage.server.hang_up()
    lost = running_cluster().nodes[0]
    assert len(places_of(storage, lost)) > 1

    with silent(lost):
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                plainly(storage.of_owner("worker", lease_s=LIMIT_S))
        assert len(vain) == 1


async def test_a_supervisor_hears_of_other_servers_after_one_wait_for_a_silent_one(
    storage: RedisStorage, vain: list[PlainWire]
) -> None:
    layout, lost = plainly(storage.server.layout()), running_cluster().nodes[0]
    plainly(storage.of_owner("worker", lease_s=1.0))
    bells = PlainBells(storage.server.address, storage.server.prefix)
    with select.epoll() as poll:
        with silent(lost):
            assert bells.listen(layout, poll).keys() == set(layout.everywhere) - places_of(storage, lost)
            assert len(vain) == 1
        assert bells.listen(layout, poll).keys() == set(layout.everywhere)
        bells.hang_up(poll)


async def test_a_supervisor_keeps_its_subscriptions_where_a_slot_moves(storage: RedisStorage) -> None:
    """A slot that came back is subscribed to anew: its server had ended that."""
    layout = plainly(storage.server.layout())
    plainly(storage.of_owner("worker", lease_s=1.0))
    bells = PlainBells(storage.server.address, storage.server.prefix)
    place = min(places_of(storage, running_cluster().nodes[0]))
    source, target = running_cluster().nodes[:2]
    with select.epoll() as poll:
        before = dict(bells.listen(layout, poll))
        wires = {bell.wire for bell in bells._bells.values()}
        for giver, taker in ((source, target), (target, source)):
            running_cluster().move(slot_of(place), giver, taker)
            plainly(storage.server.run("promote", place, {}, patience_s=LIMIT_S))
            names = bells.listen(layout, poll)
            assert {bell.wire for bell in bells._bells.values()} == wires
            assert names.keys() == before.keys()
            changed = {at for at in names if names[at] != before[at]}
            assert changed == ({place} if taker is target else set())
            bells.drop_what_came(poll)
            channel, _, said = names[place].partition("#")
            publish = "SPUBLISH" if "{" in channel else "PUBLISH"
            await eventually(lambda: taker.ask(publish, channel, said) == ":1\r\n", "it is heard")  # noqa: B023
        bells.hang_up(poll)
