"""`shardq why`: why requests do not run, beside real families that are busy, stopped, hung, killed, or not there."""

from __future__ import annotations

import asyncio
import os
import signal

import psutil
import pytest

from shardq import connect
from shardq.cli import FAILED, main
from shardq.drivers import SharedStorage
from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.crashing import Ask, Fragile, environment
from tests.support.drivers import MIB
from tests.support.holder import holder
from tests.support.homes import Home, on_each_home
from tests.support.jobs import Folder, Gated, Patient
from tests.support.programs import until
from tests.support.said import Said, Say
from tests.support.segments import new_name, remove_all_like
from tests.support.supervised import Start, attached, client

JOBS = jobs.__name__
GATED, PATIENT = f"{JOBS}/Gated/0/0", f"{JOBS}/Patient/0/0"
ONE_BY_ONE = {"QUEUE_WORKER_BATCH_SIZE": "1"}


@pytest.fixture
def said(home: Home, capsys: pytest.CaptureFixture[str]) -> Say:
    """What the command prints of the test's storage."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        status = main(["why", *map(str, words), "--url", home.url])
        return Said(status, *capsys.readouterr())

    return run


def codes(said: Say, pipe: str) -> list[str]:
    return [reason["code"] for reason in said(pipe, "--json").value["reasons"]]


def until_why(said: Say, pipe: str, *wanted: str) -> None:
    until(lambda: codes(said, pipe) == list(wanted), f"the reasons for {pipe} are {wanted}")


async def _append(url: str, pipe: str, message: bytes) -> None:
    async with await connect(url) as queue:
        assert await queue.storage.append([(pipe, [message])])


def is_stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


@on_each_home
def test_a_family_at_work(home: Home, start: Start, said: Say, folder: Folder) -> None:
    home.leave(Gated, folder.notes([0, 2, 1], threads=2))
    program = start(JOBS, "--url", home.url, "--workers", 1, environment=ONE_BY_ONE).serving()
    [worker] = program.workers(1)
    [first] = folder.until("begin", 0)
    asyncio.run(_append(home.url, f"{JOBS}/Gated/0/5", b"x"))
    asyncio.run(_append(home.url, "gone/Handler/0/0", b"x"))
    assert first.pid == worker

    until_why(said, GATED, "in-hand", "order")
    until_why(said, f"{JOBS}/Gated/0/5", "other-priority")
    until_why(said, f"{JOBS}/Gated/1/0", "busy")
    until_why(said, "gone/Handler/0/0", "unserved")
    until_why(said, f"{JOBS}/Gated/7/0", "empty")

    lines = said(GATED).lines
    assert lines[0] == f"{GATED}: 2 requests"
    assert lines[1].startswith(f"- Worker 1 (pid {worker})")
    assert "has 1 request of it in hand for " in lines[1]
    assert "  They serve " not in lines
    program.kill_family()


@on_each_home
def test_a_request_that_failed(home: Home, start: Start, said: Say, folder: Folder) -> None:
    home.leave(Patient, folder.notes([0]))
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    until_why(said, PATIENT, "backoff")
    assert "failed 1 time, last" in said(PATIENT).out
    assert "when its handler raised. The next attempt is in " in said(PATIENT).out
    assert program.stop() == Exit.OK
    until_why(said, PATIENT, "nobody", "backoff")


def test_a_family_that_is_stopped_and_killed_piece_by_piece(
    home: Home, start: Start, said: Say, folder: Folder
) -> None:
    home.leave(Gated, folder.notes([0]))
    program = start(JOBS, "--url", home.url, "--workers", 2).serving()
    [line] = folder.until("begin", 0)
    [idle] = attached(program, home.name, 2) - {line.pid}

    os.kill(line.pid, signal.SIGSTOP)
    until_why(said, GATED, "stopped")
    assert f"kill -CONT {line.pid} lets it go on" in said(GATED).out

    os.kill(idle, signal.SIGSTOP)
    until(lambda: is_stopped(idle), "the idle worker is stopped")
    asyncio.run(_append(home.url, f"{JOBS}/Gated/1/0", b"x"))
    until_why(said, f"{JOBS}/Gated/1/0", "no-worker")

    program.kill()
    until_why(said, f"{JOBS}/Gated/1/0", "no-worker", "no-supervisor")
    for pid in (idle, line.pid):
        os.kill(pid, signal.SIGKILL)
    until_why(said, f"{JOBS}/Gated/1/0", "nobody")


def test_a_handler_that_hangs_beyond_its_time(home: Home, start: Start, said: Say, folder: Folder) -> None:
    pipe = f"{Fragile.__module__}/Fragile/0/0"
    timed = environment(folder.path, "spin")
    program = start(Fragile.__module__, "--url", home.url, "--workers", 1, environment=timed).serving()
    with client(home.url) as queue:
        queue.register_sync(Fragile, Ask(0, "hang"))
    until_why(said, pipe, "overdue")
    assert "Its supervisor ends it soon." in said(pipe).out
    program.kill()
    until(lambda: "No supervisor is there that would end it." in said(pipe).out, "the supervisor is known to be gone")
    program.kill_family()


def test_a_process_that_does_not_leave_the_guard(home: Home, said: Say, folder: Folder) -> None:
    home.leave(Gated, folder.notes([0]))
    with holder(home.name, "hold") as other:
        other.hear()
        other.stop()
        assert codes(said, GATED) == ["guard", "nobody"]
        assert f"process {other.pid}, which is stopped, has the guard" in said(GATED).out
        other.go_on()
        other.let_go()


def test_a_storage_that_was_moved(home: Home, said: Say, folder: Folder) -> None:
    home.leave(Gated, folder.notes([0]))
    target = new_name()
    try:
        assert main(["move", home.url, f"shm://{target}"]) == 0
        assert codes(said, GATED)[0] == "moved"
        assert f"was moved to shm://{target}." in said(GATED).out
    finally:
        remove_all_like(target)


def test_what_is_no_pipe(home: Home, said: Say) -> None:
    SharedStorage.create(home.name, MIB).detach()
    status, out, errors = said("app.jobs/Resize/0/x")
    assert (status, out) == (FAILED, "")
    assert errors == "shardq: 'app.jobs/Resize/0/x' is no pipe: it must end with /thread/priority\n"


def test_what_is_no_handler(home: Home, said: Say) -> None:
    SharedStorage.create(home.name, MIB).detach()
    status, out, errors = said("app.jobs")
    assert (status, out) == (FAILED, "")
    assert "'app.jobs' is no handler: give MODULE/Handler" in errors


@on_each_home
def test_a_handler_or_nothing_stands_for_all_tubes_with_requests(home: Home, said: Say, folder: Folder) -> None:
    home.leave(Gated, folder.notes([0, 1, 2], threads=3))
    asyncio.run(_append(home.url, PATIENT, b"x"))
    ours = {f"{JOBS}/Gated/{thread}/0" for thread in range(3)}

    found = said(f"{JOBS}/Gated", "--json").value
    assert {its["pipe"] for its in found} == ours
    assert [[reason["code"] for reason in its["reasons"]] for its in found] == [["nobody"]] * 3
    assert {its["pipe"] for its in said("--json").value} == {*ours, PATIENT}

    advised = {reason["advice"] for its in found for reason in its["reasons"]}
    assert all(advice.endswith(f": python -m shardq.supervise {JOBS}") for advice in advised)
    [of_thread] = said(f"{JOBS}/Gated/1", "--json").value
    assert of_thread["pipe"] == f"{JOBS}/Gated/1/0"

    lines = said(f"{JOBS}/Gated", "--limit", 1).lines
    assert lines[0].removesuffix(": 1 request") in ours
    assert lines[-1] == "and 2 tubes more: `shardq tubes` lists them"
    assert said(f"{JOBS}/Other").lines[0].startswith(f"no tubes with requests in them of {JOBS}/Other: ")


@on_each_home
def test_what_a_storage_cannot_see_is_said(home: Home, said: Say, folder: Folder) -> None:
    home.leave(Gated, folder.notes([0]))
    unknown = said(GATED, "--json").value["unknown"]
    last = said(GATED).lines[-1]
    assert last == f"This storage cannot see: {', '.join(unknown)}." if unknown else not last.startswith("This")
