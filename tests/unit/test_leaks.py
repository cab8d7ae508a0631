"""What counts as left behind by a test, where others use shardq on the same machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from shardq.shm.files.names import full_name
from tests.faults.kit.points import Child
from tests.support.leaks import (
    PLACES,
    SEGMENTS,
    _may_be_of_this_run,
    family,
    leaked_files,
    leaked_processes,
    outliving_tests,
    stray_files,
)
from tests.support.segments import NewSegment, files_of, new_name


def test_every_file_of_a_segment_that_stays_is_a_leak(new_segment: NewSegment) -> None:
    before = stray_files()
    segment = new_segment()
    assert {path.name for path in leaked_files(before)} == files_of(segment.name) != set()


@pytest.mark.parametrize("name", [new_name, lambda: f"private-{os.getpid()}-0a1b2c3d"], ids=["named", "private"])
def test_what_this_run_names_is_its_own(name: Callable[[], str]) -> None:
    assert _may_be_of_this_run(f"sem.{full_name(name())}", SEGMENTS)


@pytest.mark.parametrize("name", ["t" + 12 * "f", "application", f"private-{psutil.Process().ppid()}-0a1b2c3d"])
def test_what_others_name_is_theirs(name: str) -> None:
    assert not _may_be_of_this_run(full_name(name), SEGMENTS)


def test_elsewhere_no_name_tells() -> None:
    assert [_may_be_of_this_run("shardq-anything", place) for place in PLACES] == [False, True]


#: Says its process id, and waits for ever.
WAITS = "import os, signal; print(os.getpid(), flush=True); os.close(1); signal.pause()"
#: Leaves one that does so once it is an orphan, and ends.
LEAVES = f"""
import os, time
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.001)
{WAITS}
"""


def leave_behind(program: str) -> int:
    """Start it without anything that could tell where it comes from; its process id."""
    reading, writing = os.pipe()
    subprocess.Popen((sys.executable, "-S", "-c", program), env={}, stdout=writing, start_new_session=True)
    os.close(writing)
    with os.fdopen(reading) as said:
        return int(said.readline())


@pytest.mark.parametrize("program", [WAITS, LEAVES], ids=["child of a dead one", "grandchild of two dead ones"])
def test_an_orphan_is_found_and_ended(program: str) -> None:
    orphan = Child(lambda: leave_behind(program)).result()
    assert [process.pid for process in family() if process.status() != psutil.STATUS_ZOMBIE] == [orphan]

    [described] = leaked_processes(limit_s=0)

    assert described.startswith(f"{orphan} ")
    assert not psutil.pid_exists(orphan)
    assert family() == []


def test_what_ends_in_time_has_not_leaked_and_is_reaped() -> None:
    ended = Child(lambda: leave_behind("import os; print(os.getpid())")).result()
    assert leaked_processes() == []
    assert not psutil.pid_exists(ended)


def test_what_outlives_tests_may_start_others_and_what_came_later_may_not() -> None:
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAITS!r}])"
    with subprocess.Popen((sys.executable, "-c", starts), stdout=subprocess.PIPE, text=True) as lasting:
        assert lasting.stdout
        with outliving_tests():
            started = int(lasting.stdout.readline())
            with subprocess.Popen((sys.executable, "-c", WAITS), stdout=subprocess.PIPE) as other:
                assert [process.pid for process in family()] == [other.pid]
                other.kill()
        assert {process.pid for process in family()} == {lasting.pid, started}
        os.kill(started, signal.SIGKILL)
