"""What an application does beside embedding a supervisor: it forks, changes its event loops, is killed."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from textwrap import dedent
from typing import Any

import psutil
import pytest
import uvloop

from shardq import Supervisor
from shardq.errors import SupervisorError
from shardq.settings import SupervisorSettings
from tests.support import jobs, python
from tests.support.jobs import Folder, Record
from tests.support.programs import ROOT, lives, until
from tests.support.segments import files_of
from tests.support.tasks import LIMIT_S, in_thread

JOBS = jobs.__name__

#: No test waits for it: what depends on it takes longer than any test.
NEVER_KILLED = SupervisorSettings(workers=1, shutdown_timeout=1000)


def reaped(pid: int) -> int:
    """Wait for the end of a child, and return how it ended."""
    return os.waitpid(pid, 0)[1]


def supervisor_pid(supervisor: Supervisor) -> int:
    pid = supervisor.stats().supervisor_pid
    assert pid is not None
    return pid


# Children of the application


def fork_by_c(gate: int) -> int:
    """As a C library forks, which runs nothing of what Python does at forks."""
    interval_s = sys.getswitchinterval()
    # No other thread may ask for the interpreter at the fork: the child would wait for a thread that it has not.
    sys.setswitchinterval(1e6)
    try:
        pid: int = ctypes.PyDLL(None).fork()
        if not pid:
            os.read(gate, 1)
            os._exit(0)
    finally:
        sys.setswitchinterval(interval_s)
    return pid


def fork_by_python(gate: int) -> int:
    pid = os.fork()
    if not pid:
        os.read(gate, 1)
        os._exit(0)
    return pid


def fork_by_multiprocessing(gate: int) -> int:
    process = multiprocessing.get_context("fork").Process(target=os.read, args=(gate, 1))
    process.start()
    assert process.pid is not None
    return process.pid


def execute_with_all_descriptors(gate: int) -> int:
    os.set_inheritable(gate, True)
    # The end of the application is none of it.
    words = (sys.executable, "-c", f"import os, signal; os.read({gate}, 1) or signal.pause()")
    return os.posix_spawn(sys.executable, words, os.environ)


MAKERS = [fork_by_python, fork_by_multiprocessing, fork_by_c, execute_with_all_descriptors]

#: Starts a child of this process that lives until its descriptor can be read or ends.
MakeChild = Callable[[int], int]


@contextmanager
def child(make: MakeChild) -> Iterator[int]:
    gate, opener = os.pipe()
    pid = make(gate)
    try:
        yield pid
        assert lives(pid)
    finally:
        os.write(opener, b".")
        reaped(pid)
        os.close(gate)
        os.close(opener)


@pytest.mark.parametrize("make", MAKERS)
async def test_a_stop_does_not_wait_for_children_of_the_application(make: MakeChild, folder: Folder) -> None:
    supervisor = Supervisor(JOBS, settings=NEVER_KILLED)
    await supervisor.start()
    with child(make):
        await supervisor.queue.register(Record, *folder.notes([0]))
        assert await supervisor.drain()
        async with asyncio.timeout(LIMIT_S):
            await supervisor.stop()
    assert files_of(supervisor.url.removeprefix("shm://")) == set()


@pytest.mark.parametrize("make", MAKERS)
async def test_the_death_of_a_supervisor_is_seen_though_a_child_has_its_line(make: MakeChild, folder: Folder) -> None:
    async with Supervisor(JOBS, settings=NEVER_KILLED) as supervisor:
        former = supervisor_pid(supervisor)
        with child(make):
            os.kill(former, signal.SIGKILL)
            until(lambda: supervisor.stats().supervisor_pid not in (None, former), "there is another one")
            await supervisor.queue.register(Record, *folder.notes([0]))
            assert await supervisor.drain()


#: Each takes the status of every child from the application.
REAPING = {
    "ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "handler": """
        def take(number, frame):
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        signal.signal(signal.SIGCHLD, take)
    """,
    "thread": """
        def take():
            while True:
                with suppress(ChildProcessError):
                    os.waitpid(-1, 0)
        threading.Thread(target=take, daemon=True).start()
    """,
}
REAPED = """
    from shardq import Supervisor
    from tests.support.jobs import Note, Record

    async def main() -> None:
        async with Supervisor("tests.support.jobs", workers=1) as supervisor:
            os.kill(former := supervisor.stats().supervisor_pid, signal.SIGKILL)
            while supervisor.stats().supervisor_pid in (None, former):
                await asyncio.sleep(0.005)
            await supervisor.queue.register(Record, Note(sys.argv[1], 0))
            await supervisor.drain()
        print(supervisor.url.removeprefix("shm://"))

    asyncio.run(main())
