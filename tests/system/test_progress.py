"""How far a batch has come: said by handlers of every kind, seen from outside while the batch is in hand."""

from __future__ import annotations

import asyncio
import contextvars
import json
import signal
import threading
from collections.abc import Sequence
from typing import Any

import psutil
import pytest

from shardq import Queue, Supervisor, Worker
from shardq.cli import main
from shardq.drivers.shared.contents import overview_of
from shardq.model import Progress
from tests.support.jobs import Folder, Tracked
from tests.support.programs import Supervise, until
from tests.support.supervised import Start, client
from tests.support.workers import Item, Planned, plans, run

JOBS = Tracked.__module__


async def test_a_worker_knows_how_far_its_batch_is(queue: Queue, worker: Worker) -> None:
    seen: list[Progress | None] = []

    async def first(handler: Planned, items: Sequence[Item]) -> None:
        seen.append(worker.progress)
        for _ in handler.track(items):
            seen.append(worker.progress)
        seen.append(worker.progress)

    async def second(handler: Planned, items: Sequence[Item]) -> None:
        seen.append(worker.progress)

    plans[:] = [first, second]
    await queue.register(Planned, Item(0, 0), Item(0, 1))
    await run(worker, 2)
    assert worker.progress is None
    await queue.register(Planned, Item(0, 2))
    await run(worker, 1)

    assert seen == [None, Progress(0, 2, ""), Progress(1, 2, ""), Progress(2, 2, ""), None]


async def test_all_code_of_the_batch_may_say_it_and_none_of_an_earlier_one(queue: Queue, worker: Worker) -> None:
    seen: list[Progress | None] = []
    earlier: list[contextvars.Context] = []

    async def first(handler: Planned, items: Sequence[Item]) -> None:
        earlier.append(contextvars.copy_context())
        await asyncio.to_thread(handler.progress, 1, 4)
        seen.append(worker.progress)
        thread = threading.Thread(target=handler.progress, args=(2, 4))
        thread.start()
        thread.join()
        seen.append(worker.progress)

    async def second(handler: Planned, items: Sequence[Item]) -> None:
        earlier[0].run(handler.progress, 3, 4)
        seen.append(worker.progress)

    plans[:] = [first, second]
    await queue.register(Planned, Item(0, 0), Item(0, 1))
    worker.settings.batch_size = 1
    await run(worker, 2)

    assert seen == [Progress(1, 4, ""), Progress(2, 4, ""), None]


# With real workers


def begun(start: Start, url: str, folder: Folder, *arguments: object) -> Supervise:
    """A family with one batch of four, of which two are done."""
    program = start(JOBS, "--url", url, "--workers", 1, *arguments).serving()
    with client(url) as queue:
        queue.register_sync(Tracked, *folder.notes(range(4)))
    folder.permit(2)
    folder.until("begin", 2)
    return program


def seen_from_outside(url: str) -> Any:
    with overview_of(url.removeprefix("shm://")) as overview:
        [worker] = overview().workers
    return worker


def test_status_shows_what_each_worker_is_at(
    start: Start, url: str, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    program = begun(start, url, folder)

    assert main(["status", "--url", url, "--sample", "0", "--json"]) == 0
    [worker] = json.loads(capsys.readouterr().out)["workers"]
    assert (worker["done"], worker["total"], worker["note"]) == (2, 4, "number 2 \x1b[31m")
    assert worker["thread"] == f"{JOBS}/Tracked/0"

    assert main(["status", "--url", url, "--sample", "0"]) == 0
    *_, titles, shown = capsys.readouterr().out.splitlines()
    assert titles.split()[-1] == "progress"
    assert shown.endswith("  2/4 50% number 2 \\x1b[31m")

    folder.permit(2)
    folder.until("done", 3)
    until(lambda: seen_from_outside(url).state == "idle", "the worker is idle")
    assert (seen_from_outside(url).done, seen_from_outside(url).note) == (None, "")
    assert program.stop() == 0


def test_the_progress_of_a_worker_that_was_killed_goes_with_it(start: Start, url: str, folder: Folder) -> None:
    begun(start, url, folder)
    first = seen_from_outside(url)

    psutil.Process(first.pid).send_signal(signal.SIGKILL)
    folder.until_again(next(line for line in folder.lines if line.number == 0))
    until(lambda: seen_from_outside(url).done == 0, "another worker begins with the first")

    assert seen_from_outside(url).pid != first.pid
    assert seen_from_outside(url).batch_count == 1
    folder.permit(4)
    folder.until("done", 2, 3)


async def test_a_supervisor_says_what_its_workers_are_at(url: str, folder: Folder) -> None:
    async with Supervisor(JOBS, url=url, workers=2) as supervisor:
        assert [worker.handler for worker in supervisor.progress()] == [None, None]
        await supervisor.queue.register(Tracked, *folder.notes(range(4)))
        folder.permit(2)
        await asyncio.to_thread(folder.until, "begin", 2)

        [worker] = [worker for worker in supervisor.progress() if worker.handler]
        assert (worker.handler, worker.thread, worker.requests) == (f"{JOBS}/Tracked", "0", 4)
        assert (worker.done, worker.total, worker.note) == (2, 4, "number 2 \x1b[31m")
        assert worker.pid == folder.lines[0].pid
        assert {worker.number for worker in supervisor.progress()} == {1, 2}
        assert worker.age_s > 0

        folder.permit(2)
        assert await supervisor.drain()
