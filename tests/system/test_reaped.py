"""Deaths whose status the supervisor does not get, because its parent or a module saw to that."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path

import pytest

from shardq.supervisor.exits import Exit
from shardq.supervisor.workers.deaths import Death, reap, unknown
from shardq.supervisor.workers.member import Member
from tests.faults.kit.points import Child
from tests.support.jobs import Folder, Gated
from tests.support.programs import ROOT, Supervise
from tests.support.segments import files_of
from tests.support.supervised import Start, client, dead_letters
from tests.support.tasks import LIMIT_S

JOBS = Gated.__module__

#: Each takes the status of every child from the process that imports it.
IGNORING = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
IGNORING_NATIVELY = "import ctypes, signal\nctypes.CDLL(None).signal(int(signal.SIGCHLD), ctypes.c_void_p(1))\n"
WAITING = """
import os, signal
def take(number, frame):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, take)
"""
#: Takes it later, and again and again, in a thread of its own.
TAKING = """
import os, threading, time
def take():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.001)
threading.Thread(target=take, daemon=True).start()
"""


def serve_with(text: str, start: Start, url: str, folder: Path, **options: object) -> Supervise:
    module = f"jobs_{secrets.token_hex(6)}"
    (folder / f"{module}.py").write_text(f"{text}\nfrom {JOBS} import Gated, Record\n")
    environment = {"PYTHONPATH": f"{folder}:{ROOT}", "QUEUE_WORKER_BATCH_SIZE": "1"}
    return start(module, "--url", url, "--workers", 2, environment=environment, **options).serving()


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def lose_workers(program: Supervise, url: str, folder: Folder) -> None:
    """Kill a worker that has a request in hand, and an idle one; what is left to do is done, in order."""
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(3)))
        [line] = folder.until("begin", 0)
        os.kill(line.pid, signal.SIGKILL)
        program.hear(rf"worker ended pid={line.pid} how=")
        again = folder.until_again(line)
        for pid in program.workers(2) - {again.pid}:
            os.kill(pid, signal.SIGKILL)
            program.hear(rf"worker ended pid={pid} how=")
        program.workers(2)
        folder.permit(3)
        folder.until("done", 0, 1, 2)
        assert folder.done() == [0, 1, 2]
        assert dead_letters(queue) == []


@pytest.mark.parametrize("text", ["", IGNORING, IGNORING_NATIVELY, WAITING], ids=["parent", "module", "native", "wait"])
def test_who_takes_the_status_of_children_at_the_start_takes_none(
    text: str, start: Start, url: str, name: str, folder: Folder
) -> None:
    program = serve_with(text, start, url, folder.path, preexec_fn=ignore_children)

    lose_workers(program, url, folder)
    program.signal(signal.SIGHUP)
    program.hear("reloaded workers=2")

    assert program.stop() == Exit.OK
    assert "how=unknown" not in program.heard
    assert program.heard.count("how=SIGKILL") == 2
    assert files_of(name) == set()


def test_a_death_whose_status_was_taken_is_a_death(start: Start, url: str, name: str, folder: Folder) -> None:
    program = serve_with(TAKING, start, url, folder.path)

    lose_workers(program, url, folder)

    assert program.stop() == Exit.OK
    assert "Traceback" not in program.heard
    assert files_of(name) == set()


def test_the_status_of_a_child_that_another_part_waited_for_is_unknown() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], os.environ)
    member = Member.of(pid, 1)
    os.waitpid(pid, 0)

    assert member.reap() == unknown(pid)
    assert not unknown(pid).clean
    assert not unknown(pid).at_boot
    assert "SIGCHLD is ignored" in unknown(pid).how
    member.wait()
    assert member.signal(signal.SIGKILL)
    member.close()


def test_a_process_that_is_no_child_here_lives_until_it_ends() -> None:
    descriptor = os.pidfd_open(os.getppid())
    assert reap(os.getppid(), descriptor) is None
    os.close(descriptor)


def test_a_child_without_a_descriptor_is_known_by_its_pid() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", str(LIMIT_S)], os.environ)
    member = Member(pid, -1, 1)

    assert member.reap() is None
    assert member.signal(signal.SIGKILL)
    assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT) is not None
    assert member.reap() == Death(pid, None, signal.SIGKILL)
    assert member.reap() == unknown(pid)
    assert member.signal(signal.SIGKILL), "a later process with this pid is none of its business"
    member.close()


def test_with_children_ignored_a_death_is_seen_all_the_same() -> None:
    def die_unseen() -> list[int | None]:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        pid = os.posix_spawn("/bin/sleep", ["sleep", str(LIMIT_S)], os.environ)
        member = Member.of(pid, 1)
        alive = member.reap()
        member.signal(signal.SIGKILL)
        member.wait()
        death = member.reap()
        assert alive is None
        assert death is not None
        return [death.exit_code, death.signal]

    assert Child(die_unseen).result() == [None, None]
