"""The end of a worker is the end of an interpreter: nothing that it started stays, and nothing that waits for the end
is left undone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from shardq.supervisor.exits import Exit
from tests.support import ending
from tests.support.ending import FOLDER, POOL, Act, Ending
from tests.support.hosted import told, until_told
from tests.support.jobs import Folder, Record
from tests.support.programs import ROOT, Supervise, lives, until
from tests.support.segments import files_of
from tests.support.supervised import Start, client, leave_in_segment
from tests.support.tasks import LIMIT_S

MODULE = ending.__name__


def environment(folder: Path, pool: str = "") -> dict[str, str]:
    return {FOLDER: str(folder), POOL: pool}


def pids(line: str) -> list[int]:
    """The worker that did something, and whom it started for that."""
    return [int(word) for word in line.split() if word.isdecimal()]


def told_by(folder: Path, what: str) -> list[int]:
    return [int(line.partition("=")[2]) for line in told(folder) if line.partition("=")[0] == what]


def have(url: str, folder: Path, *acts: str) -> str:
    """Have it done by a worker, one after another, and return what came of the last."""
    came = ""
    with client(url) as queue:
        for act in acts:
            queue.register_sync(Ending, Act(act))
            came = until_told(folder, act)
    return came


def by_term(program: Supervise) -> None:
    assert program.stop() == Exit.OK


def by_interrupt(program: Supervise) -> None:
    assert program.stop(signal.SIGINT) == Exit.OK


def by_scaling(program: Supervise) -> None:
    program.signal(signal.SIGTTIN)
    program.workers(2)
    program.signal(signal.SIGTTOU)
    program.workers(1)
    assert program.stop() == Exit.OK


ENDS = pytest.mark.parametrize("end", [by_term, by_interrupt, by_scaling])


@ENDS
def test_a_pool_of_the_module_ends_with_each_worker(start: Start, url: str, tmp_path: Path, end: object) -> None:
    program = start(MODULE, "--url", url, "--workers", 1, environment=environment(tmp_path, "yes")).serving()
    started = pids(have(url, tmp_path, "pool"))
    assert len(started) > 1

    assert callable(end)
    end(program)

    assert [pid for pid in started if lives(pid)] == []


def test_a_pool_of_the_module_ends_with_a_drain(start: Start, url: str, name: str, tmp_path: Path) -> None:
    leave_in_segment(name, Ending, [Act("pool")])

    program = start(MODULE, "--url", url, "--workers", 1, "--drain", environment=environment(tmp_path, "yes"))

    assert program.end() == Exit.OK
    started = pids(until_told(tmp_path, "pool"))
    assert len(started) > 1
    assert [pid for pid in started if lives(pid)] == []
    assert files_of(name) == set()


def test_workers_have_a_connection_each_that_their_module_made(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        folder.path.joinpath(f"{name}.py").write_text(
            f"import socket\nconnection = socket.create_connection({server.getsockname()!r})\n"
            f"from {Record.__module__} import Record as Again\n"
        )
        path = {"PYTHONPATH": f"{folder.path}:{ROOT}"}
        program = start(name, "--url", url, "--workers", 2, environment=path).serving()
        program.hear(r"cannot share: workers are executed, not forked what=1 connections")
        server.settimeout(LIMIT_S)
        accepted = [server.accept()[0] for _ in range(3)]  # of the supervisor, and of each worker
        with client(url) as queue:
            queue.register_sync(Record, *folder.notes([0]))
            folder.until("done", 0)
        assert program.stop() == Exit.OK
        for connection in accepted:
            connection.close()


def test_a_pool_of_the_module_ends_with_each_renewal(start: Start, url: str, tmp_path: Path) -> None:
    options = ("--url", url, "--workers", 1, "--max-requests", 1)
    program = start(MODULE, *options, environment=environment(tmp_path, "yes")).serving()
    first = program.workers(1)
    started = pids(have(url, tmp_path, "pool"))

    until(lambda: not any(map(lives, started)), "the worker that was renewed and its pool end")
    until(lambda: program.workers(1) != first, "another worker comes")
    assert program.stop() == Exit.OK


def test_workers_do_not_share_a_pool_that_their_module_made(start: Start, url: str, tmp_path: Path) -> None:
    program = start(MODULE, "--url", url, "--workers", 2, environment=environment(tmp_path, "yes")).serving()
    program.workers(2)
    with client(url) as queue:
        queue.register_sync(Ending, *(Act("pool", number) for number in range(20)))
        until(lambda: len(told(tmp_path)) == 20, "all is done")

    assert "failed" not in program.heard
    assert program.stop() == Exit.OK


@pytest.mark.parametrize("what", ["own_pool", "daemon"])
def test_what_a_handler_started_ends_with_its_worker(start: Start, url: str, tmp_path: Path, what: str) -> None:
    program = start(MODULE, "--url", url, "--workers", 1, environment=environment(tmp_path)).serving()
    started = pids(have(url, tmp_path, what))
    assert len(started) == 2

    assert program.stop() == Exit.OK

    assert [pid for pid in started if lives(pid)] == []


@pytest.mark.parametrize(
    ("what", "ended"),
    [
        ("nothing", "hook"),
        ("hook", "late hook"),
        ("bad_hook", "after a bad hook"),
        ("thread", "thread ended"),
        ("thread_pool", "pool's work ended"),
    ],
)
def test_what_waits_for_the_end_is_done_once(start: Start, url: str, tmp_path: Path, what: str, ended: str) -> None:
    program = start(MODULE, "--url", url, "--workers", 1, environment=environment(tmp_path)).serving()
    worker, *_ = pids(have(url, tmp_path, what))

    program.signal(signal.SIGTERM)
    (tmp_path / "go").touch()
    assert program.end() == Exit.OK

    assert told_by(tmp_path, ended).count(worker) == 1


def test_logs_that_were_held_back_are_written(start: Start, url: str, tmp_path: Path) -> None:
    program = start(MODULE, "--url", url, "--workers", 1, environment=environment(tmp_path)).serving()
    worker, *_ = pids(have(url, tmp_path, "log"))

    assert program.stop() == Exit.OK

    assert (tmp_path / "log").read_text() == f"buffered by {worker}\n"


def test_what_the_module_made_before_the_fork_outlives_a_worker(start: Start, url: str, tmp_path: Path) -> None:
    options = ("--url", url, "--workers", 1, "--max-requests", 1)
    program = start(MODULE, *options, environment=environment(tmp_path)).serving()
    first = program.workers(1)
    have(url, tmp_path, "nothing")
    until(lambda: program.workers(1) != first, "another worker comes")

    came = have(url, tmp_path, "hook", "nothing")

    assert came.endswith(" True")
    assert program.stop() == Exit.OK
    assert told_by(tmp_path, "finalizer") == [program.pid]
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_worker_that_does_not_come_to_its_end_lets_go_of_all_in_time(start: Start, url: str, tmp_path: Path) -> None:
    options = ("--url", url, "--workers", 1, "--shutdown-timeout", 2)
    program = start(MODULE, *options, environment=environment(tmp_path)).serving()
    started = pids(have(url, tmp_path, "endless"))

    assert program.stop() == Exit.OK

    assert [pid for pid in started if lives(pid)] == []
    program.hear(r"threads of the worker did not end in time pid=\d+ threads=endless")


ENDLESS = """
    import threading
    threading.Thread(target=threading.Event().wait, name="endless").start()
    from tests.support.jobs import Record
"""
SOON = "import sys, shardq.supervise as its; its._END_WITHIN_S = 0.1; sys.exit(its.main())"


@pytest.mark.parametrize("option", ["--drain", "--probe"])
def test_a_thread_of_a_module_keeps_no_supervisor_from_its_end(option: str, url: str, tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(dedent(ENDLESS))
    words = (sys.executable, "-c", SOON, "endless", "--url", url, "--workers", "1", "--shutdown-timeout", "1", option)
    place = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}

    done = subprocess.run(words, env=place, capture_output=True, text=True, timeout=LIMIT_S)

    assert done.returncode == Exit.OK
    assert "threads of the supervisor did not end in time" in done.stderr
