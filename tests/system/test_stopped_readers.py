"""Readers stop taking what a family writes: a stopped pager, a terminal under Ctrl-S, a collector of logs that hangs.
The supervisor hears signals, replaces workers, and ends them in time all the same.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psutil
import pytest

from shardq.handler import Handler
from shardq.supervisor.exits import Exit
from shardq.supervisor.output.telling import ERASE_LINE
from tests.support import jobs, python
from tests.support.jobs import Doomed, Folder, Gated, Record
from tests.support.programs import ROOT, clean_environment, lives, until, wait_out_one_wish
from tests.support.segments import files_of
from tests.support.stopped import OUTPUTS, Output, pipe
from tests.support.supervised import client, leave_in_segment, left_in
from tests.support.tasks import LIMIT_S

JOBS = jobs.__name__
LOST = rb"WARNING lines were lost, their reader took none lines=(\d+)"

Program = subprocess.Popen[bytes]
Begin = Callable[..., Program]


@pytest.fixture(params=OUTPUTS, ids=lambda make: make.__name__)
def output(request: pytest.FixtureRequest) -> Iterator[Output]:
    output: Output = request.param()
    yield output
    output.close()


@pytest.fixture
def full() -> Iterator[Output]:
    """A pipe that takes nothing."""
    output = pipe()
    output.stop()
    yield output
    output.close()


@pytest.fixture
def begin(url: str) -> Iterator[Begin]:
    """Starts supervisors, `begin(*options, stderr=…, stdout=…)`, and ends what is left of them."""
    begun: list[Program] = []

    def beginner(*options: object, module: str = JOBS, environment: Any = None, **streams: Any) -> Program:
        words = (sys.executable, "-m", "shardq.supervise", module, "--url", url, *map(str, options))
        begun.append(
            python.Program(
                words,
                cwd=ROOT,
                env=clean_environment() | (environment or {}),
                **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "process_group": 0} | streams,
            )
        )
        return begun[-1]

    yield beginner
    for program in begun:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def workers_of(program: Program) -> set[int]:
    return {child.pid for child in psutil.Process(program.pid).children() if lives(child.pid)}


def replaced(program: Program, pid: int) -> int:
    """Wait until another worker is in the place of the only one."""
    until(lambda: bool(workers_of(program) - {pid}) and pid not in workers_of(program), f"{pid} is replaced")
    return workers_of(program).pop()


def serving(program: Program, output: Output, workers: int = 1) -> list[int]:
    """Wait until it serves with so many workers, then have its output take nothing more."""
    output.hear(b"serving url=")
    until(lambda: len(workers_of(program)) == workers, "the workers are there")
    output.stop()
    return sorted(workers_of(program))


def kill_worker(program: Program) -> None:
    [pid] = workers_of(program)
    os.kill(pid, signal.SIGKILL)
    replaced(program, pid)


def register(url: str, handler: type[Handler[Any]], folder: Folder, *numbers: int) -> None:
    with client(url) as queue:
        queue.register_sync(handler, *folder.notes(numbers))


def test_the_family_ends_as_asked(begin: Begin, output: Output, name: str) -> None:
    program = begin("--workers", 1, stderr=output.theirs)
    serving(program, output)

    program.send_signal(signal.SIGTERM)

    assert program.wait(LIMIT_S) == Exit.OK
    assert files_of(name) == set()


def test_a_worker_that_died_is_replaced(begin: Begin, output: Output, url: str, name: str, folder: Folder) -> None:
    program = begin("--workers", 1, "--respawn-delay", 0.01, stderr=output.theirs)
    serving(program, output)

    for _ in range(3):
        kill_worker(program)

    register(url, Record, folder, 0)
    folder.until("done", 0)
    program.send_signal(signal.SIGTERM)
    assert program.wait(LIMIT_S) == Exit.OK
    assert files_of(name) == set()


def test_a_second_signal_kills_workers(begin: Begin, output: Output, url: str, folder: Folder) -> None:
    program = begin("--workers", 2, stderr=output.theirs)
    serving(program, output, workers=2)
    register(url, Gated, folder, 0)
    folder.until("begin", 0)

    program.send_signal(signal.SIGTERM)
    until(lambda: len(workers_of(program)) == 1, "the idle worker ends")
    wait_out_one_wish()
    program.send_signal(signal.SIGTERM)

    assert program.wait(LIMIT_S) == Exit.KILLED
    assert left_in(url) == 1


def test_the_deadline_holds(begin: Begin, output: Output, url: str, folder: Folder) -> None:
    program = begin("--workers", 1, "--shutdown-timeout", 0.5, stderr=output.theirs)
    serving(program, output)
    register(url, Gated, folder, 0)
    folder.until("begin", 0)

    program.send_signal(signal.SIGTERM)

    assert program.wait(LIMIT_S) == Exit.KILLED
    assert left_in(url) == 1


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_drain_comes_to_its_end(
    begin: Begin, output: Output, url: str, name: str, folder: Folder, stream: str
) -> None:
    leave_in_segment(name, Record, folder.notes([0]))
    output.stop()
    program = begin("--workers", 1, "--drain", **{"stderr": subprocess.DEVNULL, stream: output.theirs})

    assert program.wait(LIMIT_S) == Exit.OK
    assert folder.done() == [0]


def test_new_code_is_loaded(begin: Begin, output: Output, url: str, name: str, folder: Folder) -> None:
    program = begin("--workers", 1, stderr=output.theirs)
    [first] = serving(program, output)

    program.send_signal(signal.SIGHUP)

    replaced(program, first)
    program.send_signal(signal.SIGTERM)
    assert program.wait(LIMIT_S) == Exit.OK
    assert files_of(name) == set()


def test_what_was_lost_is_told_once_lines_are_taken_again(begin: Begin, output: Output, name: str) -> None:
    program = begin("--workers", 1, "--respawn-delay", 0.01, stderr=output.theirs)
    serving(program, output)
    for _ in range(3):
        kill_worker(program)

    output.go_on()
    kill_worker(program)
    program.send_signal(signal.SIGTERM)
    output.hear(b"stopping signal=SIGTERM")

    assert program.wait(LIMIT_S) == Exit.OK
    taken = output.take_all().replace(ERASE_LINE.encode(), b"")
    lines = [line for line in taken.splitlines() if line.strip(b".\r\n")]
    told = [re.search(LOST, line) for line in lines]
    [lost] = [int(found[1]) for found in told if found]
    ended = [line for line in lines if b"worker ended" in line]
    assert lost >= 2
    assert len(ended) + lost >= 4
    assert all(re.match(rb"\d{4}-\d\d-\d\d ", line) for line in lines), lines
    assert files_of(name) == set()


def test_a_worker_that_hangs_in_a_line_is_killed_at_the_deadline(
    begin: Begin, output: Output, url: str, folder: Folder
) -> None:
    program = begin("--workers", 2, "--shutdown-timeout", 0.5, stderr=output.theirs)
    serving(program, output, workers=2)
    register(url, Doomed, folder, 0)
    until(lambda: left_in(url) == 0, "the request is put away")

    program.send_signal(signal.SIGTERM)

    assert program.wait(LIMIT_S) in (Exit.OK, Exit.KILLED)


def test_a_worker_that_hangs_in_a_line_is_replaced_at_the_deadline(
    begin: Begin, full: Output, url: str, name: str, folder: Folder
) -> None:
    module = module_of("def perform(self, *notes):\n        import sys; sys.stderr.write('x' * 1_000_000)", folder)
    program = begin(
        *("--workers", 1, "--shutdown-timeout", 0.5), module=module, environment=path_to(folder), stderr=full.theirs
    )
    until(lambda: len(workers_of(program)) == 1, "the worker is there")
    [first] = workers_of(program)
    leave_to(module, url, folder)
    until(lambda: blocked_in_a_write(first), "the worker hangs")

    program.send_signal(signal.SIGHUP)

    replaced(program, first)
    program.send_signal(signal.SIGTERM)
    assert program.wait(LIMIT_S) in (Exit.OK, Exit.KILLED)


MODULE = f"""
import logging, logging.handlers, socket, sys
from {JOBS} import Gated, Note, Record
{{text}}
class Own(Record):
    {{method}}
