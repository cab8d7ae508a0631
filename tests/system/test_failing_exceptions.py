"""Nothing that an exception object does ends a worker, or keeps it from others: its request is buried like others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shardq import Queue, Retry, Worker
from shardq.errors import QueueFull
from shardq.supervisor.exits import Exit
from shardq.working.hooks import Hooks
from tests.support.drivers import ONE_OF_EACH
from tests.support.malign import FOLDER, MALIGN, SLOW, Ask, BadText, Malign
from tests.support.supervised import Start, client, forget_dead, leave_in_segment
from tests.support.workers import Item, Once, Routed, batches, diary, letters, one_each, plans, run, trouble

#: Those that what runs a coroutine knows, and may act on.
ABRUPT = {"interrupts", "exits", "ends a generator", "stops an iteration", "cancels", "has no memory"}
AT_ONCE = Retry(max_attempts=2, backoff_s=0.001, jitter=False)


class Fragile(Routed):
    retry = AT_ONCE

    def perform(self, *items: Item) -> None:
        for item in items:
            if item.number in trouble:
                raise trouble[item.number]()
        for item in items:
            diary.add("done", item.number)


class FailsToStart(Routed):
    """The first time as it begins, the next as it ends."""

    def start(self) -> None:
        if 0 in trouble:
            raise trouble.pop(0)()

    def perform(self, *items: Item) -> None:
        diary.add("done", *(item.number for item in items))

    def stop(self) -> None:
        if 1 in trouble:
            raise trouble.pop(1)()


@pytest.mark.parametrize("driver", ONE_OF_EACH[:1], ids=lambda driver: driver.name, indirect=True)
@pytest.mark.parametrize("how", sorted(MALIGN.keys() - ABRUPT))
async def test_a_malign_exception_is_a_failure_like_others(queue: Queue, worker: Worker, how: str) -> None:
    """On one driver: the storage gets a letter, and nothing of the exception."""
    await it_is_a_failure_like_others(queue, worker, how)


@pytest.mark.parametrize("how", sorted(ABRUPT))
async def test_so_is_one_that_may_end_more_than_the_handler(queue: Queue, worker: Worker, how: str) -> None:
    await it_is_a_failure_like_others(queue, worker, how)


async def it_is_a_failure_like_others(queue: Queue, worker: Worker, how: str) -> None:
    trouble[0] = MALIGN[how]
    await queue.register(Fragile, *one_each(3))

    await run(worker, 3)

    [letter] = await letters(queue)
    assert (letter.message, letter.reason, letter.attempts) == (b"\x93\x00\x00\x00", "raised", 2)
    assert 0 < len(letter.error) <= 1010
    assert 0 < len(letter.traceback) <= 8010
    assert all(one.isprintable() or one in "\n\t" for one in letter.error + letter.traceback)
    assert sorted(number for (number,) in diary.of("done")) == [1, 2]


@pytest.mark.parametrize("how", ["no attributes", "metaclass", "interrupts", "exits", "class", "a text of its own"])
async def test_it_may_as_well_come_from_start_or_stop(
    queue: Queue, worker: Worker, how: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardq.working.worker.FIRST_BACKOFF_S", 0.001)
    trouble[0] = trouble[1] = MALIGN[how]
    await queue.register(FailsToStart, Item(0, 1))

    await run(worker, 1)

    assert diary.of("done") == [(1,)]
    for event in ("handler did not start", "handler did not stop"):
        [record] = [record for record in caplog.records if record.message == event]
        assert record.levelno == logging.ERROR
        assert "malign." in logging.Formatter().format(record) or how in ("interrupts", "exits")


async def test_a_cancellation_that_a_handler_took_is_not_that_of_the_loop(queue: Queue, worker: Worker) -> None:
    """As of a library that ends its own waiting so. Its task counts as cancelled from then on."""

    async def takes_it(handler: Once, items: Sequence[Item]) -> None:
        task = asyncio.current_task()
        assert task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)

    async def raises(handler: Once, items: Sequence[Item]) -> None:
        raise asyncio.CancelledError

    plans.extend([takes_it, raises])
    worker.settings.batch_size = 1
    await queue.register(Once, *one_each(2))

    await run(worker, 2)

    [letter] = await letters(queue)
    assert "CancelledError came out of the handler" in letter.error


class FullOf(QueueFull):
    def __str__(self) -> str:
        raise KeyError("full of it")


async def test_a_full_storage_of_another_kind_is_one_as_well(queue: Queue, worker: Worker) -> None:
    async def fill(handler: Any, items: Sequence[Item]) -> None:
        raise FullOf("full")

    plans.append(fill)
    await queue.register(Once, Item(0, 0))
    await run(worker, 1)

    assert batches() == [(0,), (0,)]
    assert await letters(queue) == []


async def test_an_alarm_ends_what_an_exception_says_too_slowly(queue: Queue, worker: Worker) -> None:
    """In place of the worker's own: each of the exception's answers may be interrupted, and all have one second."""
    asked: list[float] = []

    class Interrupting:
        def __init__(self, limit_s: float) -> None:
            asked.append(limit_s)

        def __enter__(self) -> None:
            raise TimeoutError

        def __exit__(self, *error: Any) -> None:
            raise AssertionError("was never entered")

    worker.hooks = Hooks(alarm=Interrupting)  # type: ignore[arg-type]
    trouble[0] = BadText
    await queue.register(Fragile, *one_each(1))

    await run(worker, 1)

    [letter] = await letters(queue)
    assert letter.error.endswith("BadText: <exception str() failed>")
    assert asked
    assert all(0 < limit_s <= 1 for limit_s in asked)


def test_a_family_outlives_them_all(start: Start, url: str, name: str, tmp_path: Path) -> None:
    """Each is raised twice, beside healthy requests in threads of their own."""
    ways = [*SLOW, *MALIGN]
    healthy = range(1000, 1200)
    # In turns: what a malign one costs shows in the healthy ones behind it.
    asks = [Ask(number, how) for number, how in enumerate(ways)] + [Ask(number) for number in healthy]
    leave_in_segment(name, Malign, sorted(asks, key=lambda ask: ask.number % 97))
    program = start(Malign.__module__, "--url", url, "--workers", 2, "--drain", environment={FOLDER: str(tmp_path)})

    assert program.end() == Exit.DEAD_LETTERS

    assert "worker ended" not in program.heard
    assert all(one.isprintable() or one in "\n\t" for one in program.heard)
    assert sorted(map(int, (tmp_path / "done").read_text().split())) == list(healthy)
    with client(url) as queue:
        found = {number: letter for letter in _letters(queue) for number in (letter["number"],)}
        assert sorted(found) == list(range(len(ways)))
        assert {(letter["reason"], letter["attempts"]) for letter in found.values()} == {("raised", 2)}
        for number, how in enumerate(SLOW):
            assert "<exception str() took too long>" in found[number]["error"], how
        forget_dead(queue)


def _letters(queue: Queue) -> list[dict[str, Any]]:
    return [
        {"number": int(b.letter.pipe.split("/")[-2]), "reason": b.letter.reason, "attempts": b.letter.attempts}
        | {"error": b.letter.error}
        for b in asyncio.run(queue.dead_letters.list())
    ]
