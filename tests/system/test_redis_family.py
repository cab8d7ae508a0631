"""Workers over a server: what a supervisor does there for its family, as a user runs it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from shardq import Queue, Supervisor, connect
from shardq.drivers.redis.storage import RedisStorage
from shardq.errors import SupervisorError
from tests.support.hosted import Act, Plain, until_told
from tests.support.jobs import Folder, Forward, Gated, Record
from tests.support.leaks import segment_name
from tests.support.programs import Supervise, until
from tests.support.redis_server import Server, program, removed_when_right, running_server
from tests.support.tasks import LIMIT_S

#: So that workers are executed.
THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"

#: Longer than any test waits: only a supervisor ends such a claim earlier.
LONG_S = "3600"


@pytest.fixture
def url() -> str:
    return f"{running_server().url}?prefix={segment_name()}_"


@pytest.fixture
async def queue(url: str) -> AsyncIterator[Queue]:
    """Another process's view of the storage, which is right and gone in the end."""
    queue = await connect(url)
    assert isinstance(queue.storage, RedisStorage)
    yield queue
    await removed_when_right(queue.storage)


async def test_an_embedded_family_does_what_is_registered(url: str, queue: Queue, folder: Folder) -> None:
    async with Supervisor(Record, Forward, workers=2, url=url) as supervisor:
        await supervisor.queue.register(Forward, *folder.notes(range(200), threads=4))
        assert await supervisor.drain(LIMIT_S)
        stats = supervisor.stats()
        assert (stats.handled, stats.queued, len(stats.workers)) == (400, 0, 2)

    for thread in range(4):
        assert folder.done(thread) == list(range(thread, 200, 4))
    assert (await queue.storage.backlog())[:2] == (400, 400)


async def test_the_thread_of_a_killed_worker_is_served_at_once(
    url: str, queue: Queue, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_LOCK_TIMEOUT", LONG_S)
    async with Supervisor(Gated, workers=2, url=url) as supervisor:
        await supervisor.queue.register(Gated, *folder.notes(range(3)))
        [begun] = folder.until("begin", 0)
        os.kill(begun.pid, signal.SIGKILL)
        again = folder.until_again(begun)
        folder.permit(3)
        assert await supervisor.drain(LIMIT_S)

    assert again.pid != begun.pid
    assert folder.done() == [0, 1, 2]


async def test_plain_code_keeps_its_claim_beyond_the_lease(
    url: str, queue: Queue, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop of the worker does not run meanwhile: the supervisor renews the claim."""
    lease_s = 1.5
    monkeypatch.setenv("QUEUE_LOCK_TIMEOUT", str(lease_s))
    async with Supervisor(Gated, workers=2, url=url) as supervisor:
        await supervisor.queue.register(Gated, *folder.notes(range(1)))
        folder.until("begin", 0)
        assert await supervisor.queue.storage.wait(None, 2 * lease_s) is None  # no other worker is offered the thread
        folder.permit(1)
        assert await supervisor.drain(LIMIT_S)

    assert folder.done() == [0]
    assert [line.what for line in folder.lines] == ["begin", "done"]


async def test_what_is_due_comes_while_all_workers_are_busy(url: str, queue: Queue, folder: Folder) -> None:
    async with Supervisor(Gated, Record, workers=1, url=url) as supervisor:
        await supervisor.queue.register(Gated, *folder.notes(range(1)))
        folder.until("begin", 0)
        await supervisor.queue.register(Record, *folder.notes([7]), defer=0.2)
        deadline = time.monotonic() + LIMIT_S
        while (await supervisor.queue.storage.backlog()).deferred:
            assert time.monotonic() < deadline
        folder.permit(1)
        assert await supervisor.drain(LIMIT_S, deferred=True)

    assert folder.done() == [0, 7]


async def test_a_family_is_reloaded(url: str, queue: Queue, folder: Folder) -> None:
    family = Supervise(f"{Record.__module__}:Record", "--url", url, "--workers", 1)
    try:
        family.serving()
        first = family.workers(1)
        for times in (1, 2):
            family.signal(signal.SIGHUP)
            family.hear_times("reloaded workers=1", times)
            until(lambda: not family.workers(1) & first, "the worker is new")
            await queue.register(Record, *folder.notes([times]))
            folder.until("done", times)
        assert family.stop() == 0
    finally:
        family.discard()


async def test_a_family_whose_server_is_away_is_reloaded_and_goes_on(folder: Folder) -> None:
    server = Server(program())
    server.start()
    family = Supervise(f"{Record.__module__}:Record", "--url", server.url, "--workers", 1)
    try:
        family.serving()
        server.kill()
        family.signal(signal.SIGHUP)
        family.hear("reloaded workers=1")
        server.start()
        async with await connect(server.url) as queue:
            await queue.register(Record, *folder.notes([0]))
            folder.until("done", 0)
        assert family.stop() == 0
    finally:
        family.discard()
        server.end()


@pytest.fixture
def guarded() -> Iterator[Server]:
    """A server that wants a password."""
    server = Server(program(), "--requirepass", "secret")
    server.start()
    yield server
    server.end()


@pytest.mark.usefixtures("executed")
async def test_no_list_of_processes_shows_a_password(guarded: Server, folder: Folder) -> None:
    url = f"redis+unix://:secret@{guarded.socket}"
    async with Supervisor(Record, workers=1, url=url) as supervisor:
        await supervisor.queue.register(Record, *folder.notes(range(1)))
        assert await supervisor.drain(LIMIT_S)
        [program] = [child for child in psutil.Process().children() if "--control" in child.cmdline()]
        words = [word for process in (program, *program.children(recursive=True)) for word in process.cmdline()]
    assert [word for word in words if word == "secret" or ":secret@" in word] == []


@pytest.mark.usefixtures("executed")
@pytest.mark.parametrize("text", ["", THREAD], ids=["forked", "executed"])
async def test_what_handlers_start_is_not_told_the_password(
    guarded: Server, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the environment of the worker, also of one that came by a reload."""
    module = f"jobs_{segment_name()[-8:]}"
    (tmp_path / f"{module}.py").write_text(f"from {Plain.__module__} import Plain\n{text}")
    monkeypatch.syspath_prepend(str(tmp_path))
    async with Supervisor(module, workers=1, url=f"redis+unix://:secret@{guarded.socket}") as supervisor:
        [program] = [child for child in psutil.Process().children() if "--control" in child.cmdline()]
        for folder in (tmp_path / "before", tmp_path / "after"):
            folder.mkdir()
            await supervisor.queue.register(Plain, Act(str(folder), "secrets"))
            assert until_told(folder, "secrets") == "[]"
            [former] = program.children()
            assert ("--as-worker" in former.cmdline()) == bool(text)
            program.send_signal(signal.SIGHUP)
            until(lambda: former not in program.children() and bool(program.children()), "it reloads")  # noqa: B023


async def test_a_server_that_is_not_there_is_told_of_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(SupervisorError, match="no answer from") as told:
        async with Supervisor(Record, workers=1, url=f"redis+unix://:secret@{tmp_path}/none"):
            raise AssertionError
    assert "secret" not in str(told.value)
