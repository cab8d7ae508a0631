"""How far a batch has come: said by handlers of every kind, seen from outside while the batch is in hand."""

from __future__ import annotations

import asyncio
import contextvars
import json
import re
import signal
import threading
from collections.abc import Sequence
from typing import Any

import psutil
import pytest

from shardq import Queue, Supervisor, Worker
from shardq.cli import main
from shardq.model import Progress
from tests.support import threading_handlers
from tests.support.homes import Home, ServerHome, on_each_home
from tests.support.jobs import Failing, Folder, Tracked
from tests.support.programs import Supervise, until
from tests.support.segments import observing
from tests.support.supervised import Start, client, leave_in_segment
from tests.support.tasks import eventually
from tests.support.threading_handlers import EARLY
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
        handler.progress(1, note="Login('Ann', password='hunter2')")
        assert worker.progress is not None
        assert worker.progress.note == "Login('Ann', password=***)"

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
    with observing(url.removeprefix("shm://")) as observer:
        [worker] = observer.overview().workers
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
    lines = capsys.readouterr().out.splitlines()
    [titles] = [at for at, line in enumerate(lines) if line.endswith("progress")]
    assert lines[titles + 1].endswith("  2/4 50% number 2 \\x1b[31m")

    folder.permit(2)
    folder.until("done", 3)
    until(lambda: seen_from_outside(url).state == "idle", "the worker is idle")
    assert (seen_from_outside(url).done, seen_from_outside(url).note) == (None, "")
    assert program.stop() == 0


