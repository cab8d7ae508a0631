"""Standard input, output and error may be closed, full, or something that is no file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shardq.supervisor.exits import Exit
from tests.support import hosted, jobs
from tests.support.chance import sample_of_run
from tests.support.hosted import Act, Plain, until_told
from tests.support.jobs import Folder, Record
from tests.support.programs import ROOT
from tests.support.segments import files_of
from tests.support.supervised import client, leave_in_segment
from tests.support.tasks import LIMIT_S

HOSTED, JOBS = hosted.__name__, jobs.__name__

WITHOUT = ["2>&-", "1>&-", "0<&-", "0<&- 1>&- 2>&-", "2>/dev/full", "1>/dev/full 2>/dev/full"]

#: What modules put in the place of standard error.
REPLACEMENTS = ["None", "object()", "__import__('io').StringIO()", "type('Tee', (), {'write': len})()"]


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    programs: list[subprocess.Popen[bytes]] = []
    yield programs
    for program in programs:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def supervise(arguments: Sequence[object], redirected: str = "", **environment: str) -> subprocess.Popen[bytes]:
    command = " ".join(map(str, (sys.executable, "-m", "shardq.supervise", *arguments)))
    return subprocess.Popen(
        ("sh", "-c", f"exec {command} {redirected}"),
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        process_group=0,
    )


Programs = list[subprocess.Popen[bytes]]


@pytest.mark.parametrize("redirected", WITHOUT)
def test_a_family_serves_without_them(started: Programs, url: str, name: str, folder: Folder, redirected: str) -> None:
    leave_in_segment(name, Record, folder.notes([0]))
    started.append(supervise((JOBS, "--url", url, "--workers", 1), redirected))
    folder.until("done", 0)

    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([1]))
        folder.until("done", 1)
        started[0].send_signal(signal.SIGHUP)
        queue.register_sync(Record, *folder.notes([2]))
        folder.until("done", 2)

    started[0].send_signal(signal.SIGTERM)
    assert started[0].wait(LIMIT_S) == Exit.OK
    assert files_of(name) == set()


@pytest.mark.parametrize("redirected", sample_of_run(WITHOUT, 3))
def test_a_drain_ends_as_documented_without_them(
    started: Programs, url: str, name: str, folder: Folder, redirected: str
) -> None:
    leave_in_segment(name, Record, folder.notes([0]))
    started.append(supervise((JOBS, "--url", url, "--workers", 1, "--drain"), redirected))

    assert started[0].wait(LIMIT_S) == Exit.OK
    assert folder.done() == [0]


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_an_error_has_its_exit_code_without_them(started: Programs, url: str, redirected: str) -> None:
    started.append(supervise(("no.such.module", "--url", url), redirected))

    assert started[0].wait(LIMIT_S) == Exit.BOOT


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_a_module_may_put_anything_in_their_place(
    started: Programs, url: str, name: str, folder: Folder, tmp_path: Path, replacement: str
) -> None:
    tmp_path.joinpath(f"{name}.py").write_text(
        f"import sys\nsys.stderr = sys.stdout = {replacement}\nfrom {JOBS} import Record as Again\n"
    )
    leave_in_segment(name, Record, folder.notes([0]))
    started.append(supervise((name, "--url", url, "--workers", 1, "--drain"), PYTHONPATH=f"{tmp_path}:{ROOT}"))

    assert started[0].wait(LIMIT_S) == Exit.OK
    assert folder.done() == [0]


@pytest.mark.parametrize("when", ["import", "perform"])
@pytest.mark.parametrize(
    "closing",
    sample_of_run(["sys.stderr.close()", "sys.stdout.close()", "sys.stdin.close()", "os.closerange(0, 3)"], 2),
)
def test_a_module_may_close_them(
    started: Programs, url: str, name: str, folder: Folder, tmp_path: Path, closing: str, when: str
) -> None:
    text = f"import logging, os, sys, {JOBS} as jobs\nfrom {JOBS} import Record as Again\n"
    text += (
        f"def close(*args, write=jobs._write):\n    {closing}\n    logging.error('any')\n    args and write(*args)\n"
    )
    text += "close()\n" if when == "import" else "jobs._write = close\n"
    tmp_path.joinpath(f"{name}.py").write_text(text)
    leave_in_segment(name, Record, folder.notes([0]))
    started.append(supervise((name, "--url", url, "--workers", 1, "--drain"), PYTHONPATH=f"{tmp_path}:{ROOT}"))

    assert started[0].wait(LIMIT_S) == Exit.OK
    assert folder.done() == [0]
    assert files_of(name) == set()


def test_the_next_file_does_not_become_standard_error(started: Programs, url: str, name: str, tmp_path: Path) -> None:
    leave_in_segment(name, Plain, [Act(str(tmp_path), "standard files")])
    started.append(supervise((HOSTED, "--url", url, "--workers", 1, "--drain"), "0<&- 1>&- 2>&-"))

    assert started[0].wait(LIMIT_S) == Exit.OK
    assert until_told(tmp_path, "standard files") == "['/dev/null', '/dev/null', '/dev/null']"


APPLICATION = """
import asyncio, os, sys
from shardq import Supervisor
from tests.support.jobs import Record, Note

async def main():
    async with Supervisor("tests.support.jobs", workers=1) as supervisor:
        await supervisor.queue.register(Record, Note(sys.argv[1], 0))
        await supervisor.drain()

asyncio.run(main())
sys.stderr = sys.stdout = None  # the interpreter of the application could not flush what it put there
"""


@pytest.mark.parametrize("redirected", sample_of_run([*WITHOUT, "1>&- 2>&-", "0<&- 2>&-"], 3))
def test_an_application_embeds_a_family_without_them(started: Programs, folder: Folder, redirected: str) -> None:
    script = folder.path / "application.py"
    script.write_text(APPLICATION)
    command = f"exec {sys.executable} {script} {folder.path} {redirected}"
    started.append(
        subprocess.Popen(("sh", "-c", command), env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT, process_group=0)
    )

    assert started[0].wait(LIMIT_S) == 0
    assert folder.done() == [0]


@pytest.mark.parametrize("replacement", sample_of_run(REPLACEMENTS, 2))
def test_an_application_that_replaced_them_embeds_a_family(started: Programs, folder: Folder, replacement: str) -> None:
    script = folder.path / "application.py"
    script.write_text(f"import sys\nsys.stderr = sys.stdout = {replacement}\n{APPLICATION}")
    started.append(
        subprocess.Popen(
            (sys.executable, str(script), str(folder.path)),
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            process_group=0,
        )
    )

    assert started[0].wait(LIMIT_S) == 0
    assert folder.done() == [0]
