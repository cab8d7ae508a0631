"""Workers that are replaced by fresh processes: by a reload, after so many requests, beyond so much memory."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from shardq.drivers import SharedStorage
from shardq.supervisor.exits import Exit
from shardq.supervisor.workers.renewal import Renewals, Wear
from tests.support.drivers import MIB
from tests.support.jobs import Bloated, Folder, Record
from tests.support.programs import ROOT, lives, until
from tests.support.segments import files_of
from tests.support.supervised import Start, client, dead_letters
from tests.support.tasks import LIMIT_S

JOBS = Record.__module__
ONE_BY_ONE = {"QUEUE_WORKER_BATCH_SIZE": "1"}


class Code:
    """A module of the test's own that a supervisor serves, in versions. Its requests tell the version they met."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._path = folder / f"{name}.py"
        self._version = 0
        self.environment = {"PYTHONPATH": f"{folder}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}

    def write(self, version: int, base: str = "Record") -> None:
        """The handler of this version does an item's number plus a hundred times the version."""
        self._path.write_text(
            f"from {JOBS} import {base}, Note\n"
            f"class Job({base}):\n"
            f"    def perform(self, *notes: Note):\n"
            f"        return super().perform(*(n._replace(number=n.number + {100 * version}) for n in notes))\n"
        )

    def spoil(self) -> None:
        self._path.write_text("1 / 0")

    def leave(self) -> None:
        """Let it end the process that imports it, as if all were well."""
        self._path.write_text("import sys\nsys.exit()")

    def forget(self) -> None:
        self._path.unlink()


@pytest.fixture
def code(tmp_path: Path, name: str) -> Code:
    return Code(tmp_path, f"code_{name}")


def register(url: str, code: Code, folder: Folder, *numbers: int) -> None:
    """Put requests for the module's handler into the segment, without importing it here."""
    with client(url) as queue:
        for note in folder.notes(numbers):
            pipe = f"{code.name}/Job/{note.number}/0"
            note = note._replace(thread=note.number)
            assert asyncio.run(queue.storage.append([(pipe, [msgspec.msgpack.encode(note)])]))


# Reload


def test_hup_brings_new_code_under_the_same_pid(start: Start, code: Code, url: str, name: str, folder: Folder) -> None:
    code.write(1)
    program = start(code.name, "--url", url, "--workers", 2, environment=code.environment).serving()
    register(url, code, folder, 0)
    folder.until("done", 100)
    old = program.workers(2)

    code.write(2)
    program.signal(signal.SIGHUP)
    program.hear("reloaded workers=2")
    until(lambda: not program.workers(2) & old, "all workers are new")
    register(url, code, folder, 1)
    folder.until("done", 201)

    assert program.stop() == Exit.OK
    assert "ERROR" not in program.heard
    assert files_of(name) == set()


def test_a_second_reload_works_like_the_first(start: Start, code: Code, url: str, folder: Folder) -> None:
    code.write(1)
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()
    for times, version in enumerate((2, 3), 1):
        code.write(version)
        old = program.workers(1)
        program.signal(signal.SIGHUP)
        program.hear_times("replacing worker", times)
        until(lambda: not program.workers(1) & old, "the worker is new")  # noqa: B023
    register(url, code, folder, 1)
    folder.until("done", 301)

    assert program.stop() == Exit.OK


def test_code_that_does_not_import_is_refused_and_the_old_goes_on(
    start: Start, code: Code, url: str, folder: Folder
) -> None:
    code.write(1)
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()
    workers = program.workers(1)

    code.spoil()
    program.signal(signal.SIGHUP)

    program.hear("does not import: ZeroDivisionError")
    program.hear("reload refused: the new code does not import how=exit code 3")
    register(url, code, folder, 1)
    folder.until("done", 101)
    assert program.workers(1) == workers
    assert program.stop() == Exit.OK


def test_code_that_ends_the_process_is_refused_and_the_old_goes_on(
    start: Start, code: Code, url: str, folder: Folder
) -> None:
    code.write(1)
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()
    workers = program.workers(1)

    code.leave()
    program.signal(signal.SIGHUP)

    program.hear(rf"module {code.name} does not import: it ends the program")
    program.hear("reload refused: the new code does not import how=exit code 3")
    register(url, code, folder, 1)
    folder.until("done", 101)
    assert program.workers(1) == workers
    assert program.stop() == Exit.OK


def test_a_reload_waits_for_the_batch_in_hand(start: Start, code: Code, url: str, folder: Folder) -> None:
    code.write(1, "Gated")
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()
    register(url, code, folder, 1)
    folder.until("begin", 101)
    code.write(2, "Gated")

    program.signal(signal.SIGHUP)
    program.hear("replacing worker")
    register(url, code, folder, 2)
    folder.permit(2)

    folder.until("done", 101, 202)
    assert folder.done() == [101, 202]
    with client(url) as queue:
        assert dead_letters(queue) == []
    assert program.stop() == Exit.OK


def test_what_is_killed_for_a_reload_has_not_failed(start: Start, code: Code, url: str, folder: Folder) -> None:
    code.write(1, "Gated")
    environment = code.environment | {"QUEUE_SUPERVISOR_SHUTDOWN_TIMEOUT": "0.2"}
    program = start(code.name, "--url", url, "--workers", 1, environment=environment).serving()
    register(url, code, folder, 1)
    folder.until("begin", 101)
    code.write(2, "Record")

    program.signal(signal.SIGHUP)
    folder.until("done", 201)

    with client(url) as queue:
        assert asyncio.run(queue.storage.wait_for_quiet(LIMIT_S))
        assert dead_letters(queue) == []
    assert "request failed" not in program.heard
    # A stop has no more time than the reload had: the worker may not be gone by then, for all that it is idle.
    assert program.stop() in (Exit.OK, Exit.KILLED)


def test_hup_to_the_whole_group_is_the_supervisors(start: Start, code: Code, url: str, folder: Folder) -> None:
    code.write(1, "Gated")
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()
    register(url, code, folder, 1)
    folder.until("begin", 101)

    program.signal_group(signal.SIGHUP)
    program.hear("replacing worker")
    folder.permit(1)

    folder.until("done", 101)
    assert program.stop() == Exit.OK
    assert "ERROR" not in program.heard
    assert "failed" not in program.heard


def test_a_stop_during_a_reload_is_not_lost(start: Start, code: Code, url: str, name: str) -> None:
    code.write(1)
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()

    program.signal(signal.SIGHUP)
    program.hear("trying the new code")
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


@pytest.mark.parametrize("event", ["reloading", "reloaded"])
def test_a_stop_while_it_executes_itself_is_not_lost(event: str, start: Start, code: Code, url: str, name: str) -> None:
    code.write(1)
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()

    program.signal(signal.SIGHUP)
    program.hear(event)
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


def test_a_second_wish_for_new_code_is_not_lost(start: Start, code: Code, url: str, folder: Folder) -> None:
    code.write(1)
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()

    code.spoil()
    program.signal(signal.SIGHUP)
    program.hear("trying the new code")
    code.write(2)
    program.signal(signal.SIGHUP)

    program.hear("reloaded")
    program.hear("replacing worker")
    until(lambda: len(program.workers(1)) == 1, "it has its worker")
    register(url, code, folder, 1)
    assert {line.number for line in folder.until("done", 201)} == {201}
    assert program.stop() == Exit.OK


def test_a_drain_remembers_what_was_before_a_reload(start: Start, code: Code, url: str, folder: Folder) -> None:
    code.write(1, "Gated")
    storage = SharedStorage.create(url.removeprefix("shm://"), MIB)
    assert asyncio.run(storage.append([(f"{code.name}/Job/0/0", [b"\xc1"])]))
    asyncio.run(storage.close())
    register(url, code, folder, 1)
    program = start(code.name, "--url", url, "--workers", 2, "--drain", environment=code.environment).serving()
    folder.until("begin", 101)
    program.hear("request became a dead letter")

    program.signal(signal.SIGHUP)
    program.hear("reloaded")
    folder.permit(1)

    assert program.end() == Exit.DEAD_LETTERS
    assert re.match(r"1 request done in .+, 1 failed and is a dead letter\n", program.printed())


def test_a_reload_does_not_forget_the_workers_of_a_supervisor_that_died(
    start: Start, code: Code, url: str, folder: Folder
) -> None:
    code.write(1, "Gated")
    first = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()
    [orphan] = first.workers(1)
    register(url, code, folder, 1)
    folder.until("begin", 101)
    first.kill()
    program = start(code.name, "--url", url, "--workers", 1, environment=code.environment).serving()

    program.signal(signal.SIGHUP)
    program.hear_times(f"worker of a supervisor that died pid={orphan}", 2)
    folder.permit(1)

    [line] = folder.until("done", 101)
    assert line.pid == orphan
    until(lambda: not lives(orphan), "the orphan is gone")
    assert program.stop() == Exit.OK


# Wear


def test_a_worker_is_replaced_after_so_many_requests(start: Start, url: str, name: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 2, "--max-requests", 10, environment=ONE_BY_ONE).serving()
    first = program.workers(2)
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes(range(100), threads=4))
        folder.until("done", *range(100))
        until(lambda: program.workers(2) != first, "a worker that did its share is replaced")
        queue.register_sync(Record, *folder.notes([100]))
        folder.until("done", 100)
    assert sorted(folder.done()) == list(range(101))
    assert program.stop() == Exit.OK
    assert "ERROR" not in program.heard
    assert files_of(name) == set()


