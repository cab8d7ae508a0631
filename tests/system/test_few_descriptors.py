"""With few descriptors a family says so and leaves nothing, or it serves; a request is never to blame for them."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shardq.shm.registry import PRIVATE_PREFIX
from shardq.supervisor.exits import Exit
from shardq.supervisor.workers.child import OPENED_IN_ALL
from shardq.system.descriptors import KEPT
from tests.support import few_descriptors, python
from tests.support.chance import sample_of_run
from tests.support.few_descriptors import Exhaust, Frugal, FrugalAsync, InZone, Recover, Several, Zoned
from tests.support.jobs import Folder
from tests.support.programs import ROOT, clean_environment, until
from tests.support.segments import files_of
from tests.support.supervised import Start, client, dead_letters, leave_in_segment, left_in

MODULE = few_descriptors.__name__
#: What a family needs that is started with nothing but standard input, output and error.
LEAST = 3 + OPENED_IN_ALL + KEPT


def with_at_most(descriptors: int) -> tuple[str, ...]:
    """Starts a program that may have so many files open, and has the standard ones."""
    return ("sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh")


def made(path: Path) -> dict[int, int]:
    """Which process did each of the numbers of `Frugal` and its like."""
    found = [entry.name.split("-")[1:] for entry in path.glob("made-*")]
    assert len(found) == len(dict(map(reversed, found)))  # type: ignore[arg-type]
    return {int(number): int(pid) for pid, number in found}


def until_made(path: Path, *numbers: int) -> dict[int, int]:
    until(lambda: made(path).keys() >= set(numbers), f"{numbers} are made")
    return made(path)


@pytest.mark.parametrize("descriptors", [*range(5, LEAST, 3), LEAST - 1])
@pytest.mark.parametrize("workers", [2])
def test_too_few_are_one_error_and_change_nothing(
    start: Start, url: str, name: str, folder: Folder, descriptors: int, workers: int
) -> None:
    leave_in_segment(name, Several, folder.notes(range(3)))
    before = files_of(name)

    family = start(MODULE, "--url", url, "--workers", workers, by=with_at_most(descriptors))

    assert family.end() == Exit.SEGMENT
    assert family.heard.count("\n") == 1
    assert re.search(rf"shardq.supervise: cannot serve: .*raise `ulimit -n` to at least {LEAST}\n", family.heard)
    assert files_of(name) == before
    assert left_in(url) == 3
    with client(url) as queue:
        assert dead_letters(queue) == []


def test_too_few_make_no_segment(start: Start, url: str, name: str) -> None:
    family = start(MODULE, "--url", url, by=with_at_most(LEAST - 1))

    assert family.end() == Exit.SEGMENT
    assert files_of(name) == set()


@pytest.mark.parametrize(
    ("descriptors", "workers"),
    [(LEAST, 1), (LEAST, 2), *((descriptors, LEAST + 8) for descriptors in (LEAST, LEAST + 1, LEAST + 5, 64))],
)
def test_the_number_that_is_named_is_enough(
    start: Start, url: str, name: str, folder: Folder, tmp_path: Path, descriptors: int, workers: int
) -> None:
    """Also where each process has less than one for each worker, and for handlers that open what they are promised."""
    leave_in_segment(name, Several, folder.notes(range(200), threads=20))
    with client(url) as queue:
        queue.register_sync(Frugal, *folder.notes(range(20), threads=5))
        queue.register_sync(FrugalAsync, *folder.notes(range(20, 40), threads=5))

    family = start(MODULE, "--url", url, "--workers", workers, "--drain", by=with_at_most(descriptors))

    assert family.end() == Exit.OK, family.heard
    assert sorted(folder.done()) == list(range(200))
    assert made(tmp_path).keys() == set(range(40))
    assert "Traceback" not in family.heard
    assert files_of(name) == set()


def test_workers_that_die_are_replaced_with_as_few_as_can_be(start: Start, url: str, name: str, folder: Folder) -> None:
    family = start(MODULE, "--url", url, "--workers", 3, by=with_at_most(LEAST)).serving()
    with client(url) as queue:
        for number in range(3):
            for pid in family.workers(3):
                os.kill(pid, signal.SIGKILL)
            queue.register_sync(Several, *folder.notes([number]))
            folder.until("done", number)
    assert family.stop() == Exit.OK
    assert files_of(name) == set()


@pytest.mark.parametrize("taken_at", ["import", "import in workers"])
def test_modules_that_leave_too_few_are_one_error(
    start: Start, url: str, name: str, tmp_path: Path, taken_at: str
) -> None:
    """They may take them in workers alone, where these are executed and import for themselves."""
    text = f"import os, sys\nfrom {MODULE} import Several as Again, start_thread\n"
    text += "if '--as-worker' in sys.argv:\n    " if taken_at == "import in workers" else ""
    text += "kept = [os.eventfd(0) for _ in range(30)]\nstart_thread()\n"
    (tmp_path / f"{name}.py").write_text(text)

    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    family = start(name, "--url", url, "--workers", 1, by=with_at_most(LEAST + 20), environment=environment)

    assert family.end() == Exit.SEGMENT
    assert family.heard.count("raise `ulimit -n` to at least") == 1
    assert "Traceback" not in family.heard
    assert files_of(name) == set()


def test_a_family_that_serves_outlives_that_its_new_workers_find_too_few(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    family = start(MODULE, "--url", url, "--workers", 1).serving()
    with client(url) as queue:
        queue.register_sync(Several, *folder.notes([0]))
        folder.until("done", 0)
        [worker] = family.workers(1)
        soft, hard = resource.prlimit(family.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(family.pid, resource.RLIMIT_NOFILE, (LEAST - 10, hard))
        os.kill(worker, signal.SIGKILL)
        family.hear_times("worker cannot serve", 2)
        queue.register_sync(Several, *folder.notes([1]))
        resource.prlimit(family.pid, resource.RLIMIT_NOFILE, (soft, hard))
        folder.until("done", 1)
        assert dead_letters(queue) == []
    assert family.stop() == Exit.OK
    assert "Traceback" not in family.heard
    assert files_of(name) == set()


def test_new_code_that_leaves_too_few_is_refused(
    start: Start, url: str, name: str, folder: Folder, tmp_path: Path
) -> None:
    module = tmp_path / f"{name}.py"
    module.write_text(f"from {MODULE} import Several as Again\n")
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    family = start(name, "--url", url, "--workers", 1, by=with_at_most(64), environment=environment).serving()
    workers = family.workers(1)
    with client(url) as queue:
        module.write_text(f"from {MODULE} import Several as Again\nkept = [open('/dev/null') for _ in range(50)]\n")
        family.signal(signal.SIGHUP)
        family.hear("raise `ulimit -n` to at least")
        family.hear("reload refused")
        queue.register_sync(Several, *folder.notes([0]))
        folder.until("done", 0)
    assert family.workers(1) == workers
    assert family.stop() == Exit.OK
    assert files_of(name) == set()


@pytest.mark.parametrize("executed", [False, True], ids=["forked", "executed"])
def test_a_worker_whose_handler_took_all_descriptors_serves_on(
    start: Start, url: str, name: str, folder: Folder, tmp_path: Path, executed: bool
) -> None:
    (tmp_path / f"{name}.py").write_text(
        f"from {MODULE} import Exhaust as A, Frugal as B, FrugalAsync as C, Recover as D, start_thread\n"
        + ("start_thread()\n" if executed else "")
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    family = start(name, "--url", url, "--workers", 1, "--max-rss", "8G", environment=environment).serving()
    with client(url) as queue:
        queue.register_sync(Exhaust, *folder.notes([0]))
        [exhausted] = folder.until("done", 0)
        for number in range(1, 9, 2):
            queue.register_sync(Frugal, *folder.notes([number]))
            queue.register_sync(FrugalAsync, *folder.notes([number + 1]))
            found = until_made(tmp_path, number, number + 1)
            assert set(found.values()) == {exhausted.pid}
        queue.register_sync(Recover, *folder.notes([9]))
        assert folder.until("done", 9)[0].pid == exhausted.pid
        assert dead_letters(queue) == []
    assert family.stop() == Exit.OK
    assert files_of(name) == set()


def test_a_request_that_cannot_be_decoded_without_a_descriptor_loses_no_attempt(
    start: Start, url: str, name: str, folder: Folder, tmp_path: Path
) -> None:
    family = start(MODULE, "--url", url, "--workers", 1).serving()
    with client(url) as queue:
        queue.register_sync(Exhaust, *folder.notes([0]))
        folder.until("done", 0)
        queue.register_sync(InZone, Zoned(str(tmp_path), 1, "Europe/Berlin"))
        family.hear_times("thread paused", 7)  # more than there are attempts
        queue.register_sync(Recover, *folder.notes([2]))
        until_made(tmp_path, 1)
        assert dead_letters(queue) == []
    assert "request failed" not in family.heard
    assert family.stop() == Exit.OK
    assert files_of(name) == set()


# In an application

EMBEDS = f"""
import asyncio, json, os, resource, sys
from shardq import ShardqError, Supervisor
from tests.support.few_descriptors import Several
from tests.support.jobs import Note

