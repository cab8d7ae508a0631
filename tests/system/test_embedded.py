"""`async with Supervisor(...)` inside applications of every kind: what they get, and what is left when they end."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import psutil
import pytest
import uvloop

from shardq import ShardqError, Supervisor, connect, embedded
from shardq.drivers import SharedStorage
from shardq.errors import ConfigurationError, SupervisorError, SupervisorRunning
from shardq.settings import SupervisorSettings
from shardq.shm.files.names import SHM_DIRECTORY, full_name
from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.jobs import Doomed, Folder, Gated, Note, Record
from tests.support.programs import ROOT, lives
from tests.support.segments import files_of
from tests.support.tasks import LIMIT_S, cancelled, eventually, finished, in_thread, suspended

JOBS = jobs.__name__
#: What is swept was there before the family: it is never what this family, or one before which it stood by, accepted.
SWEEPS = SupervisorSettings(stale="sweep")

#: Runs an application to its end on one of the event loops.
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


class Outer:
    """A name space with a handler in it."""

    class Inner(Record):
        """A handler that is not at the top of its module."""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def runner(app: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(LIMIT_S):
                await app()

        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(limited())

    return runner


def worker_pids(supervisor: Supervisor) -> set[int]:
    return {worker.pid for worker in supervisor.stats().workers if worker.state != "dead"}


async def have_workers(supervisor: Supervisor, count: int) -> set[int]:
    found: set[int] = set()

    def complete() -> bool:
        nonlocal found
        found = worker_pids(supervisor)
        return len(found) == count

    await eventually(complete, f"there are {count} workers")
    return found


def supervisor_pid(supervisor: Supervisor) -> int:
    pid = supervisor.stats().supervisor_pid
    assert pid is not None
    return pid


def kill_supervisor(supervisor: Supervisor) -> int:
    """Kill it alone, and return which one it was."""
    pid = supervisor_pid(supervisor)
    os.kill(pid, signal.SIGKILL)
    return pid


async def have_another_supervisor(supervisor: Supervisor, former: int) -> int:
    """Wait until there is another one than the former, and return its pid."""
    await eventually(lambda: supervisor.stats().supervisor_pid not in (None, former), "there is another one")
    return supervisor_pid(supervisor)


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """This process can open nothing and start nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def private_name(supervisor: Supervisor) -> str:
    return supervisor.url.removeprefix("shm://")


async def have(supervisor: Supervisor, folder: Folder, numbers: Sequence[int], threads: int = 1) -> None:
    """Have the numbers recorded, and see that they are."""
    await supervisor.queue.register(Record, *folder.notes(numbers, threads))
    assert await supervisor.drain()
    assert sorted(folder.done()) == sorted(set(folder.done()) | set(numbers))


