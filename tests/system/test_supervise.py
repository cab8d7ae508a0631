"""`python -m shardq.supervise` as a user runs it: what it serves, how it ends, and what is left then."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shardq import connect
from shardq.connect import signpost
from shardq.drivers import SharedStorage
from shardq.errors import SegmentMissing
from shardq.shm.files.names import SHM_DIRECTORY, full_name
from shardq.supervisor.exits import Exit
from tests.support import jobs
from tests.support.drivers import MIB
from tests.support.homes import Home, cases_on_homes, on_each_home
from tests.support.jobs import Broken, Failing, Folder, Forward, Gated, Record
from tests.support.programs import ROOT, Supervise, until, wait_out_one_wish
from tests.support.segments import files_of
from tests.support.supervised import Start, client, leave_in_segment, left_in
from tests.support.tasks import LIMIT_S, finished, suspended

JOBS = jobs.__name__
ONE_BY_ONE = {"QUEUE_WORKER_BATCH_SIZE": "1"}
#: On a server a claim ends with its lease where its worker and its supervisor are dead.
SHORT_LEASE = {"QUEUE_LOCK_TIMEOUT": "2"}
STOPPING = {number.name: (number,) for number in (signal.SIGTERM, signal.SIGINT)}


def advice(program: Supervise) -> list[str]:
    """Arguments of the command that is said to go on with what is left."""
    return shlex.split(program.hear(r"`python -m shardq\.supervise (.+?)` goes on").group(1))


# Serving


@on_each_home
def test_it_serves_what_another_process_registers(start: Start, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2).serving()

    with client(home.url) as queue:
        for first in range(0, 200, 20):
            queue.register_sync(Record, *folder.notes(range(first, first + 20), threads=4))
        lines = folder.until("done", *range(200))

    assert {line.pid for line in lines} <= program.workers(2)
    for thread in range(4):
        assert folder.done(thread) == list(range(thread, 200, 4))
    assert program.stop() == Exit.OK
    assert home.left() == []


@on_each_home
def test_only_the_handler_that_was_named_is_served(start: Start, home: Home, folder: Folder) -> None:
    program = start(f"{JOBS}:Record", "--url", home.url, "--workers", 1).serving()

    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
        queue.register_sync(Record, *folder.notes([1]))
        folder.until("done", 1)

    assert program.stop() == Exit.OK
    assert folder.lines == folder.until("done", 1)
    assert left_in(home.url) == 1


def test_without_a_url_the_segment_is_named_after_the_module(start: Start, name: str, tmp_path: Path) -> None:
    tmp_path.joinpath(f"{name}.py").write_text(f"from {JOBS} import Record as Again\n")

    program = start(name, "--workers", 1, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"}).serving()

    program.hear(rf"serving url=shm://{name} workers=1 handlers={JOBS}/Record\b")
    assert files_of(name)
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


def test_modules_whose_long_names_end_alike_do_not_share_a_segment(start: Start, name: str, tmp_path: Path) -> None:
    programs = []
    for place in ("one", "other"):
        package = tmp_path / f"{name}_{place}"
        package.mkdir()
        package.joinpath("__init__.py").touch()
        package.joinpath("jobs_of_one_long_name_or_another.py").write_text(f"from {JOBS} import Record as Again\n")
        module = f"{package.name}.jobs_of_one_long_name_or_another"
        programs.append(start(module, "--workers", 1, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"}))

    first, second = (program.hear(r"serving url=shm://(\S+) ").group(1) for program in programs)

    assert first != second
    assert first[:-8] == second[:-8] == "_long_name_or_another-"
    assert [program.stop() for program in programs] == [Exit.OK, Exit.OK]
    assert files_of(first) | files_of(second) == set()


def test_one_process_may_try_to_serve_twice(url: str, name: str) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    assert storage.store.supervision.become_supervisor()
    twice = f"from shardq.supervise import main; print(*[main(['{JOBS}', '--url', '{url}']) for _ in range(2)])"

    done = subprocess.run((sys.executable, "-c", twice), cwd=ROOT, capture_output=True, timeout=LIMIT_S, check=False)

    storage.destroy()
    assert done.stdout.split() == [b"4", b"4"], done.stderr.decode()


def test_the_environment_stands_in_for_flags(start: Start, url: str) -> None:
    options = {"WORKERS": "3", "URL": url, "CAPACITY": "16M", "WORKER": "5"}
    program = start(JOBS, environment={f"QUEUE_SUPERVISOR_{word}": value for word, value in options.items()})
    program.hear(r"has no effect variable=QUEUE_SUPERVISOR_WORKER meant=QUEUE_SUPERVISOR_WORKERS")
    program.hear(rf"serving url={url} workers=3")

    program.workers(3)
    storage = SharedStorage.attach(url.removeprefix("shm://"))
    assert storage.store.segment.layout.capacity_bytes == 16 * MIB
    asyncio.run(storage.close())
    assert program.stop() == Exit.OK


@pytest.mark.parametrize("executed", [False, True], ids=["forked", "executed"])
def test_flags_go_before_the_environment(
    start: Start, url: str, folder: Folder, tmp_path: Path, name: str, executed: bool
) -> None:
    text = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n" * executed
    (tmp_path / f"{name}.py").write_text(f"{text}from {JOBS} import Record as Again\n")
    wrong = {"QUEUE_SUPERVISOR_WORKERS": "many", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    program = start(name, "--workers", 1, "--url", url, environment=wrong)
    program.hear(rf"serving url={url} workers=1")
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
        folder.until("done", 0)
    assert program.stop() == Exit.OK


@on_each_home
def test_ttin_and_ttou_change_the_number_of_workers(start: Start, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    first = program.workers(1)

    program.signal(signal.SIGTTIN)
    both = program.workers(2)
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes([0, 1], threads=2))
        assert {line.pid for line in folder.until("begin", 0, 1)} == both
        folder.permit(2)
        folder.until("done", 0, 1)
    program.signal(signal.SIGTTOU)
    assert program.workers(1) == first
    program.signal(signal.SIGTTOU)

    with client(home.url) as queue:
        queue.register_sync(Record, *folder.notes([2]))
        assert {line.pid for line in folder.until("done", 2)} == first
    assert program.stop() == Exit.OK
    assert "ERROR" not in program.heard


def test_usr2_shows_where_the_workers_are(start: Start, url: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
    folder.until("begin", 0)

    program.signal(signal.SIGUSR2)

    program.hear(r"most recent call first")
    program.hear(r"tests/support/jobs\.py")
    folder.permit(1)
    folder.until("done", 0)
    assert program.stop() == Exit.OK


@on_each_home
def test_a_worker_whose_handler_failed_serves_others_meanwhile(start: Start, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    with client(home.url) as queue:
        queue.register_sync(Broken, *folder.notes([0, 1]))
        program.hear(r"request failed pipe=\S+/Broken/0/0 sequence=[0-9]+ attempts=1")
        queue.register_sync(Record, *folder.notes([2]))
        (other,) = folder.until("done", 2)
        folder.path.joinpath("mended").touch()
        first, second = folder.until("done", 0, 1)

    assert len({line.pid for line in (other, first, second)}) == 1
    assert folder.done() == [2, 0, 1]
    assert program.stop() == Exit.OK
    assert home.left() == []


# Draining


@on_each_home
def test_a_drain_handles_everything_and_ends(start: Start, home: Home, folder: Folder) -> None:
    home.leave(Record, folder.notes(range(300), threads=8))

    program = start(JOBS, "--url", home.url, "--workers", 2, "--drain")

    assert program.end() == Exit.OK
    assert re.fullmatch(r"300 requests done in .+ \([\d,]+/s\)\n", program.printed())
    assert not re.search(r"[\r\x1b]", program.heard)
    for thread in range(8):
        assert folder.done(thread) == list(range(thread, 300, 8))
    assert home.left() == []


@on_each_home
def test_a_drain_waits_for_follow_ups(start: Start, home: Home, folder: Folder) -> None:
    home.leave(Forward, folder.notes(range(50), threads=4))

    program = start(JOBS, "--url", home.url, "--workers", 2, "--drain")

    assert program.end() == Exit.OK
    assert program.printed().startswith("100 requests done in ")
    for thread in range(4):
        assert folder.done(thread) == list(range(thread, 50, 4))
    assert home.left() == []


@on_each_home
def test_a_drain_of_nothing_ends_at_once(start: Start, home: Home) -> None:
    program = start(JOBS, "--url", home.url, "--drain")

    assert program.end() == Exit.OK
    assert program.printed().startswith("0 requests done in ")
    assert home.left() == []


def test_a_drain_goes_on_after_exceptions_of_a_handler(start: Start, url: str, name: str, folder: Folder) -> None:
    leave_in_segment(name, Failing, folder.notes(range(4)))

    program = start(JOBS, "--url", url, "--workers", 2, "--drain", environment=ONE_BY_ONE)

    assert program.end() == Exit.OK
    assert folder.done() == list(range(4))
    assert re.findall(r"ValueError: number (\d) is odd", program.heard) == ["1", "3"]
    assert len(re.findall(r"WARNING request failed .* attempts=1", program.heard)) == 2
    assert files_of(name) == set()


@on_each_home
def test_a_drain_on_a_terminal_shows_a_bar(start: Start, home: Home, folder: Folder) -> None:
    home.leave(Gated, folder.notes(range(4)))

    program = start(
        JOBS, "--url", home.url, "--workers", 1, "--drain", environment=ONE_BY_ONE | {"TERM": "xterm"}, on_terminal=True
    )
    program.hear(r"\r\[-+\]   0% 0/4 done, 0/s, unknown left")
    folder.permit(2)
    program.hear(r"\r\[#+-+\]  50% 2/4 done, ")
    folder.permit(2)

    assert program.end() == Exit.OK
    assert program.heard.endswith("\r\x1b[K")
    assert program.printed().startswith("4 requests done in ")


@on_each_home
def test_a_drain_ends_where_no_worker_serves_what_is_left(start: Start, home: Home, folder: Folder) -> None:
    home.leave(Record, folder.notes(range(3)))
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes([3, 4]))

    program = start(f"{JOBS}:Record", "--url", home.url, "--workers", 1, "--drain")

    assert program.end() == Exit.UNSERVED
    program.hear(rf"this supervisor has no handler for what is left, or it is paused tubes={JOBS}/Gated/0/0")
    assert re.match(r"3 requests done in .*, 2 left\n", program.printed())
    assert folder.done() == [0, 1, 2]
    assert left_in(home.url) == 2


# Stopping


@cases_on_homes(
    "number to_all",
    {
        f"{number.name}-{'group' if to_all else 'alone'}": (number, to_all)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
        for to_all in (False, True)
    },
    ["SIGTERM-alone", "SIGINT-group"],
)
def test_a_signal_ends_an_idle_family(
    number: signal.Signals, to_all: bool, start: Start, home: Home, folder: Folder
) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2).serving()
    with client(home.url) as queue:
        queue.register_sync(Record, *folder.notes(range(10)))
        folder.until("done", *range(10))

    if to_all:
        program.signal_group(number)
    else:
        program.signal(number)

    assert program.end() == Exit.OK
    assert "stay" not in program.heard
    assert "Traceback" not in program.heard
    assert home.left() == []


@cases_on_homes("number", STOPPING, ["SIGTERM"])
def test_a_stop_finishes_the_batch_in_hand_and_the_rest_can_be_resumed(
    number: signal.Signals, start: Start, home: Home, folder: Folder
) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2, environment=ONE_BY_ONE).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(5)))
    folder.until("begin", 0)

    program.workers(2)  # from now on fewer mean that they were told to stop
    program.signal_group(number)
    program.told_workers_to_stop(left=1)
    folder.permit(1)

    assert program.end() == Exit.OK
    assert folder.done() == [0]
    program.hear(f"4 requests stay in {re.escape(signpost(home.url))}:")
    assert left_in(home.url) == 4

    resumed = start(*advice(program), "--drain", "--workers", 2)
    folder.permit(4)
    assert resumed.end() == Exit.OK
    assert folder.done() == [0, 1, 2, 3, 4]
    assert home.left() == []


@on_each_home
def test_a_second_signal_kills_and_keeps_what_was_in_hand(start: Start, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(4), threads=2))
    folder.until("begin", 0, 1)

    program.signal(signal.SIGTERM)
    program.hear("stopping signal=SIGTERM")
    wait_out_one_wish()
    program.signal(signal.SIGINT)

    assert program.end() == Exit.KILLED
    program.hear(r"second signal, killing workers signal=SIGINT")
    assert left_in(home.url) == 4

    resumed = start(*advice(program), "--drain", "--workers", 2)
    folder.permit(4)
    assert resumed.end() == Exit.OK
    assert sorted(folder.done()) == [0, 1, 2, 3]
    assert home.left() == []


@cases_on_homes("number", STOPPING, ["SIGTERM"])
def test_a_stuck_handler_is_killed_at_the_deadline(
    number: signal.Signals, start: Start, home: Home, folder: Folder
) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1, "--shutdown-timeout", 0.2).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(3)))
    folder.until("begin", 0)

    assert program.stop(number) == Exit.KILLED

    program.hear("deadline over, killing workers workers=1")
    assert left_in(home.url) == 3
    resumed = start(*advice(program), "--drain")
    folder.permit(3)
    assert resumed.end() == Exit.OK
    assert folder.done() == [0, 1, 2]
    assert home.left() == []


def test_what_a_client_registers_after_the_end_is_for_the_next_supervisor(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    with client(url) as queue:
        assert program.stop() == Exit.OK
        program.hear(rf"{url} is empty and stays for 1 process \({os.getpid()}\) attached to it: ")
        assert queue.register_sync(Record, *folder.notes([0])) == 1

    assert start(*advice(program), "--drain").end() == Exit.OK
    assert folder.done() == [0]
    assert files_of(name) == set()


def test_a_client_of_a_segment_that_went_is_told_to_start_a_supervisor(start: Start, url: str) -> None:
    assert start(JOBS, "--url", url, "--workers", 1).serving().stop() == Exit.OK

    with pytest.raises(SegmentMissing, match=f"start its supervisor with --url {url}"):
        asyncio.run(connect(url))


async def test_a_producer_that_waits_for_room_outlives_a_restart(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    async def produce() -> None:
        async with await connect(url) as queue:
            for note in folder.notes(range(30), padding=64 << 10):
                await queue.register(Gated, note)

    options = {"environment": ONE_BY_ONE}
    program = start(JOBS, "--url", url, "--workers", 2, "--capacity", "1M", **options).serving()
    producer = await suspended(produce())
    await asyncio.to_thread(folder.until, "begin", 0)

    program.workers(2)  # from now on fewer mean that they were told to stop
    program.signal(signal.SIGTERM)
    program.told_workers_to_stop(left=1)
    folder.permit(1)
    assert await asyncio.to_thread(program.end) == Exit.OK
    assert folder.done() == [0]

    resumed = start(*advice(program), "--workers", 1, **options).serving()
    folder.permit(29)
    await finished(producer)
    await asyncio.to_thread(folder.until, "done", *range(30))
    assert await asyncio.to_thread(resumed.stop) == Exit.OK
    assert folder.done() == list(range(30))
    assert files_of(name) == set()


# Deaths


@on_each_home
def test_a_killed_worker_is_replaced_and_its_work_goes_on_in_order(start: Start, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2, environment=ONE_BY_ONE).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(5)))
    folder.permit(1)
    (line,) = folder.until("begin", 1)
    others = program.workers(2) - {line.pid}

    os.kill(line.pid, signal.SIGKILL)

    program.hear(rf"worker ended pid={line.pid} how=SIGKILL")
    assert folder.until_again(line).pid != line.pid
    assert others < program.workers(2)
    folder.permit(4)
    folder.until("done", 4)
    assert folder.done() == [0, 1, 2, 3, 4]
    assert program.stop() == Exit.OK
    assert home.left() == []


def test_workers_that_are_killed_one_after_the_other_are_all_replaced(start: Start, url: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, environment=ONE_BY_ONE).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(4)))

    for number in range(3):
        (line,) = folder.until("begin", number)
        os.kill(line.pid, signal.SIGKILL)
        folder.until_again(line)
        folder.permit(1)
    folder.permit(1)
    folder.until("done", 3)

    assert folder.done() == [0, 1, 2, 3]
    assert program.stop() == Exit.OK


@on_each_home
def test_an_idle_worker_that_is_killed_is_replaced(start: Start, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1).serving()
    with client(home.url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
        (line,) = folder.until("done", 0)
        os.kill(line.pid, signal.SIGKILL)
        program.hear(rf"worker ended pid={line.pid} how=SIGKILL")
        queue.register_sync(Record, *folder.notes([1]))
        folder.until("done", 1)

    assert program.stop() == Exit.OK
    assert home.left() == []


def test_a_worker_that_dies_of_a_signal_without_a_name_is_replaced(start: Start, url: str, name: str) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    first = program.workers(1)

    for pid in first:
        os.kill(pid, 40)

    program.hear("worker ended pid=[0-9]+ how=signal 40")
    assert program.workers(1) != first
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


@on_each_home
def test_workers_leave_when_their_supervisor_is_killed_and_the_next_one_adopts(
    start: Start, home: Home, folder: Folder
) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2, environment=ONE_BY_ONE).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(6), threads=2))
    folder.until("begin", 0, 1)

    program.kill()
    folder.permit(2)

    assert len(re.findall("supervisor is gone: the worker ends after the batch in hand", program.hear_all())) == 2
    assert folder.done() in ([0, 1], [1, 0])
    assert left_in(home.url) == 4

    resumed = start(JOBS, "--url", home.url, "--workers", 2, "--drain")
    folder.permit(4)
    assert resumed.end() == Exit.OK
    assert folder.done(0) == [0, 2, 4]
    assert folder.done(1) == [1, 3, 5]
    assert home.left() == []


@on_each_home
def test_a_new_supervisor_takes_over_while_workers_of_the_old_one_finish(
    start: Start, home: Home, folder: Folder
) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 1, environment=ONE_BY_ONE).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(4)))
    folder.until("begin", 0)

    program.kill()
    successor = start(JOBS, "--url", home.url, "--workers", 1, "--drain", environment=ONE_BY_ONE).serving()
    folder.permit(4)

    assert successor.end() == Exit.OK
    program.hear_all()
    assert folder.done() == [0, 1, 2, 3]
    assert home.left() == []


@on_each_home
def test_nothing_is_lost_when_all_are_killed_at_once(start: Start, home: Home, folder: Folder) -> None:
    program = start(JOBS, "--url", home.url, "--workers", 2, environment=ONE_BY_ONE | SHORT_LEASE).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(20), threads=4))
    folder.until("begin", 0, 1)
    folder.permit(2)

    program.kill_family()

    resumed = start(JOBS, "--url", home.url, "--workers", 2, "--drain")
    folder.permit(20)
    assert resumed.end() == Exit.OK
    for thread in range(4):
        # What was done and not acknowledged before the death is done again, at once.
        assert list(dict.fromkeys(folder.done(thread))) == list(range(thread, 20, 4))
    assert home.left() == []


THREADED = f"""
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
from {JOBS} import Gated
"""


def test_workers_of_a_module_that_starts_a_thread_serve_and_stop_like_others(
    start: Start, home: Home, folder: Folder, tmp_path: Path
) -> None:
    module = f"jobs_{secrets.token_hex(6)}"
    tmp_path.joinpath(f"{module}.py").write_text(THREADED)
    program = start(
        module, "--url", home.url, "--workers", 2, environment=ONE_BY_ONE | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    ).serving()
    with client(home.url) as queue:
        queue.register_sync(Gated, *folder.notes(range(5), threads=1))

    (line,) = folder.until("begin", 0)
    os.kill(line.pid, signal.SIGKILL)
    line = folder.until_again(line)
    # The dead one is replaced: from now on fewer workers mean that they were told to stop. It is executed, and has
    # started: that is not to happen in the time that the signal leaves.
    program.workers(2)
    with client(home.url) as queue:
        until(lambda: len(home.workers(queue)) == 2, "both serve")
    program.signal_group(signal.SIGINT)
    program.told_workers_to_stop(left=1)
    folder.permit(1)

    assert program.end() == Exit.OK
    assert folder.done() == [0]
    assert left_in(home.url) == 4


UNEXECUTABLE = f"""
import sys, threading
sys.executable = {{python!r}}
threading.Thread(target=threading.Event().wait, daemon=True).start()
from {JOBS} import Record
"""


def test_workers_that_cannot_be_executed_leave_the_family_alone(
    start: Start, url: str, name: str, folder: Folder, tmp_path: Path
) -> None:
    """Python is away for a while, as where its environment is made anew."""
    module, python = f"jobs_{secrets.token_hex(6)}", tmp_path / "python"
    tmp_path.joinpath(f"{module}.py").write_text(UNEXECUTABLE.format(python=str(python)))
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    program = start(module, "--private", "--url", url, "--workers", 1, environment=environment).serving()

    program.hear("there is no Python to run workers with")
    program.hear("worker ended pid=[0-9]+ how=an exception, shown above")
    assert files_of(name), "the segment of the living family is still there"
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
        again = tmp_path / "again"
        again.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        again.chmod(0o700)
        again.rename(python)
        folder.until("done", 0)

    assert program.stop() == Exit.OK
    assert files_of(name) == set()


# What does not start


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        (None, "{module}", "there is no module {module}"),
        (None, "{module}.part", "there is no module {module}.part"),
        ("x = 1", "{module}.py", "there is no module {module}.py: a module is named as it is imported"),
        ("raise ValueError('no good')", "{module}", "module {module} does not import: ValueError: no good"),
        ("import no_such_thing_here", "{module}", "module {module} does not import: No module named 'no_such_thing"),
        ("class Handler:", "{module}", "module {module} does not import: IndentationError: "),
        ("import sys\nsys.exit()", "{module}", "module {module} does not import: it ends the program"),
        ("x = 1", "{module}", "module {module} has no handlers"),
        ("x = 1", "{module}.Record", "there is no module {module}.Record: a handler of module {module} is written "),
        ("from {jobs} import Record, Gated", "{module}:Missing", "has no handler Missing; it has: Record, Gated"),
        ("from {jobs} import Note", "{module}:Note", "module {module} has no handler Note; it has: none"),
        (
            "from shardq import Handler\nclass Untyped(Handler):\n def perform(self, *items): ...",
            "{module}",
            "the request type of {module}/Untyped is not known",
        ),
    ],
)
def test_a_boot_failure_ends_with_the_reason(
    text: str | None, target: str, reason: str, start: Start, url: str, name: str, tmp_path: Path
) -> None:
    module = f"jobs_{secrets.token_hex(6)}"
    if text is not None:
        tmp_path.joinpath(f"{module}.py").write_text(text.format(jobs=JOBS))

    program = start(
        f"{JOBS}:Record", target.format(module=module), "--url", url, environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    )

    assert program.end() == Exit.BOOT
    assert f"shardq.supervise: {reason.format(module=module)}" in program.heard or reason in program.heard
    assert (f'{module}.py", line ' in program.heard) == ("does not import" in reason), "it says where that was"
    assert program.printed() == ""
    assert files_of(name) == set()


@pytest.mark.parametrize(
    ("options", "environment", "reason"),
    [
        (["--url", "http://somewhere"], {}, "write it as shm://NAME, or redis://HOST:PORT for a server"),
        (["--url", "shm://with/a/path"], {}, "names no shared-memory segment"),
        (["--url", f"shm://{'x' * 31}"], {}, "cannot name a segment"),
        (["--capacity", "a lot"], {}, "'a lot' is no size: write it in bytes, or as 512M or 2G"),
        (["--capacity", "1K"], {}, "a capacity of 1024 bytes is too small"),
        (["--workers", "0"], {}, "QUEUE_SUPERVISOR_WORKERS"),
        (["--workers", "many"], {}, "QUEUE_SUPERVISOR_WORKERS"),
        (["--shutdown-timeout", "-1"], {}, "QUEUE_SUPERVISOR_SHUTDOWN_TIMEOUT"),
        (["--bogus"], {}, "unrecognized arguments: --bogus"),
        (["--wrkers", "3"], {}, "did you mean --workers? `python -m shardq.supervise --help` says what there is"),
        (["--log-level", "loud"], {}, "`python -m shardq.supervise --help` says what each may be"),
        ([], {"QUEUE_SUPERVISOR_WORKERS": "many"}, "QUEUE_SUPERVISOR_WORKERS"),
        (["--shutdown-timeout", "inf"], {}, "QUEUE_SUPERVISOR_SHUTDOWN_TIMEOUT"),
        (["--shutdown-timeout", "1e10"], {}, "QUEUE_SUPERVISOR_SHUTDOWN_TIMEOUT"),
        (["--respawn-delay", "nan"], {}, "QUEUE_SUPERVISOR_RESPAWN_DELAY"),
        (["--capacity", "99999999999999G"], {}, "'99999999999999G' is more than any machine has"),
        (["--url", "shm://["], {}, "'shm://[' names no shared-memory segment: write it as shm://NAME"),
        ([], {"QUEUE_STORAGE_CAPACITY_BYTES": str(10**21)}, "QUEUE_STORAGE_CAPACITY_BYTES"),
        ([], {"QUEUE_STORAGE_SAFETY_NET": "inf"}, "QUEUE_STORAGE_SAFETY_NET"),
        ([], {"QUEUE_WORKER_BATCH_SIZE": "x"}, "QUEUE_WORKER_BATCH_SIZE"),
        (["--drain"], {"QUEUE_WORKER_QUANTUM": "nan"}, "QUEUE_WORKER_QUANTUM"),
        ([], {"QUEUE_LOCK_TIMEOUT": "x"}, "QUEUE_LOCK_TIMEOUT"),
    ],
)
def test_bad_usage_is_named_before_anything_serves(
    options: list[str], environment: dict[str, str], reason: str, start: Start, url: str, name: str
) -> None:
    program = start(JOBS, *(["--url", url] if "--url" not in options else []), *options, environment=environment)

    assert program.end() == Exit.USAGE
    assert reason in program.heard
    assert "Traceback" not in program.heard
    assert "serving" not in program.heard
    assert files_of(name) == set()


def test_a_second_supervisor_is_refused_and_the_first_goes_on(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    first = start(JOBS, "--url", url, "--workers", 1).serving()

    second = start(JOBS, "--url", url, "--workers", 1)

    assert second.end() == Exit.RUNNING
    second.hear(rf"another supervisor serves {url}: stop it first, or choose another --url")
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([0]))
        folder.until("done", 0)
    assert first.stop() == Exit.OK
    assert files_of(name) == set()


def test_a_foreign_object_is_left_alone(start: Start, url: str, name: str) -> None:
    foreign = SHM_DIRECTORY / full_name(name)
    foreign.write_bytes(b"another program's" * 1000)

    program = start(JOBS, "--url", url)

    assert program.end() == Exit.SEGMENT
    program.hear(rf"'{name}' is no shardq segment")
    assert foreign.read_bytes() == b"another program's" * 1000
    assert files_of(name) == {full_name(name)}


def test_an_adopted_segment_keeps_its_capacity(start: Start, url: str, name: str, folder: Folder) -> None:
    leave_in_segment(name, Record, folder.notes(range(3)))

    program = start(JOBS, "--url", url, "--capacity", "16M", "--drain")

    assert program.end() == Exit.OK
    program.hear(rf"segment keeps the capacity it has segment={name} capacity_bytes={8 * MIB}")
    assert folder.done() == [0, 1, 2]