PRINTING = f"""
import os
from {JOBS} import Note, Record

class Printing(Record):
    async def perform(self, *notes: Note) -> None:
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.close(writing)
        os.close(reading)
        print("to no reader")
        await super().perform(*notes)
"""


def test_a_worker_whose_output_no_process_reads_ends_well(start: Start, url: str, name: str, folder: Folder) -> None:
    module = f"printing_{name}"
    (folder.path / f"{module}.py").write_text(PRINTING)
    environment = {"PYTHONPATH": f"{folder.path}:{ROOT}", "PYTHONUNBUFFERED": ""}
    program = start(module, "--url", url, "--workers", 1, "--max-requests", 1, environment=environment).serving()
    first = program.workers(1)

    with client(url) as queue:
        [note] = folder.notes([0])
        assert asyncio.run(queue.storage.append([(f"{module}/Printing/0/0", [msgspec.msgpack.encode(note)])]))
        folder.until("done", 0)
    until(lambda: program.workers(1) != first, "it is replaced")

    assert program.stop() == Exit.OK
    assert "ERROR" not in program.heard
    assert "Traceback" not in program.heard
    assert files_of(name) == set()


def test_a_worker_is_replaced_beyond_so_much_memory(start: Start, url: str, folder: Folder) -> None:
    program = start(JOBS, "--url", url, "--workers", 1, "--max-rss", "150M", environment=ONE_BY_ONE).serving()
    first = program.workers(1)
    with client(url) as queue:
        queue.register_sync(Bloated, *folder.notes([0]))
        folder.until("done", 0)
        until(lambda: len(program.workers(1) & first) == 0, "the bloated worker is replaced")
        queue.register_sync(Record, *folder.notes([1]))
        folder.until("done", 1)
    assert program.stop() == Exit.OK
    assert "ERROR" not in program.heard


def test_one_worker_leaves_at_a_time() -> None:
    renewals = Renewals()
    renewals.add([1, 2, 2, 3])
    assert renewals.next(10) == 1
    renewals.add([1])
    assert renewals.next(10) is None
    assert not renewals.ended(3)
    assert renewals.ended(1)
    assert renewals.next(10) == 2
    assert renewals.ended(2)
    assert renewals.next(10) is None


def test_wear_asks_once_and_within_a_tenth_more() -> None:
    asked: list[int] = []
    done = 0
    wear = Wear(100, None, lambda: asked.append(done))
    while done < 200:
        done += 1
        wear.after_batch(1)
    assert len(asked) == 1
    assert 100 <= asked[0] <= 110


def test_memory_that_is_not_its_own_does_not_count() -> None:
    memory = psutil.Process().memory_info()
    asked: list[None] = []
    note: Callable[[], None] = lambda: asked.append(None)  # noqa: E731
    Wear(None, memory.rss - memory.shared + (64 << 20), note).after_batch(1)
    assert asked == []
    Wear(None, 1, note).after_batch(1)
    assert asked == [None]