@contextmanager
def other_threads() -> Iterator[None]:
    """An application at work: threads that wait, and threads that hold locks now and then, that of logging for one."""
    over = threading.Event()

    def busy() -> None:
        while not over.wait(0.001):
            logging.getLogger(__name__).debug("at work")

    threads = [threading.Thread(target=work) for work in (over.wait, over.wait, busy, busy)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


# What an application gets


@pytest.mark.usefixtures("executed")
def test_an_application_with_threads_has_its_work_done(run: Run, folder: Folder) -> None:
    async def app() -> None:
        with other_threads():
            async with Supervisor(JOBS, workers=2) as supervisor:
                assert files_of(private_name(supervisor))
                for first in range(0, 100, 10):
                    await supervisor.queue.register(Record, *folder.notes(range(first, first + 10), threads=4))
                assert await supervisor.drain()
                for thread in range(4):
                    assert folder.done(thread) == list(range(thread, 100, 4))
        assert files_of(private_name(supervisor)) == set()

    run(app)


@pytest.mark.usefixtures("executed")
async def test_an_application_in_another_thread_than_the_first_has_its_work_done(folder: Folder) -> None:
    async def app() -> None:
        async with Supervisor(JOBS, workers=1) as supervisor:
            await have(supervisor, folder, range(10))

    await in_thread(app)
    assert folder.done() == list(range(10))


@pytest.mark.parametrize("target", [JOBS, f"{JOBS}:Record", Record], ids=["module", "module and name", "class"])
async def test_a_target_can_be_named_or_given(target: Any, folder: Folder) -> None:
    async with Supervisor(target, workers=1) as supervisor:
        await have(supervisor, folder, range(3))


async def test_a_target_can_be_a_class_inside_a_class(folder: Folder) -> None:
    async with Supervisor(Outer.Inner, workers=1) as supervisor:
        await supervisor.queue.register(Outer.Inner, *folder.notes(range(3)))
        assert await supervisor.drain()
    assert folder.done() == [0, 1, 2]


async def test_several_targets_are_served_by_one_family(folder: Folder) -> None:
    async with Supervisor(Record, f"{JOBS}:Forward", workers=1) as supervisor:
        await supervisor.queue.register(jobs.Forward, *folder.notes(range(5)))
        assert await supervisor.drain()
    assert folder.done() == list(range(5))


async def test_stats_show_what_is_in_hand(folder: Folder) -> None:
    async with Supervisor(Gated, workers=1) as supervisor:
        await supervisor.queue.register(Gated, *folder.notes(range(5)))
        [line] = folder.until("begin", 0)
        stats = supervisor.stats()
        [worker] = stats.workers
        assert (stats.queued, stats.accepted, stats.handled) == (5, 5, 0)
        assert (worker.pid, worker.state, worker.batch_count) == (line.pid, "busy", 5)
        assert worker.thread == f"{JOBS}/Gated/0"
        assert stats.supervisor_pid == psutil.Process(line.pid).ppid()
        folder.permit(5)
        assert await supervisor.drain()
        assert supervisor.stats().handled == 5


async def test_dead_letters_count_as_done_and_are_told(folder: Folder) -> None:
    async with Supervisor(Doomed, Record, workers=1) as supervisor:
        await supervisor.queue.register(Doomed, *folder.notes([0]))
        await supervisor.queue.register(Record, *folder.notes([1]))

        assert await supervisor.drain()

        view = supervisor.stats()
        assert (view.queued, view.dead, view.buried) == (0, 1, 1)
        [buried] = await supervisor.queue.dead_letters.list(Doomed)
        assert buried.letter.error == "ValueError: doomed"
        name = private_name(supervisor)
    assert folder.done() == [1]
    assert files_of(name) == set()


async def test_an_embedded_supervisor_reloads(folder: Folder) -> None:
    async with Supervisor(Record, workers=1) as supervisor:
        [old] = await have_workers(supervisor, 1)
        pid = supervisor.stats().supervisor_pid
        assert pid
        os.kill(pid, signal.SIGHUP)
        await eventually(lambda: old not in worker_pids(supervisor) and bool(worker_pids(supervisor)), "it reloaded")
        await have(supervisor, folder, [0])
        supervisor.scale(2)
        await have_workers(supervisor, 2)
        assert supervisor.stats().supervisor_pid == pid
        name = private_name(supervisor)
    assert files_of(name) == set()


async def test_settings_reach_the_supervisor(folder: Folder) -> None:
    settings = SupervisorSettings(max_requests=1)
    async with Supervisor(Record, workers=1, settings=settings) as supervisor:
        await have(supervisor, folder, [0])
        await eventually(lambda: len({line.pid for line in folder.lines} & worker_pids(supervisor)) == 0, "it is new")
        await have(supervisor, folder, [1])
    assert len({line.pid for line in folder.lines}) == 2


async def test_a_drain_says_which_handlers_nothing_handles(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded, "_HINT_S", 0.001)
    notes = folder.notes(range(2))
    async with Supervisor(Gated, workers=1) as supervisor:
        await supervisor.queue.register(Record, *notes)
        await supervisor.queue.register(Gated, *notes)
        drain = asyncio.create_task(supervisor.drain())
        await eventually(lambda: bool(caplog.messages), "it says which")
        assert caplog.messages == [f"drain waits for {JOBS}/Record, which no worker serves or which is paused"]

        # It looks again, and tells what is new.
        await supervisor.queue.storage.pause(f"{JOBS}/Gated")
        await eventually(lambda: len(caplog.messages) == 2, "it says of the other one")
        assert f"drain waits for {JOBS}/Gated, {JOBS}/Record, which" in caplog.messages[1]
        await supervisor.queue.cancel(Record, *notes)
        await supervisor.queue.storage.resume(f"{JOBS}/Gated")
        folder.permit(2)
        assert await finished(drain)
    assert len(caplog.messages) == 2


async def test_drain_tells_when_it_took_too_long(folder: Folder) -> None:
    async with Supervisor(Gated, workers=1) as supervisor:
        await supervisor.queue.register(Gated, *folder.notes(range(2)))
        folder.until("begin", 0)
        folder.permit(1)
        folder.until("done", 0)
        assert not await supervisor.drain(timeout_s=0.01)
        folder.permit(1)
        assert await supervisor.drain(timeout_s=LIMIT_S)


async def test_a_drain_of_the_environment_is_for_families_of_their_own(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_SUPERVISOR_DRAIN", "1")
    async with Supervisor(Record, workers=1) as supervisor:
        await supervisor.queue.register(Record, *folder.notes([0]))
        assert await supervisor.drain(LIMIT_S)
    assert folder.done() == [0]


def test_code_without_an_event_loop_drains(folder: Folder) -> None:
    with Supervisor(Gated, workers=1) as supervisor:
        supervisor.queue.register_sync(Gated, *folder.notes([0]))
        folder.until("begin", 0)
        assert not supervisor.drain_sync(timeout_s=0.01)
        folder.permit(1)
        assert supervisor.drain_sync(timeout_s=LIMIT_S)
    assert folder.done() == [0]


async def test_where_an_event_loop_runs_the_plain_drain_is_refused() -> None:
    with pytest.raises(SupervisorError, match=r"await supervisor\.drain"):
        Supervisor(Record, workers=1).drain_sync()


async def test_scale_brings_workers_and_sends_them_away(folder: Folder) -> None:
    async with Supervisor(JOBS, workers=1) as supervisor:
        first = await have_workers(supervisor, 1)
        for wrong in (-1, "4", None, True):
            with pytest.raises(ConfigurationError, match=f"workers={wrong!r} cannot be"):
                supervisor.scale(wrong)  # type: ignore[arg-type]
        supervisor.scale(4)
        assert first < await have_workers(supervisor, 4)
        supervisor.scale(2)
        assert first < await have_workers(supervisor, 2)
        supervisor.scale(0)
        await have_workers(supervisor, 0)
        await supervisor.queue.register(Record, *folder.notes(range(10)))
        supervisor.scale(1)
        assert await supervisor.drain()
    assert folder.done() == list(range(10))


async def test_settings_that_were_given_are_left_as_they_are() -> None:
    settings = SupervisorSettings(workers=3)
    async with Supervisor(JOBS, workers=1, settings=settings) as supervisor:
        supervisor.scale(2)
        await have_workers(supervisor, 2)
    assert settings == SupervisorSettings(workers=3)


async def test_two_families_live_in_one_application(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Folder(tmp_path / "second")
    async with Supervisor(Record, workers=1) as one, Supervisor(Record, workers=1) as other:
        await one.queue.register(Record, *folder.notes(range(20)))
        await other.queue.register(Record, *second.notes(range(20, 40)))
        assert await one.drain()
        assert await other.drain()
        assert folder.done() == list(range(20))
        assert second.done() == list(range(20, 40))
        assert worker_pids(one).isdisjoint(worker_pids(other))
        await one.stop()
        await have(other, second, range(40, 50))
    second.close()


# The segment


@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_an_empty_url_is_that_of_a_private_segment(
    by: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "environment":
        monkeypatch.setenv("QUEUE_SUPERVISOR_URL", "")
    async with Supervisor(Record, workers=1, url="" if by == "argument" else None) as supervisor:
        await supervisor.queue.register(Record, *folder.notes([0]), defer=3600)
    assert files_of(private_name(supervisor)) == set()


async def test_a_private_segment_goes_with_what_is_in_it(folder: Folder) -> None:
    async with Supervisor(JOBS, workers=1) as supervisor:
        supervisor.scale(0)
        await have_workers(supervisor, 0)
        await supervisor.queue.register(Record, *folder.notes(range(5)))
    assert files_of(private_name(supervisor)) == set()
    assert folder.done() == []


async def test_a_named_segment_can_be_connected_to_and_goes_when_it_is_empty(
    url: str, name: str, folder: Folder
) -> None:
    async with Supervisor(JOBS, url=url, workers=1, capacity_bytes=4 << 20) as supervisor:
        assert supervisor.stats().capacity_bytes == 4 << 20
        queue = await connect(url)
        await queue.register(Record, *folder.notes(range(5)))
        await queue.close()
        assert await supervisor.drain()
    assert folder.done() == list(range(5))
    assert files_of(name) == set()


async def test_a_named_segment_stays_while_there_is_something_in_it(url: str, folder: Folder) -> None:
    async with Supervisor(JOBS, url=url, workers=1) as supervisor:
        supervisor.scale(0)
        await have_workers(supervisor, 0)
        await supervisor.queue.register(Record, *folder.notes(range(5)))
    async with Supervisor(JOBS, url=url, workers=1) as supervisor:
        assert await supervisor.drain()
    assert folder.done() == list(range(5))


# Several applications on one name


async def test_a_second_supervisor_on_a_name_is_refused(url: str, folder: Folder) -> None:
    async with Supervisor(JOBS, url=url, workers=1) as first:
        with pytest.raises(SupervisorRunning, match=url):
            await Supervisor(JOBS, url=url, workers=1).start()
        await have(first, folder, range(5))


async def test_who_attaches_uses_what_is_served_and_succeeds_the_owner(url: str, name: str, folder: Folder) -> None:
    owner = Supervisor(JOBS, url=url, workers=1)
    async with owner, Supervisor(JOBS, url=url, workers=2, if_running="attach") as heir:
        await have(heir, folder, range(10))
        assert heir.stats().supervisor_pid == owner.stats().supervisor_pid
        first = owner.stats().supervisor_pid

        await owner.stop()

        await eventually(lambda: heir.stats().supervisor_pid not in (None, first), "the heir supervises")
        await have(heir, folder, range(10, 20))
        await have_workers(heir, 2)
    assert folder.done() == list(range(20))
    assert files_of(name) == set()


@pytest.mark.parametrize("_", range(3))
async def test_of_owner_and_heirs_that_leave_together_the_last_removes_the_segment(url: str, name: str, _: int) -> None:
    embedded = [Supervisor(JOBS, url=url, workers=1, if_running="attach") for _ in range(3)]
    for supervisor in embedded:
        await supervisor.start()

    await asyncio.gather(*(supervisor.stop() for supervisor in embedded))

    assert files_of(name) == set()


async def test_who_attaches_can_leave_without_a_trace(url: str, folder: Folder) -> None:
    async with Supervisor(JOBS, url=url, workers=1) as owner:
        async with Supervisor(JOBS, url=url, if_running="attach") as guest:
            await have(guest, folder, range(5))
        await have(owner, folder, range(5, 10))


async def test_the_first_to_come_serves_although_it_would_attach(url: str, folder: Folder) -> None:
    embedded = [Supervisor(JOBS, url=url, workers=1, if_running="attach") for _ in range(3)]
    await asyncio.gather(*(supervisor.start() for supervisor in embedded))
    await asyncio.gather(
        *(
            supervisor.queue.register(Record, *folder.notes(range(10 * n, 10 * n + 10)))
            for n, supervisor in enumerate(embedded)
        )
    )
    for supervisor in embedded:
        assert await supervisor.drain()
        await supervisor.stop()
    assert sorted(folder.done()) == list(range(30))


async def test_who_attaches_does_not_scale_what_is_not_its_own(
    url: str, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Supervisor(JOBS, url=url, workers=1) as owner,
        Supervisor(JOBS, url=url, workers=1, if_running="attach") as heir,
    ):
        first = owner.stats().supervisor_pid
        heir.scale(3)
        await owner.stop()
        await eventually(lambda: heir.stats().supervisor_pid not in (None, first), "the heir supervises")
        await have_workers(heir, 3)
        await have(heir, folder, range(5))
    assert caplog.records == []


# Deaths


def test_a_killed_supervisor_is_replaced_and_nothing_is_lost(run: Run, url: str, folder: Folder) -> None:
    async def app() -> None:
        async with Supervisor(Gated, Record, url=url, workers=2, settings=SWEEPS) as supervisor:
            await supervisor.queue.register(Gated, *folder.notes([0]))
            await supervisor.queue.register(Record, *folder.notes(range(1, 50)))
            [line] = folder.until("begin", 0)
            first = supervisor.stats().supervisor_pid
            assert first is not None

            os.kill(first, signal.SIGKILL)

            await eventually(lambda: supervisor.stats().supervisor_pid not in (None, first), "there is another one")
            folder.permit(2)  # the batch in hand is finished by its worker, or by another one if it was cut off
            await supervisor.queue.register(Record, *folder.notes(range(50, 100)))
            assert await supervisor.drain()
            await eventually(lambda: len(pids := worker_pids(supervisor)) == 2 and line.pid not in pids, "all are new")

    run(app)
    assert set(folder.done()) == set(range(100))


async def test_workers_that_are_killed_are_replaced(folder: Folder) -> None:
    async with Supervisor(JOBS, workers=2) as supervisor:
        for pid in await have_workers(supervisor, 2):
            os.kill(pid, signal.SIGKILL)
        await have(supervisor, folder, range(20), threads=3)
        await have_workers(supervisor, 2)


async def test_no_worker_begins_for_a_supervisor_that_was_scaled_to_nothing_and_restarted(folder: Folder) -> None:
    async with Supervisor(Record, workers=1) as supervisor:
        supervisor.scale(0)
        await have_workers(supervisor, 0)
        pid = await have_another_supervisor(supervisor, kill_supervisor(supervisor))

        await supervisor.queue.register(Record, *folder.notes([0]), defer=0.2)
        await eventually(lambda: supervisor.stats().deferred == 0, "the new one is at work")

        assert psutil.Process(pid).children() == []
        supervisor.scale(1)
        assert await supervisor.drain()
    assert folder.done() == [0]


async def test_a_number_asked_for_while_there_is_no_supervisor_is_the_next_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Supervisor(JOBS, workers=1) as supervisor:
        former = kill_supervisor(supervisor)
        await eventually(lambda: "supervisor ended" in caplog.text, "its end was seen")
        supervisor.scale(2)
        await have_another_supervisor(supervisor, former)
        await have_workers(supervisor, 2)


async def test_a_supervisor_that_cannot_be_executed_now_is_executed_later(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    async with Supervisor(Record, workers=1) as supervisor:
        pid = supervisor_pid(supervisor)
        with no_descriptors_left():
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: "cannot start: the supervisor process" in caplog.text, "there was no way to do it")
        await have(supervisor, folder, [0])
        name = private_name(supervisor)
    assert files_of(name) == set()


@pytest.mark.parametrize("hangs", [False, True], ids=["finishes", "hangs"])
async def test_a_stop_while_the_supervisor_is_dead_leaves_nothing(
    hangs: bool, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SupervisorSettings(workers=1, shutdown_timeout=0.1 if hangs else LIMIT_S)
    supervisor = Supervisor(Gated, settings=settings)
    await supervisor.start()
    await supervisor.queue.register(Gated, *folder.notes([0]))
    [line] = folder.until("begin", 0)
    kill_supervisor(supervisor)
    await eventually(lambda: "supervisor ended" in caplog.text, "its end was seen")

    stopping = await suspended(supervisor.stop())
    if not hangs:
        folder.permit(1)
    await finished(stopping)

    # A worker that has left the segment already is not waited for: it is at its last instructions.
    await eventually(lambda: not lives(line.pid), "the worker is gone")
    assert folder.done() == ([] if hangs else [0])
    assert files_of(private_name(supervisor)) == set()


async def test_a_stop_that_is_cancelled_is_cancelled_and_ends_everything_all_the_same() -> None:
    supervisor = Supervisor(Record, workers=1)
    await supervisor.start()
    family = [psutil.Process(pid) for pid in await have_workers(supervisor, 1)]
    name = private_name(supervisor)

    await cancelled(await suspended(supervisor.stop()))

    assert psutil.wait_procs(family, timeout=0)[1] == []
    assert files_of(name) == set()
    with pytest.raises(SupervisorError, match="not started"):
        _ = supervisor.queue


APPLICATION = """
    import asyncio, os, signal, sys
    from shardq import Supervisor
    from tests.support.jobs import Gated, Note

    async def main(folder: str, url: str | None) -> None:
        async with Supervisor(Gated, url=url, workers=2) as supervisor:
            await supervisor.queue.register(Gated, *(Note(folder, n, n) for n in range(2)))
            print(supervisor.url, flush=True)
            try:
                await asyncio.Event().wait()
            finally:
                print("stopping", flush=True)

    if __name__ == "__main__":
        # Tests that run in the background ignore it, and so would their children.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if os.getpgid(0) == os.getpid() == os.getsid(0):
            os.open(os.ttyname(0), os.O_RDWR)  # the first terminal that the leader of a session opens controls it
        asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
"""


class Application:
    """An application in a process of its own, with two workers that wait for permits, each in a thread."""

    def __init__(self, folder: Folder, *words: str, terminal: int = subprocess.DEVNULL) -> None:
        script = folder.path / "application.py"
        script.write_text(dedent(APPLICATION), encoding="utf-8")
        self.process = subprocess.Popen(
            (sys.executable, script, folder.path, *words),
            env=os.environ | {"PYTHONPATH": str(ROOT), "QUEUE_WORKER_BATCH_SIZE": "1"},
            stdin=terminal,
            stdout=subprocess.PIPE,
            start_new_session=terminal != subprocess.DEVNULL,
            text=True,
        )
        self.name = self.hear().removeprefix("shm://")
        folder.until("begin", 0, 1)
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ended(self) -> int:
        """Wait until it and its whole family are gone, and return its exit code."""
        self.process.communicate(timeout=LIMIT_S)
        _, alive = psutil.wait_procs(self.family, timeout=LIMIT_S)
        assert alive == []
        return self.process.returncode


@contextmanager
def application(folder: Folder, *words: str, terminal: int = subprocess.DEVNULL) -> Iterator[Application]:
    started = Application(folder, *words, terminal=terminal)
    try:
        yield started
    finally:
        for process in started.family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        started.process.kill()
        started.process.communicate()


def test_the_family_of_a_killed_application_ends_by_itself(folder: Folder) -> None:
    with application(folder) as app:
        app.process.kill()
        folder.permit(2)
        assert app.ended() == -signal.SIGKILL
        assert set(folder.done()) == {0, 1}
        assert files_of(app.name) == set()


async def test_an_heir_goes_on_with_the_work_of_a_killed_application(folder: Folder, url: str) -> None:
    with application(folder, url) as app:
        async with Supervisor(Gated, url=url, workers=1, if_running="attach") as heir:
            first = heir.stats().supervisor_pid
            app.process.kill()
            folder.permit(4)
            await eventually(lambda: heir.stats().supervisor_pid not in (None, first), "the heir supervises")
            assert await heir.drain()
        assert app.ended() == -signal.SIGKILL
    assert set(folder.done()) == {0, 1}


async def test_an_heir_sweeps_nothing_of_what_was_accepted_before(
    folder: Folder, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Supervisor(Gated, url=url, workers=1, settings=SWEEPS) as former,
        Supervisor(Gated, url=url, workers=1, settings=SWEEPS, if_running="attach") as heir,
    ):
        await heir.queue.register(Gated, *folder.notes([0]))
        folder.until("begin", 0)
        await heir.queue.register(Gated, *folder.notes([1], threads=2))
        await have_another_supervisor(heir, kill_supervisor(former))
        folder.permit(2)
        assert await heir.drain()
    assert set(folder.done()) == {0, 1}
    assert Exit.SEGMENT not in [getattr(record, "code", None) for record in caplog.records]


def test_ctrl_c_reaches_the_application_alone_which_stops_its_family_in_order(folder: Folder) -> None:
    keyboard, terminal = os.openpty()
    with application(folder, terminal=terminal) as app:
        os.write(keyboard, b"\x03")
        assert app.hear() == "stopping"
        # The workers know nothing of it: they are still at what they had in hand, and get it done.
        assert folder.done() == []
        folder.permit(2)
        assert app.ended() == -signal.SIGINT
        assert set(folder.done()) == {0, 1}
        assert files_of(app.name) == set()
    os.close(keyboard)
    os.close(terminal)


async def test_an_exception_of_the_application_ends_the_family() -> None:
    supervisor = Supervisor(JOBS, workers=1)
    family: list[psutil.Process] = []

    async def app() -> None:
        async with supervisor:
            family.extend(psutil.Process(pid) for pid in await have_workers(supervisor, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await app()
    assert psutil.wait_procs(family, timeout=0)[1] == []
    assert files_of(private_name(supervisor)) == set()


# What cannot be

BROKEN_MODULES = {
    "raises": ("raise ValueError('on the way')", "does not import: ValueError: on the way"),
    "misses": ("import no_such_thing", "does not import: No module named 'no_such_thing'"),
    "exits": ("raise SystemExit(3)", "module exits does not import: it ends the program"),
    "leaves": ("raise SystemExit", "module leaves does not import: it ends the program"),
    "empty": ("", "has no handlers"),
    "untyped": (
        "from shardq import Handler\nclass Untyped(Handler):\n    def perform(self, *requests): ...",
        "request type of untyped/Untyped is not known",
    ),
}


@pytest.mark.parametrize("module", BROKEN_MODULES)
async def test_a_module_that_cannot_be_served_is_a_clear_error(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, reason = BROKEN_MODULES[module]
    (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    supervisor = Supervisor(module, workers=1)
    with pytest.raises(SupervisorError, match=reason):
        await supervisor.start()
    assert files_of(private_name(supervisor)) == set()


@pytest.mark.parametrize(
    ("target", "reason"),
    [("no.such.module", "there is no module no.such.module"), (f"{JOBS}:Nobody", "has no handler Nobody; it has: .*R")],
)
async def test_a_target_that_does_not_exist_is_a_clear_error(target: str, reason: str) -> None:
    with pytest.raises(SupervisorError, match=reason):
        await Supervisor(target, workers=1).start()


async def test_a_name_that_another_program_took_is_a_clear_error(url: str, name: str) -> None:
    taken = SHM_DIRECTORY / full_name(name)
    taken.write_bytes(b"not ours" * 1024)
    with pytest.raises(SupervisorError, match="is no shardq segment"):
        await Supervisor(JOBS, url=url, workers=1).start()
    assert taken.read_bytes() == b"not ours" * 1024


async def test_a_capacity_that_holds_nothing_is_a_clear_error() -> None:
    with pytest.raises(SupervisorError, match="too small"):
        await Supervisor(JOBS, workers=1, capacity_bytes=1000).start()


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        ((42,), {}),
        ((Note,), {}),
        ((JOBS,), {"url": "shm://"}),
        ((JOBS,), {"url": "shm://a/b"}),
        ((JOBS,), {"workers": 0}),
        ((JOBS,), {"workers": 1000}),
        ((JOBS,), {"if_running": "perhaps"}),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_before_anything_starts(targets: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Supervisor(*targets, **options)


async def test_a_supervisor_that_is_not_started_says_so() -> None:
    supervisor = Supervisor(JOBS, workers=1)
    with pytest.raises(SupervisorError, match="not started"):
        _ = supervisor.queue
    with pytest.raises(SupervisorError, match="not started"):
        supervisor.stats()
    with pytest.raises(SupervisorError, match="not started"):
        supervisor.scale(1)
    await supervisor.stop()


async def test_starting_twice_is_refused_and_stopping_twice_is_fine(folder: Folder) -> None:
    supervisor = Supervisor(JOBS, workers=1)
    await supervisor.start()
    with pytest.raises(SupervisorError, match="started already"):
        await supervisor.start()
    with pytest.raises(ConfigurationError):
        supervisor.scale(-1)
    await have(supervisor, folder, range(3))
    await supervisor.stop()
    await supervisor.stop()


async def test_a_stopped_supervisor_can_be_started_again(folder: Folder) -> None:
    supervisor = Supervisor(JOBS, workers=1)
    for first in (0, 5):
        async with supervisor:
            await have(supervisor, folder, range(first, first + 5))


async def test_families_can_come_and_go(folder: Folder) -> None:
    for number in range(3):
        async with Supervisor(Record, workers=1) as supervisor:
            await have(supervisor, folder, [number])
    assert folder.done() == list(range(3))


async def test_a_queue_that_is_used_after_the_stop_says_so(folder: Folder) -> None:
    async with Supervisor(JOBS, workers=1) as supervisor:
        queue = supervisor.queue
    assert isinstance(queue.storage, SharedStorage)
    for use in (queue.register(Record, *folder.notes([1])), queue.storage.backlog(), queue.storage.wait_for_quiet(1)):
        with pytest.raises(ShardqError, match="closed"):
            await use
    with pytest.raises(ShardqError, match="closed"):
        queue.register_sync(Record, *folder.notes([1]))
    with pytest.raises(ShardqError, match="closed"):
        queue.storage.overview()


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "reached")
    endless = f"import signal\nopen({str(tmp_path / 'reached')!r}, 'w').close()\nsignal.pause()"
    (tmp_path / "endless.py").write_text(endless, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    start = asyncio.create_task(Supervisor("endless", workers=1).start())
    await asyncio.to_thread((tmp_path / "reached").read_bytes)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finished(start)


# Where handlers come from

HANDLERS = """
    import asyncio, sys
    from pathlib import Path
    from typing import NamedTuple
    from shardq import Handler, Supervisor

    class Word(NamedTuple):
        text: str

    class Write(Handler[Word]):
        def perform(self, *words: Word) -> None:
            with Path(sys.argv[1] if len(sys.argv) > 1 else OUT).open("a") as out:
                out.writelines(f"{word.text}\\n" for word in words)
"""

MAIN = """
    async def main(url: str | None) -> None:
        async with Supervisor(Write, url=url, workers=2) as supervisor:
            await supervisor.queue.register(Write, Word("handled"), Word("in order"))
            await supervisor.drain()
"""

GUARDED = """
    if __name__ == "__main__":
        print("main ran")
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
"""


#: What a user types, with the empty lines that end a class.
#: A class a line, since `python -m asyncio` of 3.13 takes no others from a pipe.
SESSION = """
    from typing import NamedTuple
    from shardq import Handler, Supervisor
    class Word(NamedTuple): text: str

    class Write(Handler[Word]): perform = lambda self, *words: None

    Supervisor(Write)
"""


class Ran(NamedTuple):
    status: int
    printed: str
    errors: str
    written: str


def ran(folder: Path, *words: object, text: str = "") -> Ran:
    """A program that was run to its end in this folder, and what its handlers wrote."""
    out = folder / "out.txt"
    done = subprocess.run(
        (sys.executable, *map(str, words)),
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr, out.read_text() if out.exists() else "")


def source(folder: Path, *parts: str) -> str:
    """The parts as one program whose handlers write to a file in this folder."""
    handlers = dedent(HANDLERS).replace("sys.argv[1] if len(sys.argv) > 1 else OUT", repr(str(folder / "out.txt")))
    return "\n".join((handlers, *map(dedent, parts)))


def test_handlers_of_a_script_are_served(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(source(tmp_path, MAIN, GUARDED), encoding="utf-8")
    done = ran(tmp_path, "script.py")
    assert done == Ran(0, "main ran\n", "", "handled\nin order\n")


BELOW = """
    from shardq import Handler, ShardqError, Supervisor
    if __name__ == "__main__":
        class Below(Handler[int]):
            def perform(self, *numbers: int) -> None: ...

        def below(number: int) -> int: ...

        try:
            Supervisor(Below, workers=1).__enter__()
        except ShardqError as error:
            print(error)
        with Supervisor(workers=1) as supervisor, supervisor.map_sync(below, [1], outcomes=True) as outcomes:
            print(*[outcome.error for outcome in outcomes])
"""


def test_what_a_script_has_below_its_guard_is_refused_clearly(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(dedent(BELOW), encoding="utf-8")
    handler, function = ran(tmp_path, "script.py").printed.splitlines()
    assert "script.py has no Below where workers import it: define it at the top" in handler
    assert "script.py has no below where workers import it: define it at the top" in function


@pytest.mark.parametrize("starts", ["", "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"])
def test_a_script_has_its_own_arguments_in_workers(tmp_path: Path, starts: str) -> None:
    parts = (HANDLERS, MAIN, f"import threading, time\n{starts}", GUARDED.replace("sys.argv[1] if", "None if"))
    (tmp_path / "script.py").write_text("\n".join(map(dedent, parts)), encoding="utf-8")
    done = ran(tmp_path, "script.py", tmp_path / "out.txt")
    assert done == Ran(0, "main ran\n", "", "handled\nin order\n")


def test_no_list_of_processes_shows_the_arguments_of_an_application(tmp_path: Path) -> None:
    shows = """
        import psutil

        async def main(url: str) -> None:
            async with Supervisor(Write, workers=1) as supervisor:
                print(psutil.Process(supervisor.stats().supervisor_pid).cmdline())
    """
    (tmp_path / "script.py").write_text(source(tmp_path, shows, GUARDED), encoding="utf-8")
    done = ran(tmp_path, "script.py", "a-password")
    assert (done.status, done.errors) == (0, "")
    assert "shardq.supervise" in done.printed
    assert "a-password" not in done.printed


def test_handlers_of_a_script_cannot_have_a_name_for_others(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(source(tmp_path, MAIN, GUARDED), encoding="utf-8")
    done = ran(tmp_path, "script.py", "shm://named-by-a-script")
    assert done.status == 1
    assert "HandlerError: Write is defined in the script that was started" in done.errors
    assert "python -m package.module" in done.errors


@pytest.mark.parametrize("target", ["Write", '"script"'], ids=["by its handler", "by its name"])
def test_a_script_that_starts_unguarded_is_told_how_to_guard(tmp_path: Path, target: str) -> None:
    started = MAIN.replace("Supervisor(Write", f"Supervisor({target}")
    (tmp_path / "script.py").write_text(source(tmp_path, started, "asyncio.run(main(None))"), encoding="utf-8")
    done = ran(tmp_path, "script.py")
    assert done.status == 1
    assert "SupervisorError" in done.errors.splitlines()[-1]
    assert 'if __name__ == "__main__":' in done.errors.replace("'", '"').splitlines()[-1]
    assert done.written == ""


@pytest.mark.parametrize("private", [True, False], ids=["private", "named"])
def test_handlers_of_a_module_that_was_started_are_served(tmp_path: Path, private: bool, url: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "here.py").write_text("HERE = True", encoding="utf-8")
    text = source(tmp_path, "from .here import HERE", MAIN, GUARDED)
    (tmp_path / "package" / "module.py").write_text(text, encoding="utf-8")
    done = ran(tmp_path, "-m", "package.module", *([] if private else [url]))
    assert done == Ran(0, "main ran\n", "", "handled\nin order\n")


def test_handlers_of_a_package_that_was_started_are_served(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(source(tmp_path, MAIN, GUARDED), encoding="utf-8")
    assert ran(tmp_path, "-m", "package") == Ran(0, "main ran\n", "", "handled\nin order\n")


@pytest.mark.parametrize("words", [["-i"], ["-"], ["-m", "asyncio"]], ids=["python -i", "stdin", "python -m asyncio"])
def test_handlers_of_an_interactive_session_are_refused_clearly(tmp_path: Path, words: list[str]) -> None:
    done = ran(tmp_path, *words, text=dedent(SESSION))
    assert "HandlerError: Write is defined in an interactive session" in done.errors


def test_a_queue_refuses_handlers_of_a_script_that_its_family_does_not_serve(tmp_path: Path) -> None:
    text = """
        async def main(url):
            async with Supervisor("other", workers=1) as supervisor:
                await supervisor.queue.register(Write, Word("lost"))
    """
    (tmp_path / "other.py").write_text(source(tmp_path), encoding="utf-8")
    (tmp_path / "script.py").write_text(source(tmp_path, text, GUARDED), encoding="utf-8")
    done = ran(tmp_path, "script.py")
    assert "HandlerError: Write is defined in the script that was started" in done.errors
    assert "Supervisor(Write)" in done.errors
    assert done.written == ""


async def test_the_family_looks_for_modules_where_the_application_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found_here.py").write_text(source(tmp_path), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from found_here import Word, Write  # type: ignore[import-not-found]

    async with Supervisor("found_here", workers=1) as supervisor:
        await supervisor.queue.register(Write, Word("here"))
        assert await supervisor.drain()
    assert (tmp_path / "out.txt").read_text() == "here\n"


def test_the_current_folder_is_no_place_for_modules_unless_the_application_says_so(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "script.py").write_text(source(tmp_path, MAIN, GUARDED), encoding="utf-8")
    (tmp_path / "msgspec.py").write_text("raise ImportError('this is not it')", encoding="utf-8")
    assert ran(tmp_path, "app/script.py") == Ran(0, "main ran\n", "", "handled\nin order\n")
