"""Processes of several containers on one segment: with process ids, and with clocks, of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL

import psutil
import pytest

from shardq import Queue
from shardq.cli import FAILED, OK, main
from shardq.drivers import SharedStorage
from shardq.errors import SegmentBusy, SegmentUnavailable
from shardq.shm.processes import namespaces
from shardq.shm.registry import attach_store, close_store, create_store
from shardq.shm.store import Store
from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.drivers import MIB
from tests.support.jobs import Folder, Gated
from tests.support.own_shm import needs, python
from tests.support.programs import ROOT, until

pytestmark = pytest.mark.every_case

#: Put before a program: it becomes the first of a pid namespace of its own, whose /proc it sees.
OWN_PIDS = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
#: The same, with the /proc of outside.
OWN_PIDS_OLD_PROC = ("unshare", "--pid", "--fork", "--kill-child")
#: Clocks that are 1,000 s ahead.
OWN_CLOCKS = ("unshare", "--time", "--boottime", "1000", "--monotonic", "1000", "--fork")
#: Clocks of its own that go as all others do.
OWN_EQUAL_CLOCKS = ("unshare", "--time", "--fork")
KEY, PIPE = "m/H/0", "m/H/0/0"

#: Claims a thread as a worker would, says so, and keeps it until its input ends.
HOLDS = """
import sys
from shardq.shm.registry import attach_store
store = attach_store(sys.argv[1])
store.membership.join(1)
print(store.delivering.claim("m/H/0"), store.slot, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(name: str) -> Iterator[Store]:
    store = create_store(name, MIB)
    yield store
    close_store(store)


@contextmanager
def program(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A program that is killed in the end."""
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def outside(pid: int, ancestor: int) -> int:
    """The process id that we see of a descendant that has this one in its own pid namespace."""
    for process in psutil.Process(ancestor).children(recursive=True):
        text = Path(f"/proc/{process.pid}/status").read_text()
        if int(text.partition("NSpid:")[2].partition("\n")[0].split()[-1]) == pid:
            return process.pid
    raise AssertionError(f"process {pid} of that namespace is not to be seen")


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def status(*before: str, name: str) -> subprocess.CompletedProcess[str]:
    command = (*before, sys.executable, "-m", "shardq", "status", "--sample", "0", "--json", "--url", f"shm://{name}")
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


# Process ids


@pytest.mark.parametrize("before", [OWN_PIDS, OWN_PIDS_OLD_PROC], ids=["own /proc", "/proc of outside"])
def test_a_living_worker_of_another_pid_namespace_is_not_called_dead(
    store: Store, before: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    needs(*before)
    with program(*before, *python(HOLDS, store.segment.name)) as process:
        token, slot = map(int, line(process).split())
        assert token

        [worker] = store.inspection.overview().workers
        assert worker.state == "idle"
        assert store._slots.occupied(slot)
        assert not store.delivering.claim(KEY)
        [seen] = json.loads(status(name=store.segment.name).stdout)["workers"]
        assert (seen["state"], seen["elsewhere"]) == ("idle", True)
        capsys.readouterr()
        assert main(["stack", "--json", "--url", f"shm://{store.segment.name}"]) == 0
        [told] = json.loads(capsys.readouterr().out)
        assert told["silent"] == "belongs to another pid namespace, where `shardq stack` can ask it"
    assert not store._slots.occupied(slot)
    assert store.inspection.overview().workers[0].state == "dead"
    assert store.delivering.claim(KEY)


def test_a_worker_of_outside_is_not_called_dead_inside(store: Store) -> None:
    needs(*OWN_PIDS)
    with program(*python(HOLDS, store.segment.name)) as process:
        assert line(process)
        [seen] = json.loads(status(*OWN_PIDS, name=store.segment.name).stdout)["workers"]
        assert (seen["state"], seen["pid"]) == ("idle", process.pid)


def test_with_the_proc_of_outside_a_dead_process_is_not_taken_for_one_that_lives_there(store: Store) -> None:
    """It had the number that this very test has outside: what /proc says of that number says nothing inside."""
    needs(*OWN_PIDS_OLD_PROC)
    text = """
import os, sys
from shardq.shm.registry import attach_store
number = int(sys.argv[2])
with open("/proc/sys/kernel/ns_last_pid", "w") as last:
    last.write(str(number - 1))
if os.fork() == 0:
    print(os.getpid(), attach_store(sys.argv[1]).delivering.claim("m/H/0"), flush=True)
    os._exit(0)
os.wait()
print(attach_store(sys.argv[1]).delivering.claim("m/H/0"))
"""
    command = (*OWN_PIDS_OLD_PROC, *python(text, store.segment.name, os.getpid()))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    pid, first, second = map(int, done.stdout.split())
    assert (pid, first) == (os.getpid(), 1)
    assert second == 2


def test_a_family_in_a_container_goes_on_with_the_work_of_a_dead_worker(
    store: Store, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process outside registers and looks in. The supervisor inside sees the death of its own worker, and sleepers
    need not wait for their safety net.
    """
    needs(*OWN_PIDS)
    url = f"shm://{store.segment.name}"
    served = (*OWN_PIDS, sys.executable, "-m", "shardq.supervise", jobs.__name__, "--url", url, "--workers", "2")
    monkeypatch.setenv("QUEUE_STORAGE_SAFETY_NET", "3600")
    with program(*served) as process:
        Queue(SharedStorage(store)).register_sync(Gated, *folder.notes(range(2)))
        [begun] = folder.until("begin", 0)
        until(lambda: len(store.inspection.overview().workers) == 2, "both workers are there")
        [busy] = [worker for worker in store.inspection.overview().workers if worker.state == "busy"]
        assert busy.pid == begun.pid
        os.kill(outside(begun.pid, process.pid), SIGKILL)
        folder.permit(4)
        folder.until("done", 0, 1)


def test_without_a_proc_that_tells_the_kernel_lock_alone_decides(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(namespaces, "_PROC", tmp_path)

    assert namespaces.pid_namespace() == 0
    assert namespaces.clock_offsets_ns() == (0, 0)
    assert namespaces.start_ticks(os.getpid()) is None
    assert not store._slots.in_my_namespace(store.slot)


# Clocks


@pytest.mark.parametrize("words", [("status", "--sample", "0"), ("tubes",), ("destroy",)])
def test_with_other_clocks_nothing_can_be_done_to_a_segment(store: Store, words: tuple[str, ...]) -> None:
    needs(*OWN_CLOCKS)
    command = (*OWN_CLOCKS, sys.executable, "-m", "shardq", *words, "--url", f"shm://{store.segment.name}")

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == FAILED
    assert "was made in another time name space" in done.stderr
    assert not store.segment.removed


def test_a_supervisor_with_other_clocks_is_refused(store: Store) -> None:
    needs(*OWN_CLOCKS)
    url = f"shm://{store.segment.name}"
    command = (*OWN_CLOCKS, sys.executable, "-m", "shardq.supervise", jobs.__name__, "--url", url)

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == Exit.SEGMENT
    assert "was made in another time name space" in done.stderr


def test_a_segment_made_with_other_clocks_is_for_those_who_have_them(name: str) -> None:
    needs(*OWN_CLOCKS)
    text = f"""
import sys, time
from shardq.shm.registry import attach_store, create_store
store = create_store(sys.argv[1], {MIB})
token = store.delivering.claim("m/H/0")
store.appending.append([("m/H/0/0", [b"x"])])
store.delivering.unclaim("m/H/0", token, 3600)
print("made", flush=True)
sys.stdin.read()
"""
    with program(*OWN_CLOCKS, *python(text, name)) as process:
        assert line(process) == "made\n"
        with pytest.raises(SegmentUnavailable, match="time name space"):
            attach_store(name)
        assert status(*OWN_CLOCKS, name=name).returncode == OK


def test_a_time_name_space_whose_clocks_go_as_all_others_is_none(store: Store) -> None:
    needs(*OWN_EQUAL_CLOCKS)

    assert status(*OWN_EQUAL_CLOCKS, name=store.segment.name).returncode == OK


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        ("monotonic           0         0\nboottime         1000         0\n", (0, 1000 * 10**9)),
        ("monotonic          -1 500000000\nboottime           -7         1\n", (-500_000_000, -7 * 10**9 + 1)),
    ],
)
def test_offsets_are_read_as_the_kernel_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, offsets: tuple[int, int]
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/timens_offsets").write_text(text)
    monkeypatch.setattr(namespaces, "_PROC", tmp_path)

    assert namespaces.clock_offsets_ns() == offsets


def test_a_process_that_has_the_guard_in_another_container_is_not_taken_for_one_of_here(store: Store) -> None:
    needs(*OWN_PIDS)
    text = """
import sys
from shardq.shm.registry import attach_store

store = attach_store(sys.argv[1])
store.begin_section()
print("inside", flush=True)
sys.stdin.read()
"""
    with program(*OWN_PIDS, *python(text, store.segment.name)) as process:
        assert line(process) == "inside\n"
        with store.patience.at_most(0.1), pytest.raises(SegmentBusy, match="of another pid namespace has its guard"):
            store.inspection.counts()
        assert (held := store.inspection.overview().guard)
        assert (held.elsewhere, held.stopped) == (True, False)