"""
"""A module whose import does something, and a handler of its own."""


def module_of(method: str, folder: Folder, text: str = "") -> str:
    module = f"jobs_{secrets.token_hex(6)}"
    (folder.path / f"{module}.py").write_text(MODULE.format(text=text, method=method))
    return module


def path_to(folder: Folder) -> dict[str, str]:
    return {"PYTHONPATH": f"{folder.path}:{ROOT}", "PYTHONUNBUFFERED": ""}


def leave_to(module: str, url: str, folder: Folder) -> None:
    """Register a request for the module's own handler, which this process does not import."""
    with client(url) as queue:
        [note] = folder.notes([0])
        asyncio.run(queue.storage.append([(f"{module}/Own/0/0", [msgspec.msgpack.encode(note)])]))


def blocked_in_a_write(pid: int) -> bool:
    with open(f"/proc/{pid}/wchan") as file:
        return "pipe" in file.read()


#: What modules do to logs, each so that the supervisor's lines go to where nothing is taken.
CONFIGURING = {
    "a handler of its own": "logging.basicConfig(stream=sys.stderr, force=True)",
    "a stream of its own": "sys.stderr = type('Tee', (), {'write': sys.stderr.write, 'flush': sys.stderr.flush})()",
    "text that stays": "print('x' * 3000, end=''); sys.stderr.write('x')",
}


@pytest.mark.parametrize("text", CONFIGURING.values(), ids=CONFIGURING)
def test_the_same_where_a_module_writes_there_in_its_own_way(
    begin: Begin, full: Output, url: str, name: str, folder: Folder, text: str
) -> None:
    module = module_of("pass", folder, text)
    program = begin("--workers", 1, module=module, environment=path_to(folder), stdout=full.theirs, stderr=full.theirs)
    until(lambda: bool(files_of(name)) and bool(workers_of(program)), "it serves")
    register(url, Record, folder, 0)

    [first] = workers_of(program)
    os.kill(first, signal.SIGKILL)
    replaced(program, first)
    program.send_signal(signal.SIGTERM)

    assert program.wait(LIMIT_S) in (Exit.OK, Exit.KILLED)


APPLICATION = """
import asyncio, sys
from shardq import Supervisor
from shardq.settings import SupervisorSettings
from tests.support.jobs import Note, Record

async def main():
    async with Supervisor("tests.support.jobs", workers=1, settings=SupervisorSettings(log_level="info")) as supervisor:
        await supervisor.queue.register(Record, Note(sys.argv[1], 0))
        await supervisor.drain()

asyncio.run(main())
"""


def test_an_application_embeds_a_family_and_ends_it(full: Output, folder: Folder) -> None:
    script = folder.path / "application.py"
    script.write_text(APPLICATION)
    program = subprocess.Popen(
        (sys.executable, str(script), str(folder.path)),
        cwd=ROOT,
        env=clean_environment() | {"PYTHONPATH": str(ROOT)},
        stderr=full.theirs,
        process_group=0,
    )
    try:
        assert program.wait(LIMIT_S) == 0
        assert folder.done() == [0]
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