folder, at_start, later = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)

async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (at_start, most))
    try:
        async with Supervisor("{MODULE}", workers=2) as supervisor:
            await supervisor.drain()  # which takes a bell to wait for
            resource.setrlimit(resource.RLIMIT_NOFILE, (later, most))
            await supervisor.queue.register(Several, *(Note(folder, number) for number in range(10)))
            await supervisor.drain()
            return None
    except ShardqError as error:
        return f"{{type(error).__name__}}: {{error}}"

print(json.dumps(asyncio.run(main())))
try:
    os.wait()
except ChildProcessError:
    print("no child is left")
"""


def embed(folder: Folder, at_start: int, later: int) -> tuple[str | None, str]:
    """The error, and what is in standard error, of an application that lowered its limit to these."""
    words = (sys.executable, "-c", EMBEDS, str(folder.path), str(at_start), str(later))
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, env=clean_environment(), stdout=pipe, stderr=pipe, text=True) as application:
        printed, said = application.communicate()
    error, left = printed.splitlines()
    assert left == "no child is left"
    assert [file for file in os.listdir("/dev/shm") if f"{PRIVATE_PREFIX}{application.pid}-" in file] == []
    return json.loads(error), said


@pytest.mark.parametrize("at_start", sample_of_run([7, 8, 9, 12, 16, 20, LEAST - 1], 3))
def test_an_application_with_too_few_is_told(folder: Folder, at_start: int) -> None:
    error, _ = embed(folder, at_start, at_start)

    assert error is not None
    assert re.match(r"(Supervisor|Segment)\w+: .*`ulimit -n`", error), error


def test_an_application_that_lowers_its_limit_later_is_served(folder: Folder) -> None:
    error, said = embed(folder, LEAST + 8, 12)

    assert (error, said) == (None, "")
    assert sorted(folder.done()) == list(range(10))


CLIENT = f"""
import asyncio, json, os, resource, sys
from shardq import ShardqError, connect
from tests.support.few_descriptors import Several
from tests.support.jobs import Note

