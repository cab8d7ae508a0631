"""Actions of operators: S49 and S50 of `shardq.protocols.Auditable`, on every driver."""

# The clause numbers in the names are upper case, as in the contract.
# ruff: noqa: N802

from __future__ import annotations

from dataclasses import replace

import pytest

from shardq.handler import drive
from shardq.model import LONGEST_REASON_BYTES, MOST_ACTIONS, Action
from shardq.protocols import Lock, Movable, Storage
from tests.conftest import OpenBackend
from tests.contracts.test_storage import KEY, PIPE, claimed, contents, numbered
from tests.support.drivers import Backend, Driver
from tests.support.forked import Forked
from tests.support.moving import now_us

PAUSE = Action("pause", "app.jobs/Resize", 1, "the disk is full; mañana", "alice", 1000, 4711, "worker-7", "command")
DROP = Action("dead drop", "type=ValueError", 12_345_678_901, "", "bob@example.com", 0, 1 << 22, "", "page")


@pytest.fixture
def movable(backend: Backend) -> Movable:
    assert backend.movable
    return backend.movable


def bare(action: Action) -> Action:
    """Without what the storage adds."""
    return replace(action, number=0, at_us=0)


async def test_S49_actions_are_listed_the_latest_first(storage: Storage) -> None:
    before_us = now_us()
    for action in (PAUSE, DROP, PAUSE):
        await storage.record(action)

    found = await storage.actions()

    assert [bare(action) for action in found] == [PAUSE, DROP, PAUSE]
    assert [action.number for action in found] == [3, 2, 1]
    assert before_us <= found[2].at_us <= found[1].at_us <= found[0].at_us <= now_us() + 1_000_000
    assert await storage.actions(2) == found[:2]
    assert await storage.actions(0) == []


async def test_S49_a_storage_begins_without_actions(storage: Storage) -> None:
    assert await storage.actions() == []


async def test_S49_texts_are_cut_to_what_there_is_room_for(storage: Storage) -> None:
    long = "ä" * 10_000
    await storage.record(Action(long, long, (1 << 63) - 1, long, long, (1 << 32) - 1, 1 << 22, long, long))
    await storage.record(Action("a", "b\udcff", 1, "x" * LONGEST_REASON_BYTES))

    whole, cut = await storage.actions()

    for text in (cut.what, cut.target, cut.reason, cut.user, cut.host, cut.by):
        assert text == "ä" * (len(text) - 1) + "…"
        assert len(text) > 1
    assert (cut.count, cut.uid, cut.pid) == ((1 << 63) - 1, (1 << 32) - 1, 1 << 22)
    assert (whole.target, whole.reason) == ("b\\udcff", "x" * LONGEST_REASON_BYTES)


async def test_S49_it_changes_nothing_else(storage: Storage, lock: Lock) -> None:
    assert await storage.append([(PIPE, numbered(3))])
    token = await claimed(lock)
    before = await storage.backlog(), await storage.pauses()

    await storage.record(PAUSE)

    assert (await storage.backlog(), await storage.pauses()) == before
    assert await contents(storage, PIPE) == numbered(3)
    assert (await storage.range(PIPE, 1)).count == 1
    assert token
    assert await lock.release(KEY)


@pytest.mark.requires("bounded")
async def test_S49_actions_are_recorded_where_the_storage_is_full(open_backend: OpenBackend) -> None:
    storage = open_backend(512 << 10).storage
    while await storage.append([(PIPE, [b"x" * 4096])]) is not None:
        pass
    while await storage.append([(PIPE, [b"x"])]) is not None:
        pass

    await storage.record(PAUSE)

    assert [bare(action) for action in await storage.actions()] == [PAUSE]


async def test_S50_the_last_ones_are_remembered(storage: Storage) -> None:
    for number in range(MOST_ACTIONS + 30):
        await storage.record(replace(PAUSE, count=number))

    found = await storage.actions(10_000)

    assert [action.count for action in found] == [*range(MOST_ACTIONS + 29, 29, -1)]
    assert [action.number for action in found] == [*range(MOST_ACTIONS + 30, 30, -1)]


@pytest.mark.requires("moves")
async def test_S49_actions_are_recorded_while_content_leaves_and_afterwards(storage: Storage, movable: Movable) -> None:
    assert await storage.append([(PIPE, numbered(3))])
    await storage.record(PAUSE)
    await movable.leave(7, "shm://target")
    await storage.record(DROP)
    await movable.hand_over(7)
    await movable.forget(7)

    await storage.record(PAUSE)

    assert [action.what for action in await storage.actions()] == ["pause", "dead drop", "pause"]


@pytest.mark.requires("moves")
async def test_S50_content_arrives_where_something_was_recorded(storage: Storage, movable: Movable) -> None:
    await storage.record(PAUSE)

    await movable.arrive(7, "shm://source")
    await storage.record(DROP)
    await movable.clear(7)

    assert [action.what for action in await storage.actions()] == ["dead drop", "pause"]


@pytest.mark.requires("multiprocess")
async def test_S50_actions_outlive_who_recorded_them(backend: Backend, driver: Driver) -> None:
    def record() -> None:
        drive(driver.attach(backend.address).storage.record(PAUSE))

    other = Forked(record, [])
    assert other.wait() == 0

    assert [bare(action) for action in await backend.storage.actions()] == [PAUSE]
    await backend.storage.record(DROP)
    assert [action.number for action in await backend.storage.actions()] == [2, 1]