"""


@pytest.mark.parametrize("how", REAPING)
def test_the_death_of_a_supervisor_is_seen_though_the_application_waits_for_it(how: str, folder: Folder) -> None:
    text = "import asyncio, os, signal, sys, threading\nfrom contextlib import suppress\n"
    words = (sys.executable, "-c", text + dedent(REAPING[how]) + dedent(REAPED), str(folder.path))

    done = python.run(words, cwd=ROOT, capture_output=True, text=True, check=True)

    assert folder.done() == [0]
    assert files_of(done.stdout.strip()) == set()
    assert "Traceback" not in done.stderr


APPLICATION = """
    import asyncio, os, sys
    from shardq import Supervisor
    from tests.system import test_embedding as tests

    async def main() -> None:
        gate, opener = os.pipe()
        async with Supervisor("tests.support.jobs", settings=tests.NEVER_KILLED) as supervisor:
            child = getattr(tests, sys.argv[1])(gate)
            print(supervisor.url.removeprefix("shm://"), child, tests.supervisor_pid(supervisor), flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
"""


@pytest.mark.parametrize("make", MAKERS)
def test_the_family_of_a_killed_application_does_not_live_as_long_as_its_children(make: MakeChild) -> None:
    words = (sys.executable, "-c", dedent(APPLICATION), make.__name__)
    with python.Program[str](words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        name, *pids = app.stdout.readline().split()
        orphan, family = psutil.Process(int(pids[0])), psutil.Process(int(pids[1]))
        workers = family.children()
        app.kill()
        try:
            assert psutil.wait_procs([family, *workers], timeout=LIMIT_S)[1] == []
            assert lives(orphan.pid)
        finally:
            orphan.kill()
            for process in (family, *workers):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
    assert files_of(name) == set()


def test_a_family_ends_when_its_application_executes_another_program() -> None:
    text = APPLICATION.replace("await asyncio.Event().wait()", "os.execvp('sleep', ('sleep', '1000'))")
    words = (sys.executable, "-c", dedent(text), fork_by_python.__name__)
    with python.Program[str](words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        name, orphan, family = app.stdout.readline().split()
        until(lambda: not lives(int(family)), "its supervisor ends")
        assert lives(app.pid)
        os.kill(int(orphan), signal.SIGKILL)
        app.kill()
    assert files_of(name) == set()


async def test_a_forked_child_that_leaves_the_block_leaves_the_family_to_its_parent(folder: Folder) -> None:
    async with Supervisor(JOBS, settings=NEVER_KILLED) as supervisor:
        former = supervisor_pid(supervisor)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                await supervisor.stop()
                code = 0
            finally:
                os._exit(code)
        assert reaped(pid) == 0
        await supervisor.queue.register(Record, *folder.notes([0]))
        assert await supervisor.drain()
        assert supervisor_pid(supervisor) == former
    assert folder.done() == [0]


async def test_a_forked_child_is_told_whose_family_it_is() -> None:
    async with Supervisor(JOBS, settings=NEVER_KILLED) as supervisor:
        ours, theirs = os.pipe()
        if not (pid := os.fork()):
            try:
                for refused in (supervisor.start().send, lambda _: supervisor.scale(2)):
                    try:
                        refused(None)
                    except SupervisorError as error:
                        os.write(theirs, f"{error}\n".encode())
            finally:
                os._exit(0)
        assert reaped(pid) == 0
        os.close(theirs)
        with os.fdopen(ours) as said:
            lines = said.read().splitlines()
        assert len(lines) == 2
        assert all(f"started by process {os.getpid()}, which this one was forked from" in line for line in lines)


# Event loops of the application


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine in a loop of its own, which is closed afterwards."""

    def runner(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as loop:
            return loop.run(asyncio.wait_for(main, LIMIT_S))

    return runner


Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_one_loop_can_start_it_another_one_use_it_and_a_third_one_stop_it(run: Run, folder: Folder) -> None:
    supervisor = Supervisor(Record, workers=1)

    async def use() -> None:
        await supervisor.queue.register(Record, *folder.notes([0]))
        assert await supervisor.drain()

    run(supervisor.start())
    run(use())
    run(supervisor.stop())
    assert files_of(supervisor.url.removeprefix("shm://")) == set()
    assert folder.done() == [0]


def test_a_supervisor_that_dies_while_no_loop_runs_is_started_again(run: Run, folder: Folder) -> None:
    supervisor = Supervisor(Record, workers=1)
    run(supervisor.start())
    former = supervisor_pid(supervisor)

    os.kill(former, signal.SIGKILL)

    until(lambda: supervisor.stats().supervisor_pid not in (None, former), "there is another one")
    supervisor.queue.register_sync(Record, *folder.notes([0]))
    folder.until("done", 0)
    run(supervisor.stop())
    assert files_of(supervisor.url.removeprefix("shm://")) == set()


def test_it_can_be_stopped_from_another_thread_while_the_loop_that_started_it_runs(run: Run) -> None:
    supervisor = Supervisor(Record, workers=1)

    async def start() -> None:
        await supervisor.start()
        await in_thread(supervisor.stop)

    run(start())
    assert files_of(supervisor.url.removeprefix("shm://")) == set()


def test_several_can_stop_it_at_one_time(run: Run) -> None:
    supervisor = Supervisor(Record, workers=1)

    async def stop() -> None:
        await asyncio.gather(supervisor.stop(), in_thread(supervisor.stop), supervisor.stop())

    run(supervisor.start())
    run(stop())
    assert files_of(supervisor.url.removeprefix("shm://")) == set()


def test_an_application_that_ends_without_a_stop_leaves_nothing(run: Run) -> None:
    text = """
        import asyncio
        from shardq import Supervisor
        supervisor = Supervisor("tests.support.jobs", workers=1)
        asyncio.run(supervisor.start())
        print(supervisor.url.removeprefix("shm://"), supervisor.stats().supervisor_pid, flush=True)
    """
    done = python.run(
        (sys.executable, "-c", dedent(text)), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert done.stderr == ""
    name, pid = done.stdout.split()
    until(lambda: not lives(int(pid)), "its supervisor is gone")
    assert files_of(name) == set()


async def test_a_system_that_has_no_thread_left_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    supervisor = Supervisor(Record, workers=1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(SupervisorError, match="can't start new thread"):
            await supervisor.start()
    async with supervisor:
        assert supervisor_pid(supervisor)
