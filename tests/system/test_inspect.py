"""`python -m shardq status|tubes|peek|destroy`: looking into segments that live, hang, or were left behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from shardq import Queue, connect
from shardq.cli import FAILED, OK, main
from shardq.drivers import SharedStorage
from shardq.shm import words as at
from shardq.shm.files.names import SHM_DIRECTORY, full_name
from shardq.shm.segment import Segment
from tests.support import jobs, python
from tests.support.drivers import MIB
from tests.support.holder import holder
from tests.support.homes import Home, on_each_home
from tests.support.jobs import Folder, Gated, Record
from tests.support.programs import ROOT, Supervise, until
from tests.support.said import Said, Say
from tests.support.segments import files_of
from tests.support.tasks import LIMIT_S

JOBS = jobs.__name__
USAGE = 2
ONE_BY_ONE = {"QUEUE_WORKER_BATCH_SIZE": "1"}


def shardq(*words: object, **environment: str) -> Said:
    """The command as a user runs it."""
    done = python.run(
        (sys.executable, "-m", "shardq", *map(str, words)),
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """The command in this process, for the many ways in which it can go wrong: much faster, and the same code."""

    def run(*words: object) -> Said:
        capsys.readouterr()
        try:
            status = main([*map(str, words)])
        except SystemExit as end:  # argparse's way
            status = int(end.code or 0)
        return Said(status, *capsys.readouterr())

    return run


@contextmanager
def family(url: str, workers: int) -> Iterator[Supervise]:
    program = Supervise(JOBS, "--url", url, "--workers", workers, environment=ONE_BY_ONE)
    try:
        program.hear("serving .*shm://")
        yield program
    finally:
        program.discard()


def register(url: str, handler: type[Any], requests: list[Any]) -> None:
    queue = asyncio.run(connect(url))
    queue.register_sync(handler, *requests)
    asyncio.run(queue.close())


def leave(name: str, *messages: bytes, pipe: str = "app.jobs/Resize/3/0") -> None:
    """A segment that no process uses, with these messages in it."""
    storage = SharedStorage.create(name, 8 * MIB)
    assert storage.store.appending.append([(pipe, messages)])
    asyncio.run(storage.close())


def pipe_of(handler: str, thread: int) -> str:
    return f"{JOBS}/{handler}/{thread}/0"


# Families at work, hanging, stopped and dead


def test_a_family_that_hangs_in_its_handlers_can_be_looked_into(url: str, folder: Folder) -> None:
    with family(url, workers=2) as program:
        register(url, Gated, folder.notes(range(10), threads=2))
        register(url, Record, folder.notes(range(100, 103)))
        first, second = folder.until("begin", 0, 1)

        status = shardq("status", "--url", url, "--sample", 0.05, "--json").value
        assert status["supervisor_pid"] == program.pid
        assert (status["queued"], status["accepted"], status["handled"]) == (13, 13, 0)
        assert status["rates"] == {"accepted": 0.0, "handled": 0.0}
        assert 0 < status["used_bytes"] <= status["capacity_bytes"]
        assert {(w["pid"], w["state"], w["thread"], w["batch_count"]) for w in status["workers"]} == {
            (line.pid, "busy", f"{JOBS}/Gated/{line.thread}", 1) for line in (first, second)
        }
        assert all(worker["batch_age_s"] > 0 for worker in status["workers"])

        tubes = shardq("tubes", "--url", url, "--json").value
        assert [(tube["pipe"], tube["queued"]) for tube in tubes[:2]] == [
            (pipe_of("Gated", 0), 5),
            (pipe_of("Gated", 1), 5),
        ]
        assert [tube["worker_pid"] for tube in tubes] == [first.pid, second.pid, None]
        assert all(tube["oldest_age_s"] > 0 for tube in tubes)

        peeked = shardq("peek", pipe_of("Gated", 1), "--url", url, "--json", "--limit", 3).value
        assert [request[:3] for request in peeked] == [[str(folder.path), number, 1] for number in (1, 3, 5)]

        folder.permit(10)
        folder.until("done", *range(10), *range(100, 103))
        assert program.stop() == 0
    assert sorted(folder.done()) == [*range(10), 100, 101, 102]


def test_the_text_says_the_same(url: str, folder: Folder) -> None:
    with family(url, workers=1) as program:
        register(url, Gated, folder.notes(range(3)))
        [line] = folder.until("begin", 0)

        first, requests, memory, core, titles, worker, *handlers = shardq("status", "--url", url, "--sample", 0).lines
        assert first == f"{url}: supervisor {program.pid}, 1 worker"
        assert requests == "requests: 3 queued, 0 of 3 handled"
        assert re.fullmatch(r"memory:   [\d.]+ MiB of [\d.]+ MiB, [\d.]+ [KM]iB in reserve", memory)
        assert re.fullmatch(r"core:     (c|python) \(of this command\)", core)
        assert titles.split() == ["worker", "pid", "state", "memory", "thread", "batch", "for", "progress"]
        assert worker.split()[1:3] == [str(line.pid), "busy"]
        assert worker.split()[5:7] == [f"{JOBS}/Gated/0", "1"]
        assert handlers[1].split()[:3] == ["handler", "in/s", "out/s"]
        assert handlers[2].split()[0] == f"{JOBS}/Gated"

        titles, tube = shardq("tubes", "--url", url).lines
        assert titles.split() == ["tube", "queued", "oldest", "worker", "pid", "failed"]
        assert tube.split()[:2] == [pipe_of("Gated", 0), "3"]
        assert tube.split()[-1] == str(line.pid)

        requests_ahead = shardq("peek", pipe_of("Gated", 0), "--url", url).lines
        assert [json.loads(text)[1] for text in requests_ahead] == [0, 1, 2]
        folder.permit(3)
        folder.until("done", 0, 1, 2)


def test_a_stopped_worker_is_shown_as_stopped(url: str, folder: Folder) -> None:
    with family(url, workers=1):
        register(url, Gated, folder.notes([0]))
        [line] = folder.until("begin", 0)
        worker = psutil.Process(line.pid)
        worker.suspend()
        until(lambda: worker.status() == psutil.STATUS_STOPPED, "the worker stands still")

        [shown] = shardq("status", "--url", url, "--sample", 0, "--json").value["workers"]
        assert (shown["pid"], shown["state"], shown["batch_count"]) == (line.pid, "stopped", 1)
        [tube] = shardq("tubes", "--url", url, "--json").value
        assert tube["worker_pid"] == line.pid

        worker.resume()
        folder.permit(1)
        folder.until("done", 0)


def test_a_family_that_was_killed_leaves_a_segment_that_can_be_looked_into(url: str, folder: Folder) -> None:
    with family(url, workers=1) as program:
        register(url, Gated, folder.notes(range(4)))
        [line] = folder.until("begin", 0)
        dying = [psutil.Process(program.pid), psutil.Process(line.pid)]
        for process in dying:
            process.kill()
        assert psutil.wait_procs(dying, timeout=LIMIT_S)[1] == []

        status = shardq("status", "--url", url, "--sample", 0, "--json").value
        assert status["supervisor_pid"] is None
        assert status["queued"] == 4
        assert [(w["pid"], w["state"]) for w in status["workers"]] in ([], [(line.pid, "dead")])
        [tube] = shardq("tubes", "--url", url, "--json").value
        assert (tube["pipe"], tube["queued"], tube["worker_pid"]) == (pipe_of("Gated", 0), 4, None)

    # Looking changed nothing: the next family goes on with all of it.
    folder.permit(4)
    with family(url, workers=1) as program:
        folder.until("done", *range(4))
        assert program.stop() == 0
    assert folder.done() == [0, 1, 2, 3]


def test_the_status_waits_for_no_process_that_changes_something(name: str, url: str) -> None:
    leave(name, b"\x01")
    with holder(name, "hold") as inside:
        inside.hear()
        inside.stop()
        assert shardq("status", "--url", url, "--sample", 0, "--json").value["queued"] == 1
        inside.go_on()
        inside.let_go()


# What is left behind


def test_ctrl_c_ends_a_command_with_a_line(name: str, url: str, said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(seconds: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    SharedStorage.create(name, 4 * MIB).detach()
    monkeypatch.setattr(asyncio, "sleep", interrupted)
    ended = said("status", "--sample", 60, "--url", url)
    assert (ended.status, ended.errors) == (130, "shardq: interrupted\n")


def test_the_longest_tubes_come_first_and_the_rest_is_counted(name: str, url: str, said: Say) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    for thread in range(20):
        storage.store.appending.append([(f"m/H/{thread}/0", [b"\x01"] * (thread + 1))])
    asyncio.run(storage.close())

    _, *shown, more = said("tubes", "--url", url, "--limit", 3).lines
    assert [line.split()[:2] for line in shown] == [["m/H/19/0", "20"], ["m/H/18/0", "19"], ["m/H/17/0", "18"]]
    assert more == "and 17 more"
    assert len(said("tubes", "--url", url, "--json").value) == 20


@on_each_home
def test_tubes_are_summed_up_by_handler(home: Home, said: Say) -> None:
    async def fill(queue: Queue) -> None:
        for thread in range(3):
            await queue.storage.append([(f"m/H/{thread}/0", [b"\x01"] * 2), (f"m/H/{thread}/1", [b"\x01"])])
        await queue.storage.append([("m/Other/0/0", [b"\x01"] * 20)])
        await queue.storage.pause("m/H")

    home.leave(Gated, [])
    asyncio.run(_with(home.url, fill))

    other, its = said("tubes", "--url", home.url, "--by-handler", "--json").value
    assert (its["handler"], its["tubes"], its["queued"], its["paused"]) == ("m/H", 6, 9, True)
    assert (other["handler"], other["tubes"], other["queued"], other["paused"]) == ("m/Other", 1, 20, False)
    assert other["oldest_age_s"] > 0
    _, first, more = said("tubes", "--url", home.url, "--by-handler", "--limit", 1).lines
    assert first.split()[:3] == ["m/Other", "1", "20"]
    assert more == "and 1 more"


async def _with(url: str, act: Callable[[Queue], Awaitable[None]]) -> None:
    async with await connect(url) as queue:
        await act(queue)


def test_peek_shows_what_it_cannot_read(name: str, url: str, said: Say) -> None:
    leave(name, b"\x93\x01\xa1x\xc0", b"\xc1", b"\xc4\x02ab")
    readable, unreadable, raw = said("peek", "app.jobs/Resize/3/0", "--url", url, "--json").value
    assert readable == [1, "x", None]
    assert (unreadable["undecodable"], raw) == ("wQ==", "YWI=")


def test_peek_takes_nothing(name: str, url: str, said: Say) -> None:
    leave(name, b"\x01", b"\x02")
    for _ in range(2):
        assert said("peek", "app.jobs/Resize/3/0", "--url", url).lines == ["1", "2"]
    assert said("peek", "app.jobs/Resize/4/0", "--url", url).lines == ["no requests in app.jobs/Resize/4/0"]


def test_the_segment_can_be_named_by_the_environment(name: str, url: str) -> None:
    leave(name, b"\x01")
    assert shardq("status", "--sample", 0, "--json", QUEUE_SUPERVISOR_URL=url).value["name"] == name


def test_a_reader_that_has_seen_enough_ends_it_quietly(name: str, url: str) -> None:
    storage = SharedStorage.create(name, 64 * MIB)
    for thread in range(5000):
        storage.store.appending.append([(f"a.module.with.a.long.name/Handler/{thread}/0", [b"\x01"])])
    asyncio.run(storage.close())
    with subprocess.Popen(
        (sys.executable, "-m", "shardq", "tubes", "--url", url, "--limit", "5000"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.readline()
        program.stdout.close()
        errors = program.stderr.read()
        assert (program.wait(LIMIT_S), errors) == (OK, b"")


# Destroying


def test_a_segment_in_use_is_not_destroyed(name: str, url: str) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    found = shardq("destroy", "--url", url, "--with-requests")
    assert found.status == FAILED
    assert "in use by 1 process: end it first" in found.errors
    assert Queue(storage) is not None
    assert storage.store.appending.append([("m/H/0/0", [b"\x01"])])
    asyncio.run(storage.close())


def test_requests_are_destroyed_only_on_purpose(name: str, url: str, said: Say) -> None:
    leave(name, b"\x01", b"\x02")
    found = said("destroy", "--url", url)
    assert found.status == FAILED
    assert "2 requests left" in found.errors
    assert "--with-requests" in found.errors
    assert said("peek", "app.jobs/Resize/3/0", "--url", url).lines == ["1", "2"]

    assert said("destroy", "--url", url, "--with-requests") == Said(OK, "", "")
    assert files_of(name) == set()


def test_an_empty_segment_is_destroyed(name: str, url: str, said: Say) -> None:
    asyncio.run(SharedStorage.create(name, 8 * MIB).close())
    assert said("destroy", "--url", url) == Said(OK, "", "")
    assert files_of(name) == set()


# What cannot be looked into


def make_foreign(name: str) -> None:
    (SHM_DIRECTORY / full_name(name)).write_bytes(b"not ours" * 1024)


def make_short(name: str) -> None:
    (SHM_DIRECTORY / full_name(name)).write_bytes(b"not ours")


def make_unready(name: str) -> None:
    (SHM_DIRECTORY / full_name(name)).touch()


def make_another_version(name: str) -> None:
    leave(name)
    segment = Segment.attach(name)
    segment.words[at.VERSION] = at.LAYOUT_VERSION + 1
    segment.close()


def make_truncated(name: str) -> None:
    leave(name)
    os.truncate(SHM_DIRECTORY / full_name(name), 1 << 20)


UNUSABLE: dict[str, tuple[Callable[[str], None], str]] = {
    "foreign": (make_foreign, "is no shardq segment"),
    "short": (make_short, "is no shardq segment"),
    "unready": (make_unready, "is being created, or its creator died"),
    "another version": (make_another_version, f"has layout version {at.LAYOUT_VERSION + 1}, this shardq reads"),
    "truncated": (make_truncated, "is damaged"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_is_no_segment_of_this_version_is_named_and_left_alone_until_it_is_destroyed(
    kind: str, name: str, url: str, said: Say
) -> None:
    make, reason = UNUSABLE[kind]
    make(name)
    before = (SHM_DIRECTORY / full_name(name)).stat()
    for words in (("status", "--sample", "0"), ("tubes",)):
        found = said(*words, "--url", url)
        assert (found.status, found.out) == (FAILED, "")
        assert re.fullmatch(rf"shardq: .*{reason}.*\n", found.errors)
    after = (SHM_DIRECTORY / full_name(name)).stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)

    assert said("destroy", "--url", url) == Said(OK, "", "")
    assert files_of(name) == set()


@pytest.mark.parametrize("words", [("status",), ("tubes",), ("peek", "m/H/0/0"), ("destroy",)], ids=lambda w: w[0])
def test_a_segment_that_does_not_exist_is_named(words: tuple[str, ...], name: str, url: str, said: Say) -> None:
    found = said(*words, "--url", url)
    assert (found.status, found.out) == (FAILED, "")
    assert f"there is no segment '{name}'" in found.errors
    assert files_of(name) == set()


@pytest.mark.parametrize("wrong", ["memory://", "shm://", "shm://a/b", "jobs", "shm://a b"])
def test_a_url_that_names_no_segment_is_refused(wrong: str, said: Say) -> None:
    found = said("status", "--url", wrong)
    assert (found.status, found.out) == (FAILED, "")
    assert re.fullmatch(r"shardq: .*(names no shared-memory segment|cannot name a segment).*\n", found.errors)


def test_no_url_is_a_usage_error() -> None:
    found = shardq("status", QUEUE_SUPERVISOR_URL="")
    assert found.status == USAGE
    assert "or set QUEUE_SUPERVISOR_URL" in found.errors


def test_without_a_command_all_are_shown_and_how_a_family_is_started() -> None:
    found = shardq()
    assert (found.status, found.out) == (USAGE, "")
    said = " ".join(found.errors.split())
    assert all(words in said for words in ("status", "why", "is started by `python -m shardq.supervise MODULE"))


def test_a_pipe_that_is_none_is_refused(name: str, url: str, said: Say) -> None:
    leave(name, b"\x01")
    found = said("peek", "nonsense", "--url", url)
    assert (found.status, found.out) == (FAILED, "")
    assert "'nonsense' is no pipe" in found.errors


def schedule(name: str, *messages: bytes, every_s: int = 60) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    due_us = time.time_ns() // 1000 + every_s * 1_000_000
    for place, message in enumerate(messages):
        parts = [("app.jobs/Report/0/0", [message])]
        assert storage.store.deferring.repeat(parts, f"every {every_s}", due_us + place) == 1
    assert storage.store.deferring.defer([("app.jobs/Remind/0/0", [b"\x01"])], due_us + 1_000_000)
    asyncio.run(storage.close())


def test_recurrent_requests_can_be_listed_and_ended(name: str, url: str, said: Say) -> None:
    schedule(name, b"\x01", b"\x02", b"\x03")

    status = said("status", "--url", url, "--sample", 0)
    assert "later:    1 deferred, 3 recurrent; the next is due in" in status.out
    listed = said("recurrent", "list", "--url", url, "--json")
    found = json.loads(listed.out)
    assert [entry["request"] for entry in found] == [1, 2, 3]
    assert {(entry["pipe"], entry["schedule"]) for entry in found} == {("app.jobs/Report/0/0", "every 60")}
    assert said("recurrent", "list", "--url", url, "--limit", 1).out.rstrip().endswith("and 2 more")

    unknown = said("recurrent", "cancel", "--url", url, found[0]["id"], "app.jobs/Report/0/0#0")
    assert unknown.status != 0
    assert "there is no recurrent request app.jobs/Report/0/0#0" in unknown.errors
    assert "which recurrent requests?" in said("recurrent", "cancel", "--url", url).errors
    assert "1 recurrent request ended" in said("recurrent", "cancel", "--url", url, found[1]["id"]).out
    assert "2 recurrent requests ended" in said("recurrent", "cancel", "--url", url, "--all").out
    refused = said("destroy", "--url", url)
    assert "has 1 deferred request left" in refused.errors
    assert said("destroy", "--url", url, "--with-requests").status == 0
