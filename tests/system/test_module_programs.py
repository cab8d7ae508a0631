"""A program that a module starts when it is imported has the signals of any program, in whatever process that is."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardq.supervisor.exits import Exit
from tests.support.hosted import told, until_told
from tests.support.programs import ROOT, Supervise, lives, until
from tests.support.segments import files_of
from tests.support.supervised import Start

#: A supervisor, the probe of a reload, the supervisor afterwards, and a worker that is executed.
WHERE = ("start", "probe", "resume", "as-worker")
BEGINNING = """
import sys
from tests.support.hosted import PLAIN, Plain, tell
where = next((word for word in {where} if f"--{{word}}" in sys.argv), "start")
"""
STARTS = 'tell({folder}, where, PLAIN["program"]())\n'
#: So that workers are executed and import for themselves.
THREAD = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
HELPED = """
import atexit, subprocess
helper = subprocess.Popen(["sleep", "1000"])
tell({folder}, where, helper.pid)

def end():
    helper.terminate()
    helper.wait()

atexit.register(end)
"""

FORKS = """
import os, time
if where == "resume" and not os.fork():
    tell({folder}, where, os.getpid())
    time.sleep(1000)
    os._exit(0)
"""


def serve(start: Start, url: str, folder: Path, text: str) -> Supervise:
    module = f"starting_{secrets.token_hex(6)}"
    written = (BEGINNING + text).format(where=WHERE, folder=repr(str(folder)))
    (folder / f"{module}.py").write_text(written)
    return start(module, "--url", url, "--workers", 1, environment={"PYTHONPATH": f"{folder}:{ROOT}"}).serving()


def test_it_has_default_signals_and_no_descriptors_of_the_family(
    start: Start, url: str, name: str, tmp_path: Path
) -> None:
    program = serve(start, url, tmp_path, STARTS + THREAD)
    program.workers(1)
    program.signal(signal.SIGHUP)
    program.hear("reloaded workers=1")

    assert {where: until_told(tmp_path, where) for where in WHERE} == dict.fromkeys(WHERE, "[] []")
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


@pytest.fixture
def helpers(tmp_path: Path) -> Iterator[None]:
    """Ends the programs that a reload leaves: their supervisor forgot them."""
    yield
    for line in told(tmp_path):
        if lives(pid := int(line.partition("=")[2])):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("helpers")
def test_it_ends_when_its_module_ends_it_also_after_a_reload(start: Start, url: str, name: str, tmp_path: Path) -> None:
    program = serve(start, url, tmp_path, HELPED)
    program.signal(signal.SIGHUP)
    program.hear("reloaded workers=1")
    helper = int(until_told(tmp_path, "resume"))
    os.kill(int(until_told(tmp_path, "start")), signal.SIGKILL)  # the reload left it

    assert program.stop() == Exit.OK
    until(lambda: not lives(helper), "it ends with its supervisor")
    assert files_of(name) == set()


@pytest.mark.usefixtures("helpers")
def test_a_child_that_a_module_forks_keeps_no_worker_from_seeing_that_its_supervisor_died(
    start: Start, url: str, tmp_path: Path
) -> None:
    program = serve(start, url, tmp_path, FORKS)
    [former] = program.workers(1)
    program.signal(signal.SIGHUP)
    child = int(until_told(tmp_path, "resume"))
    until(lambda: not lives(former), "the former worker is replaced")
    [worker] = program.workers(2) - {child}

    program.kill()
    until(lambda: not lives(worker), "its worker ends")
    assert lives(child)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTTIN], ids=lambda number: number.name)
def test_a_wish_that_comes_during_an_import_is_followed_afterwards(
    number: signal.Signals, start: Start, url: str, name: str, tmp_path: Path
) -> None:
    waits = """
from pathlib import Path
from tests.support.programs import until
if where in ("start", "resume"):
    tell({folder}, where, "imports")
    until(Path({folder}, f"go-{{where}}").exists, "it may go on")
"""
    module = f"waiting_{secrets.token_hex(6)}"
    (tmp_path / f"{module}.py").write_text((BEGINNING + waits).format(where=WHERE, folder=repr(str(tmp_path))))
    program = start(module, "--url", url, "--workers", 1, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    until_told(tmp_path, "start")
    program.signal(number)
    (tmp_path / "go-start").touch()
    if number == signal.SIGTTIN:
        program.workers(2)
        program.signal(signal.SIGHUP)

    until_told(tmp_path, "resume")
    program.signal(signal.SIGTERM)
    (tmp_path / "go-resume").touch()

    assert program.end() == Exit.OK
    program.hear("stopping signal=SIGTERM")
    assert files_of(name) == set()
