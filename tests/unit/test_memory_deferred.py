"""What the in-memory storage keeps that waits for its time: what it costs, and what it refuses."""

from __future__ import annotations

import pytest

from shardq.drivers import RuntimeStorage
from shardq.drivers.memory.deferred import Pending
from shardq.errors import ScheduleError
from shardq.model import When
from shardq.settings import StorageSettings
from tests.support.clock import now_us

PIPE = "app.jobs/Resize/7/0"
MIB = 1 << 20


def test_what_is_cancelled_is_not_kept() -> None:
    pending = Pending()
    pending.add(PIPE, [b"stays"], When(10))
    for number in range(1000):
        pending.add(PIPE, [b"%d" % number], When(20 + number))
        pending.drop_equal(PIPE, {b"%d" % number})
        pending.repeat(PIPE, b"again", When(5000 + number, f"every {number + 1}"))
        pending.unschedule(PIPE, {b"again"})

    assert len(pending._heap) < 50
    assert pending.next_due_us == 10
    assert [messages for _, messages in pending.take_due(10_000, lambda size: True)] == [[b"stays"]]
    assert not pending
    assert not pending._once
    assert not pending._again


def test_a_change_of_schedule_and_back_leaves_one_time() -> None:
    pending = Pending()
    for schedule in ("every 60", "every 30", "every 60"):
        pending.repeat(PIPE, b"tick", When(10, schedule))

    assert [messages for _, messages in pending.take_due(20, lambda size: True)] == [[b"tick"]]
    assert pending.next_due_us == 60_000_010


def test_what_finds_no_room_comes_with_it_once() -> None:
    pending = Pending()
    pending.repeat(PIPE, b"tick", When(10, "every 60"))
    for _ in range(3):
        assert list(pending.take_due(20, lambda size: False)) == []
        assert pending.lacks_room
        assert pending.next_due_us is None

    assert list(pending.take_due(130_000_000, lambda size: True)) == [(PIPE, [b"tick"])]

    assert not pending.lacks_room
    assert pending.next_due_us == 180_000_010


def test_what_was_skipped_without_room_does_not_come_with_it() -> None:
    pending = Pending()
    pending.repeat(PIPE, b"tick", When(10, "every 60"))
    assert list(pending.take_due(20, lambda size: False)) == []
    [tick] = pending.scheduled(None, 1)

    assert pending.skip(tick, 20) == []

    assert list(pending.take_due(30, lambda size: True)) == []
    assert pending.next_due_us == 60_000_010
    for _ in range(1000):
        [tick] = pending.scheduled(None, 1)
        assert pending.skip(tick, 20) == []
    assert len(pending._heap) < 50


async def test_a_schedule_that_cannot_be_read_is_refused() -> None:
    storage = RuntimeStorage()

    with pytest.raises(ScheduleError):
        await storage.append([(PIPE, [b"tick"])], when=When(1, "now and then"))

    assert await storage.scheduled() == []
    assert await storage.promote() is None


async def test_a_schedule_of_a_full_storage_can_be_changed() -> None:
    storage = RuntimeStorage(StorageSettings(capacity_bytes=MIB))
    due_us = await now_us(storage) + 3_600_000_000
    await storage.append([(PIPE, [b"tick"])], when=When(due_us, "every 60"))
    while await storage.append([(PIPE, [bytes(1024)])]):
        continue
    while await storage.append([(PIPE, [bytes(1024)])], follow_up=True):
        continue

    assert await storage.append([(PIPE, [b"tick"])], when=When(due_us, "every 3600")) == 1

    assert [found.schedule for found in await storage.scheduled()] == ["every 3600"]
    assert await storage.append([(PIPE, [b"tock"])], when=When(due_us, "every 60")) is None


async def test_both_clocks_are_given() -> None:
    now_s, unix_us = [0.0], [1_000_000]
    storage = RuntimeStorage(clock=lambda: now_s[0], now_us=lambda: unix_us[0])
    await storage.append([(PIPE, [b"later"])], when=When(2_000_000))
    assert await now_us(storage) == 1_000_000
    assert await storage.wait(None, 0) is None

    unix_us[0] = 2_000_000
    assert await storage.wait(None, 0) == "app.jobs/Resize/7"

    token = await storage.claim("app.jobs/Resize/7")
    await storage.unclaim("app.jobs/Resize/7", token, 5.0)
    assert storage.next_end_s() == 5.0
    assert await storage.wait(None, 0) is None
    now_s[0] = 5.0
    assert await storage.wait(None, 0) == "app.jobs/Resize/7"