url, folder = sys.argv[1:]
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))

async def used(number):
    async with await connect(url) as queue:
        await queue.register(Several, Note(folder, number))
        await queue.storage.wait_for_quiet()

def opened():
    links = (f"/proc/self/fd/{{descriptor}}" for descriptor in range(64))
    return [os.readlink(link) for link in links if os.path.islink(link)]

async def main():
    for free in range({KEPT + 2}):
        taken, error, before = [], None, opened()
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            for _ in range(free):
                os.close(taken.pop())
        try:
            await used(free)
        except ShardqError as raised:
            error = f"{{type(raised).__name__}}: {{raised}}"
        for descriptor in taken:
            os.close(descriptor)
        print(json.dumps([error, opened() == before]))

asyncio.run(main())
"""


def test_a_program_that_has_hardly_any_left_is_told_or_served(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    """Whatever few: nothing else comes of it than an error that says what to do, and no descriptor is lost."""
    family = start(MODULE, "--url", url, "--workers", 2).serving()
    family.workers(2)

    done = python.run(
        (sys.executable, "-c", CLIENT, url, str(folder.path)), cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    errors, kept = zip(*map(json.loads, done.stdout.splitlines()), strict=True)
    served = [number for number, error in enumerate(errors) if error is None]
    assert served == list(range(4, KEPT + 2))
    assert all(re.match(r"SegmentUnavailable: .*`ulimit -n`", error) for error in errors[:4])
    assert set(kept) == {True}
    assert sorted(folder.done()) == served
    assert family.stop() == Exit.OK
    assert files_of(name) == set()


@pytest.mark.parametrize(
    "command",
    sample_of_run([("status",), ("tubes",), ("dead", "list"), ("recurrent", "list"), ("destroy",)], 3),
)
def test_a_command_with_too_few_says_so_or_works(name: str, url: str, folder: Folder, command: tuple[str, ...]) -> None:
    leave_in_segment(name, Several, folder.notes([0]))
    for descriptors in (5, 6, 7, 9):
        words = (*with_at_most(descriptors), sys.executable, "-m", "shardq", *command, "--url", url)
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or re.fullmatch(
            "shardq: .*`ulimit -n`.*|shardq: .*add --with-requests.*", done.stderr.strip()
        )
    assert left_in(url) == 1
