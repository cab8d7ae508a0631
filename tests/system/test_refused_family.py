"""A supervisor whose system refuses it something: processes, descriptors, an exec. The family goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from shardq import Supervisor
from shardq.supervisor.code.program import Program
from shardq.supervisor.exits import Exit
from shardq.supervisor.wishes import reload
from shardq.supervisor.wishes.reload import Resumption
from tests.faults.kit.points import Child
from tests.support.fickle import FICKLE, written
from tests.support.homes import Home, on_each_home
from tests.support.jobs import Folder, Gated, Record
from tests.support.programs import ROOT, until, wait_out_one_wish
from tests.support.refusals import NoDescriptors, limit_processes, only_root
from tests.support.segments import files_of
from tests.support.supervised import Start, client
from tests.support.tasks import LIMIT_S

JOBS = Gated.__module__
ONE_BY_ONE = {"QUEUE_WORKER_BATCH_SIZE": "1"}


@only_root
def test_a_reload_that_gets_no_process_is_tried_again(start: Start, url: str) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, preexec_fn=partial(limit_processes, 3)).serving()
    first = program.workers(2)

    program.signal(signal.SIGHUP)
    program.hear("cannot reload now error=.*Resource temporarily unavailable")
    assert program.workers(2) == first
    program.signal(signal.SIGTTOU)  # makes place for a process

    program.hear("reloaded workers=1")
    assert program.stop() == Exit.OK
    assert "Traceback" not in program.heard


@only_root
def test_a_worker_that_gets_no_process_is_tried_again(start: Start, url: str) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, preexec_fn=partial(limit_processes, 3)).serving()

    program.signal(signal.SIGTTIN)
    program.hear_times("cannot fork a worker now", 2)
    [pid, *_] = program.workers(2)
    os.kill(pid, signal.SIGKILL)
    program.hear(rf"worker ended pid={pid}")
    until(lambda: pid not in program.workers(2), "it is replaced")

    assert program.stop() == Exit.OK


def test_a_family_without_descriptors_goes_on(start: Start, url: str, name: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, environment=ONE_BY_ONE).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(4)))
        [line] = folder.until("begin", 0)
        [idle] = program.workers(2) - {line.pid}
        with NoDescriptors(program):
            os.kill(idle, signal.SIGKILL)
            program.hear(rf"worker ended pid={idle} how=SIGKILL")
            program.hear("no descriptor for a worker")  # and the new one, which has none either, cannot attach
            program.hear_times("worker ended", 3)
            folder.permit(1)
            folder.until("begin", 1)
        program.hear("no descriptor for a worker")
        program.workers(2)
        os.kill(line.pid, signal.SIGKILL)
        program.hear(rf"worker ended pid={line.pid} how=SIGKILL")
        folder.permit(4)
        folder.until("done", 1, 2, 3)

    assert program.stop() == Exit.OK
    assert files_of(name) == set()


def test_a_family_without_descriptors_can_be_stopped(start: Start, url: str, name: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    program.workers(1)
    with NoDescriptors(program, reusable=True):
        program.signal(signal.SIGTTIN)
        program.hear("no descriptor for a worker")
        assert program.stop() == Exit.OK, program.heard
    assert files_of(name) == set()


def test_a_reload_without_descriptors_is_refused(start: Start, url: str, name: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    first = program.workers(1)
    with NoDescriptors(program):
        program.signal(signal.SIGHUP)
        program.hear("reload refused")
    assert program.workers(1) == first
    program.signal(signal.SIGHUP)
    program.hear("reloaded workers=1")
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


#: Takes Python away from the supervisor whose probe imports it, once.
TAKING_PYTHON = f"""
import os, pathlib, sys
place = pathlib.Path(__file__).with_name("python")
if "--probe" in sys.argv and not place.with_name("taken").exists():
    place.rename(place.with_name("taken"))
