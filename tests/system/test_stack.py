"""`shardq stack`: where the code of workers is that are busy, hung, stopped or dead."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from shardq.cli import FAILED, main
from shardq.drivers import SharedStorage
from shardq.supervisor.exits import Exit
from shardq.system import stacks
from tests.support import jobs
from tests.support.crashing import Ask, Fragile, environment
from tests.support.drivers import MIB
from tests.support.homes import Home, ServerHome, on_each_home
from tests.support.jobs import Folder, Gated, Tracked
from tests.support.programs import until
from tests.support.said import Said, Say
from tests.support.supervised import Start, client

JOBS = jobs.__name__


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str]) -> Say:
    """What the command prints of the test's storage."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        status = main(["stack", *map(str, words), "--url", home.url])
        return Said(status, *capsys.readouterr())

    return run


@on_each_home
def test_a_busy_worker_is_shown_with_what_it_is_at_and_goes_on(
    home: Home, start: Start, said: Say, folder: Folder
) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    [worker] = program.workers(1)
    with client(home.url) as queue:
        queue.register_sync(Tracked, *folder.notes([0, 1]))
        folder.until("begin", 0)
        until(lambda: said("--json").value[0]["done"] == 0, "it is known how far it is")

        [its] = said("--json").value
        assert (its["number"], its["pid"], its["host"], its["silent"]) == (1, worker, None, None)
        assert (its["handler"], its["thread"], its["state"]) == (f"{JOBS}/Tracked", "0", "busy")
        assert its["requests"] in (1, 2)
        assert (its["done"], its["total"]) == (0, its["requests"])
        [thread] = its["threads"]
        assert any("jobs.py" in call and call.endswith("in _take_permit") for call in thread["calls"])

        first, *lines = said(1).lines
        assert first.startswith(f"worker 1, pid {worker}")
        assert "\x1b" not in first
        assert "\\x1b[31m" in first
        assert all(line.startswith("  ") for line in lines if line)
        assert said(worker).lines[1:] == lines

        folder.permit(2)
        folder.until("done", 1)
    assert program.stop() == Exit.OK
    assert "most recent call first" not in program.heard, "nothing is on the standard error of the family"


@on_each_home
def test_a_worker_in_native_code_is_shown(home: Home, start: Start, said: Say, folder: Folder) -> None:
    program = start(Fragile.__module__, "--url", home.url, "--workers", 2, environment=environment(folder.path))
    program.serving()
    program.workers(2)
    with client(home.url) as queue:
        queue.register_sync(Fragile, Ask(0, "hang"))

    until(lambda: "in _hang_in_native_code" in said().out, "its stack is shown")
    program.kill()
    (folder.path / "mended").touch()


@on_each_home
def test_one_that_is_stopped_says_so_and_is_left_alone(home: Home, start: Start, said: Say) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2).serving()
    stopped, other = sorted(program.workers(2))
    until(lambda: {its["pid"] for its in said("--json").value} == {stopped, other}, "both are attached")
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: stacks._state(stopped) == b"T", "it is stopped")

    told = {its["pid"]: its for its in said("--json").value}
    assert "is stopped" in told[stopped]["silent"]
    assert told[stopped]["threads"] == []
    assert told[other]["silent"] is None
    assert not stacks._is_pending(stopped)

    os.kill(stopped, signal.SIGCONT)
    assert said(stopped).lines[1:]
    assert program.stop() == Exit.OK


def test_workers_without_supervisor_are_shown_and_the_dead_are_named(
    home: Home, start: Start, said: Say, folder: Folder
) -> None:
    home.leave(Gated, folder.notes([0, 1], threads=2))
    program = start(JOBS, "--url", home.url, "--workers", 2).serving()
    workers = {line.pid for line in folder.until("begin", 0, 1)}
    program.kill()
    dead, busy = sorted(workers)
    os.kill(dead, signal.SIGKILL)

    def told() -> bool:
        found = {its["pid"]: its for its in said("--json").value}
        return found[dead]["silent"] == "has ended" and bool(found[busy]["threads"])

    until(told, "one is dead, and the other one is shown")
    folder.permit(2)


@pytest.mark.parametrize("home", [ServerHome], indirect=True, ids=["server"])
def test_those_of_another_host_are_named(home: Home, start: Start, said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    program.workers(1)
    until(lambda: bool(said("--json").value), "it is known")
    here = socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "another.example")

    first, second = said().lines
    assert f" of {here}" in first
    assert second == f"  it belongs to {here}, where `shardq stack` can ask it"
    assert program.stop() == Exit.OK


def test_where_there_is_no_such_worker(home: Home, said: Say) -> None:
    SharedStorage.create(home.name, MIB).detach()
    assert said().lines == ["no workers"]
    assert said("--json").value == []
    status, out, errors = said(7)
    assert (status, out) == (FAILED, "")
    assert errors == f"shardq: {home.url} has no worker 7: `shardq status` shows which it has\n"