@pytest.mark.parametrize("home", [ServerHome], indirect=True)
def test_status_of_a_server_shows_what_each_worker_is_at(
    start: Start, home: Home, folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(start, home.url, folder)

    def status(*more: str) -> str:
        capsys.readouterr()
        assert main(["status", "--url", home.url, "--sample", "0", *more]) == 0
        return capsys.readouterr().out

    def bound() -> Any:
        [family] = json.loads(status("--json"))["families"]
        return family["workers"][0]["threads"]

    until(lambda: bool(bound()) and bound()[0]["done"] == 2, "the server knows of the second")
    [thread] = bound()
    assert (thread["in_hand"], thread["total"], thread["note"]) == (4, 4, "number 2 \x1b[31m")
    lines = status().splitlines()
    [titles] = [place for place, line in enumerate(lines) if line.endswith(" progress")]
    assert lines[titles + 1].endswith("  2/4 50% number 2 \\x1b[31m")

    folder.permit(2)
    folder.until("done", 3)
    until(lambda: not any(thread["in_hand"] for thread in bound()), "the worker is idle")
    assert all((thread["done"], thread["note"]) == (None, "") for thread in bound())


@on_each_home
def test_the_progress_of_a_worker_that_was_killed_goes_with_it(start: Start, home: Home, folder: Folder) -> None:
    begun(start, home.url, folder)
    with client(home.url) as queue:
        until(lambda: [worker.done for worker in home.at_work(queue)] == [2], "two are done")
        [first] = home.at_work(queue)

        psutil.Process(first.pid).send_signal(signal.SIGKILL)
        folder.until_again(next(line for line in folder.lines if line.number == 0))
        until(lambda: [worker.done for worker in home.at_work(queue)] == [0], "another one begins with the first")

        [second] = home.at_work(queue)
        assert second.pid != first.pid
        assert second.requests == 1
    folder.permit(4)
    folder.until("done", 2, 3)


@on_each_home
async def test_a_supervisor_says_what_its_workers_are_at(home: Home, folder: Folder) -> None:
    async with Supervisor(JOBS, url=home.url, workers=2) as supervisor:
        await eventually(lambda: {its.number for its in supervisor.progress()} == {1, 2}, "both workers are known")
        assert [worker.handler for worker in supervisor.progress()] == [None, None]
        await supervisor.queue.register(Tracked, *folder.notes(range(4)))
        folder.permit(2)
        await asyncio.to_thread(folder.until, "begin", 2)

        await eventually(lambda: 2 in [its.done for its in supervisor.progress()], "two are done")
        [worker] = [worker for worker in supervisor.progress() if worker.handler]
        assert (worker.handler, worker.thread, worker.requests) == (f"{JOBS}/Tracked", "0", 4)
        assert (worker.done, worker.total, worker.note) == (2, 4, "number 2 \x1b[31m")
        assert worker.pid == folder.lines[0].pid
        assert worker.age_s > 0

        folder.permit(2)
        assert await supervisor.drain()


# The line on a terminal

LOGGED = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ shardq")
ON_TERMINAL = {"TERM": "xterm", "COLUMNS": "100"}


def work_through(program: Supervise, url: str, folder: Folder) -> None:
    """Four requests in one batch, of which two are done when the line shows them."""
    with client(url) as queue:
        queue.register_sync(Tracked, *folder.notes(range(4)))
    folder.permit(2)
    folder.until("begin", 2)


@on_each_home
def test_a_family_on_a_terminal_shows_one_line(start: Start, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1, environment=ON_TERMINAL, on_terminal=True).serving()
    work_through(program, home.url, folder)
    program.hear(r"\r0 done, 4 queued, 0/s, unknown left \| 1 Tracked/0 2/4 50% number 2 \\x1b\[31m\x1b\[K")
    folder.permit(2)
    program.hear(r"\r4 done, 0 queued, ")

    with client(home.url) as queue:
        queue.register_sync(Failing, *folder.notes([1]))
    program.hear("WARNING request failed")
    program.hear(r"\r5 done, 0 queued, ")
    assert program.stop() == 0

    assert program.heard.endswith("\r\x1b[K")
    for line in LOGGED.finditer(program.heard):
        assert program.heard[: line.start()].endswith("\r\x1b[K"), "a line of the log stands alone"
    assert all(len(state) < 100 for state in re.findall(r"\r([^\r\x1b\n]*)\x1b\[K", program.heard))


@on_each_home
def test_a_drain_on_a_terminal_shows_what_workers_are_at(start: Start, home: Home, folder: Folder) -> None:
    home.leave(Tracked, folder.notes(range(4)))
    arguments = (JOBS, "--url", home.url, "--workers", 1, "--drain")
    program = start(*arguments, environment=ON_TERMINAL, on_terminal=True)
    folder.permit(2)
    program.hear(r"\r\[-+\]   0% 0/4 done, 0/s, unknown left \| 1 Tracked/0 2/4 50% number 2")
    folder.permit(2)
    assert program.end() == 0
    assert program.heard.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--no-progress"], ON_TERMINAL),
        ([], ON_TERMINAL | {"QUEUE_SUPERVISOR_PROGRESS": "off"}),
        (["--json", "--progress"], ON_TERMINAL),
        ([], {"TERM": "dumb"}),
    ],
    ids=["not wanted", "not wanted by the environment", "structured logs", "dumb"],
)
@pytest.mark.parametrize("drain", [(), ("--drain",)], ids=["serve", "drain"])
def test_there_may_be_no_line(
    options: list[str],
    environment: dict[str, str],
    drain: tuple[str, ...],
    start: Start,
    url: str,
    name: str,
    folder: Folder,
) -> None:
    leave_in_segment(name, Tracked, folder.notes(range(4)))
    arguments = (JOBS, "--url", url, "--workers", 1, *options, *drain)
    program = start(*arguments, environment=environment, on_terminal=True)
    folder.permit(4)
    folder.until("done", *range(4))
    assert (program.end() if drain else program.stop()) == 0
    assert "\r" not in program.heard.replace("\r\n", "\n")
    assert "\x1b" not in program.heard


def test_elsewhere_there_is_no_line(start: Start, url: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, environment=ON_TERMINAL).serving()
    work_through(program, url, folder)
    folder.permit(2)
    folder.until("done", 3)
    assert program.stop() == 0
    assert "queued," not in program.heard
    assert "\x1b" not in program.heard


def test_workers_that_are_executed_keep_their_lines_apart_as_well(start: Start, url: str, folder: Folder) -> None:
    program = start(
        JOBS,
        threading_handlers.__name__,
        "--url",
        url,
        "--workers",
        1,
        environment=ON_TERMINAL | {EARLY: "1"},
        on_terminal=True,
    ).serving()
    with client(url) as queue:
        queue.register_sync(Failing, *folder.notes([1]))
    program.hear("WARNING request failed")
    folder.until("done", 1)
    assert program.stop() == 0
    assert "workers are executed" in program.heard
    for line in LOGGED.finditer(program.heard):
        assert program.heard[: line.start()].endswith("\r\x1b[K")
