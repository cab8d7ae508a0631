"""`python -m shardq`: what its commands tell machines, and readers that have seen enough."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from shardq.cli import FAILED, OK, main
from shardq.drivers import SharedStorage
from shardq.shm.files.own_files import open_lock_file
from tests.support.drivers import MIB
from tests.support.programs import ROOT
from tests.support.segments import files_of
from tests.support.tasks import LIMIT_S

#: Two requests of which the first 4 bytes of the BLAKE2b are equal.
ALIKE = [b"\x82\xa2id\xcd" + number.to_bytes(2) + b"\xa4name\xa0" for number in (14847, 53116)]
#: Runs a command; its exit code, what it printed, and its errors.
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], url: str) -> Run:
    def runner(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*words, "--url", url])
        return status, *capsys.readouterr()

    return runner


@pytest.fixture
def schedules(name: str) -> None:
    """A segment with two recurrent requests and a deferred one."""
    storage = SharedStorage.create(name, 8 * MIB)
    due_us = time.time_ns() // 1000 + 60_000_000
    for message in ALIKE:
        assert storage.store.deferring.repeat([("app.jobs/Report/0/0", [message])], "every 60", due_us) == 1
    assert storage.store.deferring.defer([("app.jobs/Remind/0/0", [b"\x01"])], due_us)
    asyncio.run(storage.close())


@pytest.mark.usefixtures("schedules")
def test_machines_are_told_how_many_schedules_ended(run: Run) -> None:
    status, out, errors = run("recurrent", "cancel", "--all", "--json")

    assert (status, json.loads(out), errors) == (OK, {"ended": 2}, "")


def test_machines_are_told_what_was_destroyed(run: Run, name: str) -> None:
    asyncio.run(SharedStorage.create(name, 8 * MIB).close())

    status, out, errors = run("destroy", "--json")

    assert (status, json.loads(out), errors) == (OK, {"destroyed": name}, "")
    assert files_of(name) == set()


@pytest.mark.usefixtures("schedules")
def test_what_is_left_is_said_without_what_there_is_none_of(run: Run, url: str) -> None:
    status, _, errors = run("destroy")

    assert status == FAILED
    assert errors == (
        f"shardq: {url} has 1 deferred request, 2 recurrent requests left: add --with-requests to lose them\n"
    )


def test_what_a_destruction_that_was_cut_short_left_is_destroyed(run: Run, name: str) -> None:
    os.close(open_lock_file(name, create=True))

    assert run("destroy") == (OK, "", "")
    assert files_of(name) == set()


def test_a_reader_that_was_gone_before_a_short_answer_is_no_failure(name: str, url: str) -> None:
    asyncio.run(SharedStorage.create(name, 8 * MIB).close())
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        (sys.executable, "-m", "shardq", "status", "--sample", "0", "--url", url),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=LIMIT_S,
        check=False,
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (OK, b"")