from {JOBS} import Record
"""


def test_an_exec_that_fails_is_tried_again(start: Start, url: str, name: str, folder: Folder) -> None:
    module, python = f"taking_{name}", folder.path / "python"
    (folder.path / f"{module}.py").write_text(TAKING_PYTHON)
    python.symlink_to(sys.executable)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {"PYTHONPATH": f"{folder.path}:{ROOT}:{packages}"}
    program = start(module, "--url", url, "--workers", 1, environment=environment, python=str(python)).serving()
    first = program.workers(1)

    program.signal(signal.SIGHUP)
    program.hear("cannot reload now error=.*No such file or directory")
    assert program.workers(1) == first
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
        folder.until("done", 0)
    python.symlink_to(sys.executable)

    program.hear("reloaded workers=1")
    program.hear("replacing worker")
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


def test_code_that_breaks_after_its_probe_leaves_the_workers_at_work(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    module, environment = written(FICKLE, name, folder)
    program = start(module, "--url", url, "--workers", 1, environment=environment).serving()
    first = program.workers(1)

    program.signal(signal.SIGHUP)
    program.hear_times("does not import any more, trying again", 2)
    assert program.workers(1) == first
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
        folder.until("done", 0)
    (folder.path / "mended").touch()

    program.hear("reloaded workers=1")
    program.hear("replacing worker")
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


async def test_code_that_breaks_after_its_probe_leaves_the_family_of_an_application_at_work(
    name: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _ = written(FICKLE, name, folder)
    monkeypatch.syspath_prepend(str(folder.path))
    async with Supervisor(module, workers=1) as supervisor:
        before = supervisor.stats()
        assert before.supervisor_pid
        os.kill(before.supervisor_pid, signal.SIGHUP)
        until((folder.path / "tried").exists, "the new code is tried")
        await supervisor.queue.register(Record, *folder.notes([0]))
        folder.until("done", 0)
        (folder.path / "mended").touch()

        first = {worker.pid for worker in before.workers}
        living = lambda: {worker.pid for worker in supervisor.stats().workers if worker.state != "dead"}  # noqa: E731
        until(lambda: bool(living()) and not first & living(), "the worker is new")
        assert supervisor.stats().supervisor_pid == before.supervisor_pid
    assert files_of(supervisor.url.removeprefix("shm://")) == set()


def test_code_that_breaks_after_its_probe_does_not_keep_the_family_from_ending(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    module, environment = written(FICKLE, name, folder)
    environment |= ONE_BY_ONE
    program = start(module, "--url", url, "--workers", 2, environment=environment).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(2)))
    folder.until("begin", 0)

    program.signal(signal.SIGHUP)
    program.hear("does not import any more, trying again")
    program.signal(signal.SIGTERM)
    program.workers(1)  # the idle one has ended; nothing reaps it yet
    folder.permit(1)

    assert program.end() == Exit.BOOT
    assert folder.done() == [0]


@on_each_home
def test_a_family_that_ends_while_its_new_code_does_not_import_leaves_nothing(
    home: Home, start: Start, folder: Folder
) -> None:
    module, environment = written(FICKLE, home.name, folder)
    program = start(module, "--url", home.url, "--workers", 1, environment=environment).serving()
    program.workers(1)
    program.signal(signal.SIGHUP)
    program.hear("does not import any more, trying again")
    program.signal(signal.SIGTERM)

    assert program.end() == Exit.BOOT
    assert home.left() == []
    if "redis" in home.url:
        with client(home.url) as queue:
            assert home.workers(queue) == []


def test_a_second_wish_kills_the_workers_of_a_family_whose_new_code_does_not_import(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    module, environment = written(FICKLE, name, folder)
    environment |= ONE_BY_ONE
    options = ("--url", url, "--workers", 2, "--shutdown-timeout", 3600)
    program = start(module, *options, environment=environment).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(2)))
    folder.until("begin", 0)

    program.signal(signal.SIGHUP)
    program.hear("does not import any more, trying again")
    program.signal(signal.SIGTERM)
    program.workers(1)  # the idle one has ended
    wait_out_one_wish()
    program.signal(signal.SIGTERM)

    assert program.end() == Exit.BOOT
    assert folder.done() == []


def test_the_family_of_an_application_ends_with_it_while_its_new_code_does_not_import(
    name: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by force, which would come after more seconds than a test waits."""
    module, _ = written(FICKLE, name, folder)
    monkeypatch.syspath_prepend(str(folder.path))
    monkeypatch.setenv("QUEUE_SUPERVISOR_SHUTDOWN_TIMEOUT", "3600")

    killed = list[int]()

    def kill(pid: int) -> None:
        killed.append(pid)
        os.kill(pid, signal.SIGKILL)

    async def main() -> None:
        async with Supervisor(module, workers=1) as supervisor:
            pid = supervisor.stats().supervisor_pid
            assert pid
            os.kill(pid, signal.SIGHUP)
            until((folder.path / "tried").exists, "the new code is tried")
            # An application waits for its supervisor without end, also where it is cancelled.
            overdue = asyncio.get_running_loop().call_later(LIMIT_S, kill, pid)
        overdue.cancel()

    asyncio.run(main())
    assert killed == []


#: As `FICKLE`, and in the middle of its import while it is not allowed to end.
SLOW = f"""
import pathlib, sys, time
folder = pathlib.Path(__file__).parent
if "--resume" in sys.argv and not (folder / "signalled").exists():
    (folder / "tried").touch()
    while not (folder / "signalled").exists():
        time.sleep(0.005)
    raise RuntimeError("in the middle of a deployment")
from {JOBS} import Record
"""


def test_a_signal_that_comes_during_an_import_that_fails_is_followed_after_the_next_one(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    module, environment = written(SLOW, name, folder)
    program = start(module, "--url", url, "--workers", 1, environment=environment).serving()

    program.signal(signal.SIGHUP)
    until((folder.path / "tried").exists, "the new code is being imported")
    program.signal(signal.SIGTTIN)
    (folder.path / "signalled").touch()

    program.hear("reloaded workers=1")
    program.workers(2)
    assert program.stop() == Exit.OK


def test_an_exec_that_fails_changes_nothing(tmp_path: Path) -> None:
    def fail() -> list[object]:
        here, descriptors = os.getcwd(), [os.dup(0) for _ in range(3)]
        lock, life, writer = descriptors
        program = Program(str(tmp_path), [str(tmp_path / "no-python")])
        with pytest.raises(FileNotFoundError):
            reload.execute_again(program, Resumption(lock, 0, life, writer, 1, 1, {}, None))
        return [os.getcwd() == here, *map(os.get_inheritable, descriptors)]

    assert Child(fail).result() == [True, False, False, False]
