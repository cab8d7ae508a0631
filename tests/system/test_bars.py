"""How far a map is, and the bars of others over its results: the recipes of docs/howto/results.md, as they are."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress, track
from tqdm import tqdm
from tqdm.asyncio import tqdm as async_tqdm

from shardq import Handler, Queue, Retry, Worker
from shardq.errors import RequestFailed
from shardq.model import handler_name
from shardq.protocols import Storage
from shardq.results.mapping import MapProgress
from tests.support.workers import working

#: More than a window, so that results come in several parts.
MANY = 300


class Half(Handler[int, int]):
    """Refuses numbers that are odd and below ten."""

    retry = Retry(max_attempts=1)
    batch_size = 1

    def perform(self, number: int) -> int:
        if number % 2 and number < 10:
            raise ValueError("odd")
        return number // 2


@pytest.fixture
async def queue(storage: Storage) -> Queue:
    """For which this process counts as one that serves the handler."""
    await storage.wait(frozenset((handler_name(Half),)), 0)
    return Queue(storage)


@pytest.fixture(autouse=True)
def _no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm watches bars that stand still by a thread, which would stay."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


def numbers() -> list[int]:
    return list(range(10, 10 + MANY))


async def a_few() -> AsyncIterator[int]:
    for number in range(10, 13):
        yield number


async def test_a_map_tells_how_far_it_is(queue: Queue, worker: Worker) -> None:
    async with working(worker), queue.map(Half, numbers(), window=8) as results:
        assert len(results) == MANY
        assert results.progress == MapProgress(0, MANY, 0, 0.0, None)
        seen = 0
        async for _ in results:
            seen += 1
            progress = results.progress
            assert seen <= progress.done <= seen + 8
            assert progress.per_s > 0
            assert progress.left_s == pytest.approx((MANY - progress.done) / progress.per_s, rel=0.5)
        ended = results.progress
        assert (ended.done, ended.total, ended.failed, ended.left_s) == (MANY, MANY, 0, 0.0)
    assert results.progress == ended


async def test_failures_are_counted(queue: Queue, worker: Worker) -> None:
    async with working(worker), queue.map(Half, range(10), outcomes=True) as results:
        outcomes = [outcome async for outcome in results]
    assert sum(outcome.error is not None for outcome in outcomes) == 5
    assert results.progress[:3] == (10, 10, 5)


async def test_a_map_that_a_failure_ends_stands_where_it_was(queue: Queue, worker: Worker) -> None:
    async with working(worker):
        async with queue.map(Half, range(10), window=2) as results:
            with pytest.raises(RequestFailed):
                _ = [half async for half in results]
        assert results.progress.failed >= 1
        assert results.progress == results.progress  # the clock stands


@pytest.mark.parametrize("requests", [lambda: (n for n in (10, 11, 12)), a_few], ids=["generator", "asynchronous"])
async def test_an_input_without_a_length_has_results_without_one(requests: Any, queue: Queue, worker: Worker) -> None:
    async with working(worker), queue.map(Half, requests()) as results:
        with pytest.raises(TypeError, match="the input of this map has no length"):
            len(results)
        assert [result async for result in results] == [5, 5, 6]
        assert (results.progress.total, results.progress.left_s) == (None, None)
        assert results


async def test_results_are_true_however_few(queue: Queue) -> None:
    async with queue.map(Half, []) as results:
        assert results
        assert len(results) == 0


async def test_results_come_one_at_a_time_as_well(queue: Queue, worker: Worker) -> None:
    async with working(worker), queue.map(Half, [10, 12, 14]) as results:
        assert [await anext(results) for _ in range(3)] == [5, 6, 7]
        with pytest.raises(StopAsyncIteration):
            await anext(results)


# tqdm


async def test_tqdm_over_a_map(queue: Queue, worker: Worker) -> None:
    out = io.StringIO()
    async with working(worker), queue.map(Half, numbers()) as results:
        bar = async_tqdm(results, file=out, mininterval=0)
        assert [half async for half in bar] == [n // 2 for n in numbers()]
    assert (bar.total, bar.n) == (MANY, MANY)
    assert "100%" in out.getvalue()


async def test_tqdm_over_a_map_without_a_loop(queue: Queue, worker: Worker) -> None:
    out = io.StringIO()

    def halves() -> list[int]:
        with queue.map_sync(Half, numbers()) as results:
            return list(tqdm(results, file=out, mininterval=0))

    async with working(worker):
        assert await asyncio.to_thread(halves) == [n // 2 for n in numbers()]
    assert f"{MANY}/{MANY}" in out.getvalue()


async def test_tqdm_where_the_input_has_no_length(queue: Queue, worker: Worker) -> None:
    out = io.StringIO()
    async with working(worker), queue.map(Half, a_few()) as results:
        bar = async_tqdm(results, file=out, mininterval=0)
        assert [half async for half in bar] == [5, 5, 6]
    assert (bar.total, bar.n) == (None, 3)


# rich


async def test_rich_over_a_map(queue: Queue, worker: Worker) -> None:
    out = io.StringIO()
    async with working(worker), queue.map(Half, numbers(), outcomes=True) as results:
        with Progress(console=Console(file=out, force_terminal=True, width=80)) as bars:
            task = bars.add_task("halves", total=len(results))
            async for outcome in results:
                assert outcome.error is None
                bars.update(task, completed=results.progress.done)
        assert bars.finished
        assert bars.tasks[task].completed == MANY
    assert "100%" in out.getvalue()


async def test_rich_over_a_map_without_a_loop(queue: Queue, worker: Worker) -> None:
    out = io.StringIO()

    def halves() -> list[int]:
        with queue.map_sync(Half, numbers()) as results:
            return list(track(results, "halves", console=Console(file=out, force_terminal=True, width=80)))

    async with working(worker):
        assert await asyncio.to_thread(halves) == [n // 2 for n in numbers()]
    assert "100%" in out.getvalue()
