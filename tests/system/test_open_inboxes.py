"""Calls one after the other share an inbox, of which nothing stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from shardq import Handler, Queue, Worker
from shardq.errors import ResultTimeout
from shardq.model import handler_name
from shardq.protocols import Storage
from shardq.results import calls
from shardq.results.inbox import OpenInbox
from tests.support.tasks import LIMIT_S
from tests.support.workers import Item, Routed, working


class Double(Routed, Handler[Item, int]):
    def perform(self, *items: Item) -> list[int]:
        return [2 * item.number for item in items]


@pytest.fixture
async def queue(storage: Storage) -> Queue:
    """For which this process counts as one that serves the handler."""
    await storage.wait(frozenset({handler_name(Double)}), 0)
    return Queue(storage)


@pytest.fixture
def opened(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Threads of inboxes that were claimed."""
    keys, claim = list[str](), queue.storage.claim

    async def noted(key: str, *words: Any) -> int:
        if "Inbox" in key:
            keys.append(key)
        return await claim(key, *words)

    monkeypatch.setattr(queue.storage, "claim", noted)
    return keys


async def claimed(queue: Queue, opened: list[str]) -> int:
    return sum([await queue.storage.claimed(key) for key in opened])


async def test_calls_one_after_the_other_share_an_inbox(
    queue: Queue, worker: Worker, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "IDLE_S", 2 * LIMIT_S)
    async with working(worker):
        for number in range(5):
            assert await queue.call(Double, Item(0, number)) == 2 * number
            assert await queue.storage.wait_for_quiet(LIMIT_S)
        assert len(opened) == 1
        await queue.end_calls()
        assert await claimed(queue, opened) == 0
        assert await queue.call(Double, Item(0, 7)) == 14
        assert len(opened) == 2
        await queue.end_calls()


async def test_a_call_gets_a_result_that_comes_while_the_last_one_is_acknowledged(
    queue: Queue, worker: Worker, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, may_read = OpenInbox.read, asyncio.Event()

    async def read_late(inbox: OpenInbox, timeout_s: float | None) -> Sequence[bytes]:
        if timeout_s == 0:
            await may_read.wait()
        return await read(inbox, timeout_s)

    monkeypatch.setattr(OpenInbox, "read", read_late)
    async with working(worker), asyncio.timeout(LIMIT_S):
        assert await queue.call(Double, Item(0, 1)) == 2
        await asyncio.sleep(0)  # what acknowledges has begun
        second = asyncio.create_task(queue.call(Double, Item(0, 2)))
        while (await queue.storage.backlog()).replies < 2:
            await asyncio.to_thread(time.sleep, 0.001)
        assert not second.done()
        may_read.set()
        assert await second == 4
        await queue.end_calls()


async def test_an_inbox_that_no_call_needs_is_closed(
    queue: Queue, worker: Worker, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "IDLE_S", 0.01)
    async with working(worker):
        assert await queue.call(Double, Item(0, 1)) == 2
        async with asyncio.timeout(LIMIT_S):
            while await claimed(queue, opened):
                await asyncio.to_thread(time.sleep, 0.01)


async def test_in_the_end_of_its_loop_an_inbox_is_closed(
    queue: Queue, worker: Worker, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "IDLE_S", 2 * LIMIT_S)

    async def call() -> int:
        return await queue.call(Double, Item(0, 1))

    async with working(worker):
        assert await asyncio.to_thread(asyncio.run, call()) == 2
        assert await asyncio.to_thread(queue.call_sync, Double, Item(0, 2)) == 4
        assert len(opened) == 2
        assert await claimed(queue, opened) == 0


async def test_after_a_call_that_was_given_up_nothing_is_left(
    queue: Queue, worker: Worker, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "IDLE_S", 2 * LIMIT_S)
    with pytest.raises(ResultTimeout):
        await queue.call(Double, Item(0, 1), timeout_s=0.01)
    assert (await queue.storage.backlog()).queued == 0
    async with working(worker):
        assert await queue.call(Double, Item(0, 2)) == 4
    assert len(opened) == 1
    await queue.end_calls()
